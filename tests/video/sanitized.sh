#!/bin/sh
# Builds the motion library with the address and undefined-behaviour sanitizers into build/sanitized, beside the normal
# one, and runs a command of Python with it:
#   tests/video/sanitized.sh PYTHON -m video.fuzz --mutants 5000
# CXX names the compiler, g++ unless set. Then fuzzes the header reader alone, tests/cpp/fuzz_h264.cpp, with
# HEADER_MUTANTS mutants, 20000 unless set.
set -eu
cd "$(dirname "$0")/../.."
python=$1
shift
cxx=${CXX:-g++}
flags="-std=c++20 -g1 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -Wall -Wextra"
out=build/sanitized
package=$out/python/arseg
objects=$out/objects
rm -rf "$out/python" "$objects"
mkdir -p "$package" "$objects"

# The package as it is but for the compiled library; files that only exist in the checkout are linked, not copied.
for file in python/arseg/*; do
  case $file in
    */_libmotion* | */__pycache__) ;;
    *) ln -s "$PWD/$file" "$package/" ;;
  esac
done
library=$package/_libmotion.abi3.so
echo "building $library"
# shellcheck disable=SC2086 # lists of words
for source in csrc/motion/*.cpp; do
  echo "-O1 -c $source -o $objects/$(basename "$source" .cpp).o"
done | xargs -P 2 -L 1 "$cxx" $flags -fPIC -fvisibility=hidden -I csrc -I csrc/motion
# shellcheck disable=SC2086 # lists of words
"$cxx" $flags -shared "$objects"/*.o -o "$library"

# Python itself is not sanitized: the libraries have to be there before it starts.
preload=
for library in libasan.so libubsan.so; do
  file=$("$cxx" -print-file-name=$library)
  [ "$file" = "$library" ] || preload="$preload $(readlink -f "$file")"
done
env LD_PRELOAD="${preload# }" ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 OMP_NUM_THREADS=1 \
  PYTHONPATH="$PWD/$out/python:$PWD:$PWD/tests" "$python" "$@"

if [ -f tests/cpp/fuzz_h264.cpp ]; then
  # shellcheck disable=SC2086
  "$cxx" $flags -O1 -I csrc -I csrc/motion -I tests/cpp tests/cpp/fuzz_h264.cpp "$objects"/h264_*.o -o "$out/fuzz_h264"
  ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1 "$out/fuzz_h264" "${HEADER_MUTANTS:-20000}"
fi
