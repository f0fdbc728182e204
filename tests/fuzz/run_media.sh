#!/usr/bin/env bash
# Builds the fuzz targets of images, sound and their processors with clang's libFuzzer, AddressSanitizer and
# UndefinedBehaviorSanitizer and runs them, one after the other. Not part of the test run: clang and its runtime are not
# among the build's packages (Debian: clang libclang-rt-14-dev).
# usage: bash tests/fuzz/run_media.sh [SECONDS] [NAME...]      60 s each; 0: only build
# NAMES: jpeg png webp wav flac image_processor feature_extractor ocr_config
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-60}
shift $(($# > 0))
names=("$@")
[[ $# -gt 0 ]] || names=(jpeg png webp wav flac image_processor feature_extractor ocr_config)
work=build/fuzz_media
export ASAN_OPTIONS=quarantine_size_mb=64  # else what was freed fills the memory that libFuzzer allows
flags="-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -g1 -O1"
cmake -S . -B "$work" -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_BUILD_TYPE=None -DCMAKE_CXX_FLAGS="$flags" -DCARACAL_TESTS=OFF
cmake --build "$work" --parallel "$(nproc)" --target caracal_core caracal_media caracal_ocr
mapfile -t libraries < <(find "$work" -name 'libcaracal_media.a' -o -name 'libcaracal_ocr.a')
libraries+=("$work/libcaracal.a" -ljpeg -lpng -lz -lwebpdemux -lwebp -lFLAC -ltesseract -lleptonica -lutf8proc -lre2 -pthread)
for name in "${names[@]}"; do
  target=$work/libfuzz_$name corpus=$work/corpus/$name
  mkdir -p "$corpus"
  case $name in
    jpeg | png | webp)
      cp tests/data/media/images/*."${name/jpeg/jpg}" "$corpus"
      source=image decoder=decode_$name
      ;;
    wav | flac)
      cp tests/data/media/audio/*."$name" "$corpus"
      source=audio decoder=decode_$name
      ;;
    *)
      python3 tests/fuzz/processor_corpus.py "$name" "$corpus"
      source=$name decoder=none
      ;;
  esac
  clang++ -std=c++20 ${flags/fuzzer-no-link/fuzzer} "-DDECODER=$decoder" -I"$work/headers" "tests/fuzz/${source}_fuzz.cpp" \
    -o "$target" "${libraries[@]}"
  ((seconds > 0)) || continue
  echo "$name: $seconds s"
  "$target" -max_total_time="$seconds" -rss_limit_mb=4096 -timeout=900 -print_final_stats=1 -artifact_prefix="$work/" \
    "$corpus" 2>"$work/$name.log" || { tail -40 "$work/$name.log"; exit 1; }
  grep -E 'number_of_executed_units|new_units_added' "$work/$name.log"
done
