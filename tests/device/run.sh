#!/usr/bin/env bash
# Everything that needs a GPU, on a machine that has one and nothing else: no compiler, no LLVM, no flex, no bison.
#
#     tests/device/run.sh pack BUILD DIR      where things are built: puts the two programs into DIR, stripped
#     tests/device/run.sh runtime BIN         the runtime, with a hand-written kernel
#     tests/device/run.sh check BIN [NAME]    shipped kernels against the reference, those whose path holds NAME
#     tests/device/run.sh bench BIN [NAME]    TFLOP/s of the benchmark's cases, those whose name holds NAME
#     tests/device/run.sh all BIN
#
# BIN is the directory that `pack` filled, or a build directory. Variables: DTYPES ("bf16 f16"), WIDTHS ("64 128"),
# SECONDS_EACH (1), JOBS (8), TARGET (cuda).
# Build what is packed with -DATTUNE_LLVM=OFF -DATTUNE_STATIC=ON. Exit status 1 when anything failed.
set -uo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
target=${TARGET:-cuda}

find_program() { # NAME
    local found
    for found in "$bin/$1" "$bin/tests/device/$1"; do
        [ -x "$found" ] && { echo "$found"; return; }
    done
    echo "no program $1 in $bin" >&2
    exit 2
}

pack() { # BUILD DIR
    bin=$1
    mkdir -p "$2"
    local name
    for name in attune test_device; do
        cp "$(find_program $name)" "$2/$name" && strip "$2/$name" || exit 1
    done
    du -sh "$2"
}

machine() {
    nvidia-smi --query-gpu=name,driver_version,clocks.max.sm,power.limit --format=csv,noheader 2>/dev/null
}

runtime() {
    "$(find_program test_device)"
    local status=$?
    [ $status -eq 77 ] && { echo "no GPU or no NVRTC"; return 1; }
    return $status
}

# Shapes that find bugs, by rank: tails, groups of heads, offsets, single rows.
shapes_of() { # FILE
    if grep -q 'over (z, y, x)' "$1"; then
        echo "B=1,H=2,M=4x9x10 B=2,H=2,M=3x5x17"
    elif grep -q 'over (y, x)' "$1"; then
        echo "B=1,H=2,M=24x40 B=2,H=3,M=9x37"
    else
        echo "B=2,H=4,G=2,M=513,N=513 B=1,H=3,G=1,M=200,N=1031 B=3,H=2,M=64,N=64 B=2,H=2,M=1,N=300"
    fi
}

check_one() { # FILE DTYPE WIDTH SHAPE
    local out status
    out=$("$program" run "$1" --target "$target" --dtype "$2" --shape "$4,D=$3" --align bottom-right --check -q 2>&1)
    status=$?
    if [ $status -ne 0 ] && grep -q 'align\|offset' <<<"$out"; then # grids and inputs by position: top left
        out=$("$program" run "$1" --target "$target" --dtype "$2" --shape "$4,D=$3" --check -q 2>&1)
        status=$?
    fi
    local name=${1#"$root"/kernels/}
    local errors
    errors=$(sed -n 's/^ *rms error *\([^ ]*\) *limit *\([^ ]*\).*/rms \1 limit \2/p' <<<"$out" | head -1)
    if [ $status -eq 0 ] && grep -q '^ *passed' <<<"$out"; then
        echo "ok     $name $2 d$3 $4 $errors"
    elif grep -q 'not there yet\|cannot emit\|not-yet\|not yet' <<<"$out"; then
        echo "later  $name $2 d$3 $4 $(head -1 <<<"$out" | cut -c1-120)"
    else
        echo "FAILED $name $2 d$3 $4 $errors $(grep -v '^check\|passed\|rms error' <<<"$out" | tr '\n' ' ' | tr -s ' ' | cut -c1-300)"
    fi
}

check() { # [NAME]
    program=$(find_program attune)
    export program target root
    export -f check_one
    local file shape dtype width
    find "$root/kernels" -name '*.attn' | sort | grep -- "${1:-.}" | while read -r file; do
        for shape in $(shapes_of "$file"); do
            for dtype in ${DTYPES:-bf16 f16}; do
                for width in ${WIDTHS:-64 128}; do
                    printf '%s\0%s\0%s\0%s\0' "$file" "$dtype" "$width" "$shape"
                done
            done
        done
    done | xargs -0 -n 4 -P "${JOBS:-8}" bash -c 'check_one "$@"' _ > "${OUT:-/tmp}/device_check.txt"
    grep '^FAILED' "${OUT:-/tmp}/device_check.txt" | sort | head -60
    echo "$(grep -c '^ok' "${OUT:-/tmp}/device_check.txt") passed, $(grep -c '^FAILED' "${OUT:-/tmp}/device_check.txt") failed," \
         "$(grep -c '^later' "${OUT:-/tmp}/device_check.txt") for later"
    [ "$(grep -c '^ok' "${OUT:-/tmp}/device_check.txt")" -gt 0 ] && ! grep -q '^FAILED' "${OUT:-/tmp}/device_check.txt"
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
    local program failures=0 name file shape settings out
    program=$(find_program attune)
    while read -r name file shape settings; do
        out=$("$program" run "$root/kernels/$file.attn" --target "$target" --dtype "${DTYPE:-bf16}" --shape "$shape" \
              ${settings:+--set "$settings"} --bench --seconds "${SECONDS_EACH:-1}" 2>&1)
        if [ $? -eq 0 ]; then
            printf '%-22s %9s ms  %8s TFLOP/s  %s\n' "$name" "$(sed -n 's/^bench: median \([^ ]*\) ms.*/\1/p' <<<"$out")" \
                   "$(sed -n 's/^ *\([^ ]*\) [TG]FLOP.s on.*/\1/p' <<<"$out")" "$(sed -n 's/.*TFLOP.s on the //p' <<<"$out")"
        else
            printf '%-22s FAILED %s\n' "$name" "$(tr '\n' ' ' <<<"$out" | tail -c 300)"
            failures=$((failures + 1))
        fi
    done < <(bench_cases | grep -- "${1:-.}")
    [ $failures -eq 0 ]
}

case ${1:-} in
pack) [ $# -eq 3 ] || exit 2; pack "$2" "$3" ;;
runtime | check | bench)
    [ $# -ge 2 ] || exit 2
    what=$1
    bin=$2
    machine
    "$what" "${3:-}" ;;
all)
    [ $# -eq 2 ] || exit 2
    bin=$2
    machine
    status=0
    for what in runtime check bench; do
        echo "== $what"
        "$what" "" || status=1
    done
    exit $status ;;
*) sed -n '2,15s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
