#!/usr/bin/env bash
# Everything that needs a GPU, on a machine that has one and nothing else: no compiler, no LLVM, no flex, no bison.
#
#     tests/device/run.sh pack DIR [BUILD]     where things are built: builds in BUILD (build-device), puts what
#                                              runs into DIR, stripped
#     tests/device/run.sh pack_llvm DIR [BUILD]   likewise, for `ptx`: two programs with LLVM inside (BUILD: build-device-llvm)
#     tests/device/run.sh warm DIR [OPTION]... likewise: compiles kernels into a cache that travels with DIR;
#                                              options as those of `check` will be
#     tests/device/run.sh runtime BIN          the runtime, with a hand-written kernel
#     tests/device/run.sh check BIN [OPTION].. shipped kernels against the reference: test_spec_device's options
#     tests/device/run.sh ptx BIN [OPTION]..   the same with kernels that LLVM makes there (TARGET: ptx)
#     tests/device/run.sh sanitize BIN [OPTION]...   a sample of that under compute-sanitizer
#     tests/device/run.sh hopper BIN [OPTION]...     hopper_bench.py (needs PyTorch) with these options
#     tests/device/run.sh bench BIN [NAME]     TFLOP/s of the benchmark's cases, those whose name holds NAME, without
#                                              PyTorch and peers
#     tests/device/run.sh host BIN             host time of a launch
#     tests/device/run.sh aot BIN              a kernel built ahead of time, run without NVRTC (needs a C compiler)
#     tests/device/run.sh session BIN [SECONDS] all of it, sampled so that it takes about SECONDS (540)
#
# BIN is the directory that `pack` filled, or a build directory. Variables: OUT (where results go), DTYPE, SECONDS_EACH
# (bench: 1), TOOLS (sanitize: "memcheck synccheck"), PLUGIN (hopper: BIN/reference/plugin.py when it is there).
# Exit status 1 when anything failed.
set -uo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
target=${TARGET:-cuda}
out=${OUT:-/tmp}

find_program() { # NAME
    local found
    for found in "$bin/$1" "$bin/tests/device/$1" "$bin/tests/bench/$1" "$bin/lib/$1"; do
        [ -e "$found" ] && { echo "$found"; return; }
    done
    echo "no program $1 in $bin" >&2
    exit 2
}

pack() { # DIR BUILD
    local directory=$1 name
    bin=$2
    cmake -S "$root" -B "$bin" -G Ninja -DCMAKE_BUILD_TYPE=Release -DATTUNE_LLVM=OFF -DATTUNE_STATIC=ON \
          -DBUILD_SHARED_LIBS=ON > "$bin.log" 2>&1 || { cat "$bin.log"; exit 1; }
    ninja -C "$bin" attune_command attune_whole attune_rt_whole test_device test_spec_device test_launch_cost > "$bin.log" 2>&1 ||
        { grep -A5 'error\|undefined\|FAILED' "$bin.log" | head -40; exit 1; }
    mkdir -p "$directory"
    cp "$bin/lib/libattune_rt.a" "$directory" || exit 1
    for name in attune test_device test_spec_device test_launch_cost libattune.so; do
        cp -L "$(find_program $name)" "$directory/$name" && strip --strip-unneeded "$directory/$name" || exit 1
    done
    ls -l "$directory"
}

pack_llvm() { # DIR BUILD
    local directory=$1 name
    bin=$2
    cmake -S "$root" -B "$bin" -G Ninja -DCMAKE_BUILD_TYPE=Release -DATTUNE_STATIC=ON ${LLVM_DIR:+-DLLVM_DIR="$LLVM_DIR"} \
          -DCMAKE_EXE_LINKER_FLAGS=-Wl,--gc-sections > "$bin.log" 2>&1 || { cat "$bin.log"; exit 1; }
    ninja -C "$bin" attune_command test_spec_device > "$bin.log" 2>&1 || { tail -40 "$bin.log"; exit 1; }
    mkdir -p "$directory/llvm"
    for name in attune test_spec_device; do
        cp "$(find_program $name)" "$directory/llvm/$name" && strip --strip-unneeded "$directory/llvm/$name" || exit 1
    done
    tar -C "$directory" -cJf "$directory/llvm.tar.xz" llvm && rm -r "$directory/llvm" && ls -l "$directory/llvm.tar.xz"
}

