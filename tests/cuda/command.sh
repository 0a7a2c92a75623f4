#!/bin/sh
# `attune run --target TARGET` on the fake driver: compiled, launched, copied back, timed; then found in the cache.
#
#     command.sh ATTUNE FAKE_LIBCUDA SOURCES DIRECTORY TARGET EXPECTED
#
# EXPECTED: the target that kernels are for. Exit status 77: no emitter for it, no NVRTC.
set -u
attune=$1 sources=$3 directory=$4 target=$5 expected=$6
rm -rf "$directory" && mkdir -p "$directory" && cd "$directory" || exit 1
export ATTUNE_LIBCUDA="$2" ATTUNE_CACHE_DIR="$directory/cache" ATTUNE_CACHE=on
unset ATTUNE_NO_JIT

fail() {
    echo "FAILED: $1"
    cat out
    exit 1
}

run() {
    "$attune" run "$sources/kernels/softmax/causal.attn" --target "$target" --dtype bf16 --shape B=1,H=2,M=200,D=64 "$@" > out 2>&1
}

run || { grep -q 'cannot emit\|NVRTC, which is not here\|has no LLVM' out && exit 77; fail "run"; }
[ "$expected" = cuda:sm_90a ] && grep -q 'NVRTC was not found' out && exit 77
grep -q "on $expected:" out || fail "target"
grep -q '^kernel compiled' out || fail "compiled"
run --bench --seconds 0 -o o.npy || fail "bench"
grep -q 'found in the disk cache' out || fail "cache"
grep -q 'TFLOP/s on the' out || fail "rate"
grep -q 'on Fake 100' out || fail "device"
[ -s o.npy ] || fail "output"
run --check && fail "a driver that computes nothing passes the check"
grep -q 'FAILED' out || fail "check"
exit 0
