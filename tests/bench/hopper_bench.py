#!/usr/bin/env python3
"""Attune on one Hopper GPU against its peers, in one process, on the same tensors.

    python3 tests/bench/hopper_bench.py --library libattune.so [--groups dense,variants] [--rows d128] [--seconds 400]

Needs PyTorch. Every row is checked first, on sampled query rows against float32, then timed in turn: ours, peer, ...,
peer, ours, each block warmed up for 30 ms and timed for 150, so that all run equally hot. A time is the median over
launches; the L2 is overwritten before each. FLOPs count the unmasked area. Tables go to the output and to --out as
Markdown and JSON lines.

--plugin FILE.py brings in more peers: its `peers(row, tensors)` returns {name: function without arguments that writes
tensors.o_peer}, {} where it has none. --set KEY=VALUE gives every kernel of ours a setting, to see what it changes.
"""
import argparse
import importlib.util
import json
import math
import os
import sys
import time
import traceback
from dataclasses import dataclass, field
from typing import Callable, Optional

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from attune_ctypes import Attune, AttuneFailure  # noqa: E402

torch = None  # imported when something runs
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


# Rows ---------------------------------------------------------------------------------------------------------------

@dataclass
class Row:
    group: str
    name: str
    spec: str                              # kernels/SPEC.attn
    B: int
    H: int
    M: int
    D: int
    G: int = 0
    N: int = 0
    axes: tuple = ()                       # rank 2, 3: product M
    settings: dict = field(default_factory=dict)
    params: dict = field(default_factory=dict)
    inputs: Callable = lambda row: {}      # name -> tensor; all that varies is drawn here
    returns: tuple = ()
    mask: Optional[Callable] = None        # (inputs, b, h, i, j) -> bool
    score: Optional[Callable] = None       # (inputs, s, b, h, i, j), s scaled
    norm: str = "softmax"
    causal: bool = False
    density: Optional[float] = None        # None: counted
    peers: tuple = ()                      # of the built-in ones
    against: str = ""                      # NAME of a row whose kernel of ours is a peer too
    variant: str = ""
    figure: str = ""                       # what it is to be compared with besides

    def __post_init__(self):
        self.G, self.N = self.G or self.H, self.N or self.M


def causal_mask(x, b, h, i, j):
    return j <= i


def dense_rows():
    for D, H in ((128, 16), (64, 32), (256, 8)):
        for S in (2048, 8192, 16384):
            for causal in (False, True):
                yield Row("dense", f"d{D} S{S} {'causal' if causal else 'full'}", "softmax/causal" if causal else "softmax/full", 16384 // S, H, S, D,
                          causal=causal, mask=causal_mask if causal else None, density=0.5 if causal else 1.0, peers=("cudnn",),
                          variant="causal" if causal else "full")


