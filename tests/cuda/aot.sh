#!/bin/sh
# examples/aot_cuda: built ahead of time, linked with nothing but libattune_rt, run where NVRTC cannot be found.
#
#     aot.sh ATTUNE LIBATTUNE_RT SOURCES DIRECTORY [FAKE_LIBCUDA [TARGET]]
#
# On the fake driver, which computes nothing, the launch must succeed and the result be wrong; on a GPU it must be
# right. Exit status 77: no CUDA emitter, no NVRTC to build with, no compiler, no GPU.
set -u
attune=$1 library=$2 sources=$3 directory=$4 fake=${5:-} target=${6:-cuda:sm_90a}
rm -rf "$directory" && mkdir -p "$directory" || exit 1
command -v "${CC:-cc}" > /dev/null || exit 77

fail() {
    echo "FAILED: $1"
    cat "$directory/out"
    exit 1
}

"$attune" build "$sources/kernels/windowed/streaming_window.attn" --target "$target" --dtype bf16 --shape D=64 -o "$directory" \
    > "$directory/out" 2>&1 || { grep -q 'cannot emit\|NVRTC, which is not here\|has no LLVM' "$directory/out" && exit 77; fail "build"; }
grep -q "\"target\": \"$target\"" "$directory/streaming_window.json" || fail "manifest"
"${CC:-cc}" -std=gnu11 -O2 -Wall -Wextra -Werror -Wno-strict-aliasing ${CFLAGS:-} -I"$directory" -I"$sources/runtime" \
    "$sources/examples/aot_cuda/aot_cuda.c" "$directory/streaming_window.o" "$library" -lpthread -ldl -lm -o "$directory/aot_cuda" \
    > "$directory/out" 2>&1 || fail "link"
ldd "$directory/aot_cuda" 2> /dev/null | grep -i 'nvrtc\|llvm' && fail "libraries"
ATTUNE_NVRTC=/nowhere ${fake:+env ATTUNE_LIBCUDA="$fake"} "$directory/aot_cuda" > "$directory/out" 2>&1
status=$?
[ $status -eq 77 ] && exit 77
grep -q launched "$directory/out" || fail "launch"
wanted=0
[ -n "$fake" ] && wanted=2
[ $status -eq $wanted ] || fail "result"
cat "$directory/out"