warm() { # OPTION...
    ATTUNE_CACHE_DIR="$bin/cache" "$(find_program test_spec_device)" --kernels "$root/kernels" --compile --jobs "${JOBS:-2}" "$@"
    local status=$?
    tar -C "$bin" -czf "$bin/cache.tar.gz" cache && du -sh "$bin/cache" "$bin/cache.tar.gz"
    return $status
}

# The cache that travelled, once, where it can grow.
unpack() {
    export ATTUNE_CACHE_DIR=${ATTUNE_CACHE_DIR:-/tmp/attune-device-cache}
    if [ -f "$bin/cache.tar.gz" ] && [ ! -d "$ATTUNE_CACHE_DIR" ]; then
        mkdir -p "$ATTUNE_CACHE_DIR" && tar -C "$ATTUNE_CACHE_DIR" --strip-components=1 -xzf "$bin/cache.tar.gz"
    fi
    # NVRTC, where the system's loader does not know it: with the toolkit or inside PyTorch
    local folder
    ldconfig -p 2> /dev/null | grep -q libnvrtc.so ||
        for folder in /usr/local/cuda/lib64 $(python3 -c 'import glob, sys
for path in sys.path: print(*glob.glob(path + "/nvidia/*/lib"))' 2> /dev/null); do
            compgen -G "$folder/libnvrtc.so*" > /dev/null &&
                export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$folder" && break
        done
}

machine() {
    nvidia-smi --query-gpu=name,driver_version,clocks.sm,clocks.max.sm,power.draw,power.limit,temperature.gpu \
               --format=csv,noheader 2> /dev/null
}

runtime() {
    "$(find_program test_device)"
    local status=$?
    [ $status -eq 77 ] && { echo "no GPU or no NVRTC"; return 1; }
    return $status
}

check() { # OPTION...
    "$(find_program test_spec_device)" --target "$target" --kernels "$root/kernels" "$@"
    local status=$?
    [ $status -eq 77 ] && return 1
    return $status
}

ptx() { # OPTION...
    target=${TARGET:-ptx}
    if [ -f "$bin/llvm.tar.xz" ]; then
        [ -d /tmp/llvm ] || tar -C /tmp -xJf "$bin/llvm.tar.xz" || return 1
        bin=/tmp/llvm
    fi
    check "$@"
}

sanitize() { # OPTION...
    local tool status=0
    command -v compute-sanitizer > /dev/null || { echo "no compute-sanitizer here"; return 1; }
    [ $# -gt 0 ] || set -- --quick --limit 40 --random 1 --filter softmax/causal_lse --filter windowed/neighborhood2.attn \
                           --filter documents/documents --filter other/sigmoid.attn --filter softmax/sink
    for tool in ${TOOLS:-memcheck synccheck}; do
        echo "-- $tool"
        compute-sanitizer --tool "$tool" --error-exitcode 99 --print-limit 5 "$(find_program test_spec_device)" \
                          --kernels "$root/kernels" --jobs 1 "$@" 2>&1 | grep -v '^ok' | tail -60 || status=1
    done
    return $status
}

hopper() { # OPTION...
    local plugin=${PLUGIN:-$bin/reference/plugin.py} given=()
    [ -f "$plugin" ] && given=(--plugin "$plugin")
    PYTHONUNBUFFERED=1 python3 "$root/tests/bench/hopper_bench.py" --library "$(find_program libattune.so)" --out "$out" "${given[@]}" "$@"
}

host() {
    "$(find_program test_launch_cost)" --kernels "$root/kernels"
}

aot() {
    sh "$root/tests/cuda/aot.sh" "$(find_program attune)" "$(find_program libattune_rt.a)" "$root" "$(mktemp -d)/aot"
}

# NAME FILE SHAPE SETTINGS: the cases of docs/benchmarks.
bench_cases() {
    local width heads length batch mask
    for width in 128 64 256; do
        heads=$((2048 / width))
        for length in 2048 8192 16384; do
            batch=$((16384 / length))
            for mask in full causal; do
                echo "d$width-S$length-$mask softmax/$mask B=$batch,H=$heads,M=$length,D=$width"
            done
        done
    done
    local variant="B=2,H=16,M=8192,D=128"
    echo "window-1024 windowed/sliding_window $variant window=1024"
    echo "streaming-1024 windowed/streaming_window $variant window=1024"
    echo "documents documents/causal_documents $variant"
    echo "prefix softmax/prefix $variant"
    echo "strided sparse/strided $variant"
    echo "natten2d windowed/neighborhood2 B=2,H=16,M=64x128,D=128 kernel=(13,13)"
    echo "alibi position/alibi $variant"
    echo "softcap softmax/softcap $variant"
    echo "kerple position/kerple_log $variant"
    echo "relative-bias position/relative_bias $variant"
    echo "sigmoid other/sigmoid $variant"
    echo "entmax other/entmax15 B=8,H=16,M=2048,D=64"
    echo "linear linear/linear_elu B=4,H=16,M=4096,D=128"
    echo "retention linear/retention B=4,H=16,M=4096,D=128"
}

bench() { # [NAME]
    local program failures=0 name file shape settings text
    program=$(find_program attune)
    while read -r name file shape settings; do
        text=$("$program" run "$root/kernels/$file.attn" --target "$target" --dtype "${DTYPE:-bf16}" --shape "$shape" \
               ${settings:+--set "$settings"} --bench --seconds "${SECONDS_EACH:-1}" 2>&1)
        if [ $? -eq 0 ]; then
            printf '%-22s %9s ms  %8s TFLOP/s  %s\n' "$name" "$(sed -n 's/^bench: median \([^ ]*\) ms.*/\1/p' <<<"$text")" \
                   "$(sed -n 's/^ *\([^ ]*\) [TG]FLOP.s on.*/\1/p' <<<"$text")" "$(sed -n 's/.*TFLOP.s on the //p' <<<"$text")"
        else
            printf '%-22s FAILED %s\n' "$name" "$(tr '\n' ' ' <<<"$text" | tail -c 300)"
            failures=$((failures + 1))
        fi
    done < <(bench_cases | grep -- "${1:-.}")
    [ $failures -eq 0 ]
}

part() { # SECONDS FILE COMMAND...
    local seconds=$1 file=$2 status
    shift 2
    echo "== $* (at ${SECONDS} s)"
    timeout "$seconds" bash "$root/tests/device/run.sh" "$1" "$bin" "${@:2}" > "$out/part.txt" 2>&1
    status=$?
    cat "$out/part.txt" >> "$out/$file"
    grep -v '^ok' "$out/part.txt" | tail -"${LINES_EACH:-14}" | cut -c1-"${COLUMNS_EACH:-190}"
    rm -f "$out/part.txt"
    [ $status -eq 0 ] || { echo "-- status $status"; failed="$failed $1"; }
}

session() { # [SECONDS]
    local total=${1:-540} failed=""
    local benching=$((total - 215))
    part 40 runtime.txt runtime
    part 90 check.txt check --jobs 16 --limit 60
    part 60 repeat.txt check --quick --random 2 --repeat 20 --jobs 16 --limit 25 --seed 7
    part 70 sanitize.txt sanitize
    [ -f "$bin/llvm.tar.xz" ] && part 40 ptx.txt ptx --quick --random 2 --jobs 16 --limit 25
    part 20 runtime.txt host
    part 30 runtime.txt aot
    LINES_EACH=110 COLUMNS_EACH=300 part $((benching + 40)) hopper.txt hopper --seconds "$benching" --groups dense,variants,sigmoid,decode,entmax,neighbourhood,jit
    machine
    echo "== ${SECONDS} s;${failed:- nothing} failed"
    [ -z "$failed" ]
}

what=${1:-}
case $what in
pack) [ $# -ge 2 ] || exit 2; pack "$2" "${3:-$root/build-device}" ;;
pack_llvm) [ $# -ge 2 ] || exit 2; pack_llvm "$2" "${3:-$root/build-device-llvm}" ;;
warm | runtime | check | ptx | sanitize | hopper | bench | host | aot | session)
    [ $# -ge 2 ] || exit 2
    bin=$(cd "$2" && pwd) || exit 2
    shift 2
    [ "$what" = warm ] || { unpack; machine; }
    "$what" "$@"
    ;;
*) sed -n '2,27s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