def neighbor(i, j, n, width):
    begin = (i - width // 2).clamp(0, max(n - width, 0))
    return (begin <= j) & (j < begin + width)


def neighbor2_mask(axes, kernel):
    def mask(x, b, h, i, j):
        w = axes[1]
        return neighbor(i // w, j // w, axes[0], kernel[0]) & neighbor(i % w, j % w, axes[1], kernel[1])
    return mask


def neighbor3_mask(axes, kernel):
    def mask(x, b, h, i, j):
        w, p = axes[2], axes[1] * axes[2]
        return (neighbor(i // p, j // p, axes[0], kernel[0]) & neighbor(i // w % axes[1], j // w % axes[1], axes[1], kernel[1]) &
                neighbor(i % w, j % w, axes[2], kernel[2]))
    return mask


def documents(row):
    return {"doc": torch.sort(torch.randint(0, 12, (1, row.N), device=DEVICE, dtype=torch.int32)).values.expand(row.B, -1).contiguous()}


def variant_rows():
    size = dict(B=2, H=16, M=8192, D=128)

    def row(name, spec, mask, score=None, **more):
        return Row("variants", name, spec, **size, mask=mask, score=score, peers=("flex",), variant=name, **more)
    yield row("causal", "softmax/causal", causal_mask, causal=True)
    yield row("sliding_window_1024", "windowed/sliding_window", lambda x, b, h, i, j: (j <= i) & (i - j < 1024), params={"window": 1024})
    yield row("document12_causal", "documents/causal_documents", lambda x, b, h, i, j: (x["doc"][0, i] == x["doc"][0, j]) & (j <= i),
              inputs=documents)
    yield row("prefix_lm_2048", "softmax/prefix", lambda x, b, h, i, j: (j < 2048) | (j <= i),
              inputs=lambda r: {"prefix_length": torch.full((r.B,), 2048, device=DEVICE, dtype=torch.int32)})
    yield row("sink4_window1024", "windowed/streaming_window", lambda x, b, h, i, j: (j <= i) & ((j < 4) | (i - j < 1024)),
              params={"window": 1024, "sinks": 4})
    yield row("strided_sparse_128", "sparse/strided", lambda x, b, h, i, j: (j <= i) & ((i - j < 128) | ((i - j) % 128 == 0)), params={"stride": 128})
    yield row("natten2d_13x13", "windowed/neighborhood2", neighbor2_mask((128, 64), (13, 13)), axes=(128, 64), settings={"kernel": "(13, 13)"},
              returns=("lse",))
    yield row("alibi_causal", "position/alibi", causal_mask, lambda x, s, b, h, i, j: s + x["slope"][h] * (j - i),
              inputs=lambda r: {"slope": torch.exp2(-torch.arange(1, r.H + 1, device=DEVICE, dtype=torch.float32) * 8 / r.H)})
    yield row("softcap30_causal", "softmax/softcap", causal_mask, lambda x, s, b, h, i, j: 30 * torch.tanh(s / 30), params={"cap": 30.0})
    yield row("relbias_full", "position/relative_bias", None, lambda x, s, b, h, i, j: s + x["bias"][h, i - j + 8191], settings={"reach": "8191"},
              inputs=lambda r: {"bias": torch.randn(r.H, 2 * r.N - 1, device=DEVICE)})
    yield row("kerple_log_causal", "position/kerple_log", causal_mask,
              lambda x, s, b, h, i, j: s - x["a"][h] * torch.log(1 + x["bend"][h] * (i - j).abs().float()),
              inputs=lambda r: {"a": torch.full((r.H,), 2.0, device=DEVICE), "bend": torch.full((r.H,), 0.5, device=DEVICE)})


def sigmoid_rows():
    for D, H in ((128, 16), (64, 32)):
        dense = Row("sigmoid", f"softmax d{D} S8192", "softmax/full", 2, H, 8192, D, density=1.0, variant="full")
        yield dense
        yield Row("sigmoid", f"sigmoid d{D} S8192", "other/sigmoid", 2, H, 8192, D, norm="sigmoid", density=1.0, against=dense.name,
                  variant="sigmoid", score=lambda x, s, b, h, i, j: s - math.log(j.shape[-1]))


def entmax_rows():
    for S in (2048, 8192):
        yield Row("entmax", f"entmax15 causal d64 S{S}", "other/entmax15", 2, 16, S, 64, mask=causal_mask, norm="entmax15", causal=True,
                  density=0.5, figure="AdaSplash 0.389 ms" if S == 2048 else "")


def neighbourhood_rows():
    for name, spec, axes, kernel, figure in (
            ("1d 32768 window 2048", "windowed/neighborhood1", (32768,), (2048,), "8.3x of dense, ideal 16x"),
            ("2d 256x256 window 80x80", "windowed/neighborhood2", (256, 256), (80, 80), "5.2x of dense, ideal 10.2x"),
            ("3d 30x48x80 window 18x24x24", "windowed/neighborhood3", (30, 48, 80), (18, 24, 24), "3.5x of dense, ideal 11.1x")):
        M = math.prod(axes)
        dense = Row("neighbourhood", f"dense {M}", "softmax/full", 1, 24, M, 128, density=1.0, variant="full")
        yield dense
        mask = {1: lambda x, b, h, i, j: neighbor(i, j, 32768, 2048), 2: neighbor2_mask(axes, kernel), 3: neighbor3_mask(axes, kernel)}[len(axes)]
        yield Row("neighbourhood", name, spec, 1, 24, M, 128, axes=axes if len(axes) > 1 else (), mask=mask, returns=("lse",),
                  settings={"kernel": "(" + ", ".join(map(str, kernel)) + ")" if len(axes) > 1 else str(kernel[0])},
                  density=math.prod(kernel) / M, against=dense.name, figure=figure, variant=name)


def decode_rows():
    for B, H, G, S, D in ((1, 32, 8, 131072, 128), (16, 32, 8, 8192, 128), (64, 32, 8, 2048, 128), (16, 64, 8, 16384, 64)):
        yield Row("decode", f"B{B} H{H}/{G} S{S} d{D}", "softmax/full", B, H, 1, D, G=G, N=S, density=1.0, peers=("cudnn", "fa2"), variant="decode")


GROUPS = {"dense": dense_rows, "variants": variant_rows, "sigmoid": sigmoid_rows, "entmax": entmax_rows, "neighbourhood": neighbourhood_rows,
          "decode": decode_rows}
JIT_SPECS = (("softmax/full", 128), ("softmax/causal", 64), ("softmax/causal", 256), ("softmax/softcap", 128), ("windowed/neighborhood2", 128),
             ("other/sigmoid", 128), ("other/entmax15", 64))
DEVICE = "cuda"


# Tensors and what they should give ------------------------------------------------------------------------------------

class Tensors:
    def __init__(self, row, dtype, layout):
        def rows(heads, count):
            if layout == "bmhd":
                return torch.randn(row.B, count, heads, row.D, device=DEVICE, dtype=dtype).transpose(1, 2)
            return torch.randn(row.B, heads, count, row.D, device=DEVICE, dtype=dtype)
        self.q, self.k, self.v = rows(row.H, row.M), rows(row.G, row.N), rows(row.G, row.N)
        self.o, self.o_peer = torch.empty_like(self.q), torch.empty_like(self.q)
        self.inputs = row.inputs(row)
        self.returns = {name: torch.empty(row.B, row.H, row.M, device=DEVICE) for name in row.returns}


def weights_of(row, t):
    if row.norm == "softmax":
        return torch.softmax(t, -1)
    if row.norm == "sigmoid":
        return torch.sigmoid(t)
    hi = t.max()  # 1.5-entmax: bisection
    z, lo, up = t.double() / 2, hi.double() / 2 - 1, hi.double() / 2
    for _ in range(60):
        mid = (lo + up) / 2
        lo, up = (mid, up) if ((z - mid).clamp(min=0) ** 2).sum() > 1 else (lo, mid)
    w = (z - lo).clamp(min=0) ** 2
    return (w / w.sum()).float()


def sampled_rows(row, count=48):
    picks = [(0, 0, 0), (row.B - 1, row.H - 1, row.M - 1), (0, row.H - 1, min(127, row.M - 1)), (row.B - 1, 0, min(128, row.M - 1))]
    for _ in range(count - len(picks)):
        picks.append(tuple(int(torch.randint(0, n, (1,))) for n in (row.B, row.H, row.M)))
    return picks


class Expected:
    """Float32 results of sampled query rows."""

    def __init__(self, row, tensors):
        self.picks, results = sampled_rows(row), []
        j = torch.arange(row.N, device=DEVICE)
        for b, h, i in self.picks:
            g, at = h // (row.H // row.G), torch.tensor(i, device=DEVICE)
            s = (tensors.k[b, g].float() @ tensors.q[b, h, i].float()) / math.sqrt(row.D)
            if row.score:
                s = row.score(tensors.inputs, s, b, h, at, j)
            if row.mask is not None:
                seen = row.mask(tensors.inputs, b, h, at, j)
                s = s.masked_fill(~seen, float("-inf"))
            results.append(weights_of(row, s) @ tensors.v[b, g].float())
        self.values = torch.stack(results)
        self.limit = {"entmax15": 2e-2, "sigmoid": 1e-2}.get(row.norm, 7e-3)

    def error(self, o):
        """Relative, NaN when a NaN is anywhere in o."""
        got = torch.stack([o[pick].float() for pick in self.picks])
        rms = ((got - self.values).norm() / self.values.norm()).item()
        return float("nan") if torch.isnan(o).any() else rms


def count_density(row, inputs):
    if row.mask is None:
        return 1.0
    j, seen = torch.arange(row.N, device=DEVICE)[None, :], 0
    for i in range(0, row.M, 512):
        seen += int(row.mask(inputs, 0, 0, torch.arange(i, min(i + 512, row.M), device=DEVICE)[:, None], j).sum())
    return seen / (row.M * row.N)


# Runners: functions without arguments -----------------------------------------------------------------------------------

def our_kernel(api, row, args):
    return api.kernel(os.path.join(args.kernels, row.spec + ".attn"), target=args.target, dtype=args.dtype, d=row.D,
                      settings={**row.settings, **dict(s.split("=", 1) for s in args.set)})


def our_runner(kernel, row, tensors, o):
    plan = kernel.plan(tensors.q, tensors.k, tensors.v, o, inputs=tensors.inputs, returns={name: tensors.returns[name] for name in row.returns}, params=row.params, m_axis=row.axes)
    stream = torch.cuda.current_stream().cuda_stream if DEVICE == "cuda" else None
    return lambda: plan(stream)


def sdpa_runner(row, t, backend):
    from torch.nn.attention import SDPBackend, sdpa_kernel
    chosen = {"cudnn": SDPBackend.CUDNN_ATTENTION, "fa2": SDPBackend.FLASH_ATTENTION}[backend]

    def run():
        with sdpa_kernel(chosen):
            return torch.nn.functional.scaled_dot_product_attention(t.q, t.k, t.v, is_causal=row.causal and row.M > 1, enable_gqa=row.G != row.H)
    return run


def flex_runner(row, t):
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention
    torch._dynamo.reset()
    x, mask, score = t.inputs, row.mask, row.score
    block_mask = create_block_mask(lambda b, h, i, j: mask(x, b, h, i, j), None, None, row.M, row.N, device=DEVICE) if mask else None
    compiled = torch.compile(flex_attention, dynamic=False)
    score_mod = (lambda s, b, h, i, j: score(x, s, b, h, i, j)) if score else None
    return lambda: compiled(t.q, t.k, t.v, score_mod=score_mod, block_mask=block_mask, enable_gqa=row.G != row.H)


def peer_runners(row, tensors, args, plugin, say):
    runners = {}
    for name in row.peers + (("flex",) if args.flex_dense and row.group == "dense" else ()):
        if name in args.without:
            continue
        try:
            run = flex_runner(row, tensors) if name == "flex" else sdpa_runner(row, tensors, name)
            runners[name] = run
        except Exception as e:
            say(f"{row.name}: {name}: {e!r}"[:300])
    if plugin:
        try:
            runners.update(plugin.peers(row, tensors))
        except Exception as e:
            say(f"{row.name}: plug-in: {e!r}"[:300])
    return runners


# Timing -----------------------------------------------------------------------------------------------------------------

def synchronize():
    if DEVICE == "cuda":
        torch.cuda.synchronize()


class Clock:
    def __init__(self, warm_ms, timed_ms, flush):
        self.warm_ms, self.timed_ms = warm_ms, timed_ms
        self.scratch = torch.empty(256 << 20, dtype=torch.int8, device=DEVICE) if flush and DEVICE == "cuda" else None

    def spans(self, run, count):
        if DEVICE == "cpu":
            times = [time.perf_counter() for _ in range(count + 1) if (run(), True)[1]]
            return sorted((b - a) * 1e3 for a, b in zip(times, times[1:]))
        events = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(count)]
        for begin, end in events:
            if self.scratch is not None:
                self.scratch.zero_()
            begin.record()
            run()
            end.record()
        torch.cuda.synchronize()
        return sorted(begin.elapsed_time(end) for begin, end in events)

    def block(self, run):
        """Median milliseconds of one launch, hot."""
        one = max(self.spans(run, 2)[0], 1e-3)
        for _ in range(min(2000, int(self.warm_ms / one) + 1)):
            run()
        spans = self.spans(run, max(5, min(400, int(self.timed_ms / one))))
        return spans[len(spans) // 2]


def time_in_turn(clock, runners):
    """{name: (first, second)}: blocks in order, then in reverse."""
    names = list(runners)
    first = {name: clock.block(runners[name]) for name in names}
    second = {name: clock.block(runners[name]) for name in reversed(names)}
    return {name: (first[name], second[name]) for name in names}


# One row ------------------------------------------------------------------------------------------------------------------

class Bench:
    def __init__(self, args):
        self.args, self.results, self.lines = args, [], []
        self.api = Attune(args.library)
        self.kept = {}                          # by row name: kernels that other rows are compared with
        self.plugin = None
        if args.plugin:
            spec = importlib.util.spec_from_file_location("bench_plugin", args.plugin)
            self.plugin = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(self.plugin)
        self.clock = Clock(args.warm_ms, args.timed_ms, not args.no_flush) if args.device == "cuda" or args.time_cpu else None
        self.dtype = {"bf16": torch.bfloat16, "f16": torch.float16, "f32": torch.float32}[args.dtype]

    def say(self, text):
        self.lines.append(text)
        print("  " + text, flush=True)

    def run(self, row):
        result = {"group": row.group, "row": row.name, "spec": row.spec, "label": self.args.label, "figure": row.figure}
        self.results.append(result)
        try:
            self.run_checked(row, result)
        except AttuneFailure as e:
            result["error"] = str(e)[:400]
        except Exception as e:
            result["error"] = repr(e)[:400]
            if self.args.trace:
                traceback.print_exc()
        text = "; ".join(f"{k} {v}" for k, v in result.items() if k not in ("group", "spec", "figure", "label", "row") and v is not None)
        print(f"{row.group:13s} {row.name:32s} {text}", flush=True)
        if self.args.out:
            with open(os.path.join(self.args.out, "hopper.jsonl"), "a") as f:
                f.write(json.dumps(result) + "\n")

    def run_checked(self, row, result):
        torch.manual_seed(self.args.seed)
        tensors = Tensors(row, self.dtype, self.args.layout)
        kernel = self.kept[row.name] = our_kernel(self.api, row, self.args)
        result["create_ms"], result["from"], result["tiles"] = round(kernel.create_ms, 1), kernel.origin, kernel.blocks
        ours = our_runner(kernel, row, tensors, tensors.o)
        tensors.o.fill_(float("nan"))
        ours()
        synchronize()
        expected = Expected(row, tensors)
        result["error_rms"] = float(f"{expected.error(tensors.o):.2e}")
        if not result["error_rms"] <= expected.limit:
            result["error"] = f"WRONG: rms error {result['error_rms']}, limit {expected.limit}: not timed"
            return
        if self.clock is None:
            return
        runners = {"attune": ours, **peer_runners(row, tensors, self.args, self.plugin, self.say)}
        if row.against in self.kept:
            other = next(r for r in GROUPS[row.group]() if r.name == row.against)
            runners["attune " + other.variant] = our_runner(self.kept[row.against], other, tensors, tensors.o_peer)
        for name in list(runners):
            if name == "attune" or name.startswith("attune "):
                continue
            try:
                tensors.o_peer.fill_(float("nan"))
                out = runners[name]()
                synchronize()
                error = expected.error(tensors.o_peer if out is None else out)
                if not error <= 2 * expected.limit:
                    self.say(f"{row.name}: {name} is off by {error:.2e} rms")
            except Exception as e:
                self.say(f"{row.name}: {name}: {e!r}"[:300])
                del runners[name]
        self.judge(row, result, tensors, time_in_turn(self.clock, runners))

    def judge(self, row, result, tensors, times):
        density = row.density if row.density is not None else count_density(row, tensors.inputs)
        result["density"] = round(density, 5)
        mean = {name: sum(t) / 2 for name, t in times.items()}
        for name, t in mean.items():
            one = {"ms": round(t, 4), "spread": round(abs(times[name][0] - times[name][1]) / t, 3)}
            area = 1.0 if name.startswith("attune ") and row.group == "neighbourhood" else density
            if row.group == "decode":
                one["gbps"] = round(2 * row.B * row.G * row.N * row.D * tensors.k.element_size() / t * 1e-6, 1)
            else:
                one["tflops"] = round(4 * row.B * row.H * row.M * row.N * row.D * area / t * 1e-9, 1)
            if name != "attune":
                one["ratio"] = round(t / mean["attune"], 3)
            result[name] = one

    def copy_row(self):
        a = torch.empty(1 << 30, device=DEVICE, dtype=torch.int8)
        b = torch.empty_like(a)
        t = self.clock.block(lambda: b.copy_(a))
        self.results.append({"group": "decode", "row": "copy of 1 GiB", "attune": None, "copy": {"ms": round(t, 4), "gbps": round(2 * a.numel() / t * 1e-6, 1)}})
        print(self.results[-1], flush=True)

    def jit(self):
        api = Attune(self.args.library, cache_off=True)
        for spec, D in JIT_SPECS:
            result = {"group": "jit", "row": f"{spec} d{D}"}
            begin = time.time()
            try:
                kernel = api.kernel(os.path.join(self.args.kernels, spec + ".attn"), target=self.args.target, dtype=self.args.dtype, d=D)
                result.update(ms=round((time.time() - begin) * 1e3), create_ms=round(kernel.create_ms), code_bytes=kernel.code_bytes)
            except AttuneFailure as e:
                result["error"] = str(e)[:300]
            self.results.append(result)
            print(result, flush=True)


# Tables -------------------------------------------------------------------------------------------------------------------

def geometric_mean(values):
    return math.exp(sum(map(math.log, values)) / len(values)) if values else float("nan")


def table(group, results):
    names = []
    for r in results:
        names += [n for n in r if isinstance(r[n], dict) and n not in names]
    names = sorted(names, key=lambda n: n != "attune")
    unit = "GB/s" if group == "decode" else "TFLOP/s"
    lines = [f"### {group}", "", "| row | ms | " + unit + " | " + " | ".join(f"{n} | ours / {n}" for n in names if n != "attune") + " | tiles | note |",
             "|" + "---|" * (5 + 2 * (len(names) - (1 if "attune" in names else 0)))]

    def rate(one):
        return str(one.get("gbps", one.get("tflops", "")))
    for r in results:
        ours = r.get("attune") or {}
        cells = [r["row"], str(ours.get("ms", "")), rate(ours)]
        for n in names:
            if n != "attune":
                cells += [rate(r.get(n) or {}), str((r.get(n) or {}).get("ratio", ""))]
        tiles = r.get("tiles")
        cells += ["x".join(str(b) for b in tiles[0] if b) + ", " + "x".join(str(b) for b in tiles[1] if b) if tiles else "",
                  r.get("error") or r.get("skipped") or r.get("figure") or ""]
        lines.append("| " + " | ".join(c.replace("|", "/").replace("\n", " ") for c in cells) + " |")
    for n in names:
        ratios = [r[n]["ratio"] for r in results if isinstance(r.get(n), dict) and "ratio" in r[n]]
        if n != "attune" and ratios:
            lines.append(f"\nours / {n}: geometric mean {geometric_mean(ratios):.3f}, least {min(ratios):.3f}, {len(ratios)} rows")
    return "\n".join(lines)


def report(bench, args, spent):
    text = [f"# Attune {bench.api.lib.attune_build_info().decode()} on {torch.cuda.get_device_name() if DEVICE == 'cuda' else 'the host'}, torch "
            f"{torch.__version__}, {args.dtype}, {args.layout}{' ' + ' '.join(args.set) if args.set else ''}; {spent:.0f} s", ""]
    for group in dict.fromkeys(r["group"] for r in bench.results):
        rows = [r for r in bench.results if r["group"] == group]
        if group == "jit":
            text += ["### jit, no cache", "", "| kernel | ms | note |", "|---|---|---|"]
            text += [f"| {r['row']} | {r.get('ms', '')} | {r.get('error', '')} |" for r in rows] + [""]
        else:
            text += [table(group, rows), ""]
    text += ["", *bench.lines]
    print("\n" + "\n".join(text))
    if args.out:
        with open(os.path.join(args.out, "hopper.md"), "a") as f:
            f.write("\n".join(text) + "\n")


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--library", default="libattune.so")
    p.add_argument("--kernels", default=os.path.join(ROOT, "kernels"))
    p.add_argument("--target", default="cuda")
    p.add_argument("--device", default="cuda", choices=("cuda", "cpu"), help="cpu: checks only, for trying the script where no GPU is")
    p.add_argument("--dtype", default="bf16", choices=("bf16", "f16", "f32"))
    p.add_argument("--layout", default="bhmd", choices=("bhmd", "bmhd"))
    p.add_argument("--groups", default=",".join(GROUPS), help="of " + ",".join(GROUPS) + ",jit")
    p.add_argument("--rows", default="", help="only rows whose name holds one of these, separated by commas")
    p.add_argument("--without", default="", help="peers to leave out: cudnn,fa2,flex")
    p.add_argument("--flex-dense", action="store_true", help="FlexAttention on the dense rows too")
    p.add_argument("--plugin")
    p.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    p.add_argument("--label", default="")
    p.add_argument("--seconds", type=float, default=480, help="begin no row after this")
    p.add_argument("--warm-ms", type=float, default=30)
    p.add_argument("--timed-ms", type=float, default=150)
    p.add_argument("--no-flush", action="store_true", help="leave the L2 as it is between launches")
    p.add_argument("--shrink", type=int, default=1, help="divides lengths and heads, to try the script")
    p.add_argument("--time-cpu", action="store_true", help="with --device cpu: go through the timing, too")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--out", default=os.environ.get("OUT"))
    p.add_argument("--trace", action="store_true")
    p.add_argument("--list", action="store_true")
    args = p.parse_args()
    args.without = args.without.split(",")
    unknown = [g for g in args.groups.split(",") if g not in GROUPS and g != "jit"]
    if unknown:
        p.error(f"no group {unknown[0]}: there are {', '.join(GROUPS)}, jit")
    return args


def chosen_rows(args):
    wanted = [w for w in args.rows.split(",") if w]
    for group in args.groups.split(","):
        for row in GROUPS[group]() if group in GROUPS else ():
            is_base = any(r.against == row.name and (not wanted or any(w in r.name for w in wanted)) for r in GROUPS[group]())
            if not wanted or any(w in row.name for w in wanted) or is_base:
                if args.shrink > 1 and not row.axes and row.group != "neighbourhood":
                    row.M, row.N, row.H, row.G = -(-row.M // args.shrink), row.N // args.shrink, max(1, row.H // 4), max(1, row.G // 4)
                    row.density = None
                yield row


def main():
    global torch, DEVICE
    args = arguments()
    if args.list:
        for row in chosen_rows(args):
            print(f"{row.group:13s} {row.name:32s} {row.spec:28s} B{row.B} H{row.H}/{row.G} M{row.M} N{row.N} D{row.D} {' '.join(row.peers)} {row.against}")
        return 0
    import torch as imported
    torch, DEVICE = imported, args.device
    begin = time.time()
    bench = Bench(args)
    with torch.no_grad():
        for row in chosen_rows(args):
            if time.time() - begin > args.seconds:
                bench.results.append({"group": row.group, "row": row.name, "skipped": "time"})
            else:
                bench.run(row)
                if DEVICE == "cuda":
                    torch.cuda.empty_cache()
        if "decode" in args.groups.split(",") and bench.clock and time.time() - begin < args.seconds:
            bench.copy_row()
    if "jit" in args.groups.split(",") and time.time() - begin < args.seconds:
        bench.jit()
    report(bench, args, time.time() - begin)
    return int(any("WRONG" in r.get("error", "") for r in bench.results))


if __name__ == "__main__":
    sys.exit(main())
