#!/usr/bin/env bash
# Builds the fuzz targets with clang's libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer and runs them. Not part of
# the test run: clang and its runtime are not among the build's packages (Debian: clang libclang-rt-14-dev).
# usage: bash tests/fuzz/run_media.sh [SECONDS] [NAME...]      60 s each; NAMES: image audio processor
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-60}
shift $(($# > 0))
names=("${@:-}")
[[ -n ${names[0]} ]] || names=(image audio processor)
work=build/fuzz_media
flags="-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -g1 -O1"
cmake -S . -B "$work" -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_BUILD_TYPE=None -DCMAKE_CXX_FLAGS="$flags" -DCARACAL_TESTS=OFF
cmake --build "$work" --parallel "$(nproc)" --target caracal_core caracal_media
for name in "${names[@]}"; do
  mapfile -t libraries < <(find "$work" -name libcaracal_media.a)
  libraries+=("$work/libcaracal.a" -ljpeg -lpng -lz -lwebpdemux -lwebp -lFLAC -lutf8proc -lre2 -pthread)
  clang++ -std=c++20 ${flags/fuzzer-no-link/fuzzer} -I"$work/headers" "tests/fuzz/${name}_fuzz.cpp" -o "$work/${name}_fuzz" \
    "${libraries[@]}"
  corpus=$work/corpus/$name
  mkdir -p "$corpus"
  case $name in
    image) cp tests/data/media/images/* "$corpus" ;;
    audio) cp tests/data/media/audio/* "$corpus" ;;
    processor) python3 tests/fuzz/processor_corpus.py "$corpus" ;;
  esac
  "$work/${name}_fuzz" -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=20 -print_final_stats=1 "$corpus" \
    2>"$work/$name.log" || { tail -40 "$work/$name.log"; exit 1; }
  grep -E 'number_of_executed_units|new_units_added' "$work/$name.log"
done
