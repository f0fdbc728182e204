#!/usr/bin/env bash
# Builds the fuzz targets with clang, libFuzzer, ASan and UBSan, and runs each for a while; exits 1 on a finding.
# usage: bash tests/fuzz/run.sh [SECONDS]      on Debian 12 it needs clang
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-60}
build=build/fuzz
mkdir -p "$build/headers/caracal"
for folder in kernels runtime loaders tokenizers models; do ln -sfn "$PWD/$folder" "$build/headers/caracal/$folder"; done
flags=(-std=c++20 -O1 -g1 -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
  -I"$build/headers" "-DCARACAL_TEST_DATA=\"$PWD/tests/data\"")
objects=()
for source in tokenizers/*.cpp runtime/json.cpp; do
  [[ $source =~ tokenization_|batch_encoding|tokenizer_files ]] && continue  # transformers' interface is not under test
  object=$build/$(tr / _ <<<"${source%.cpp}").o
  objects+=("$object")
  if [[ $object -nt $source && -z $(find tokenizers runtime -name '*.h' -newer "$object" -print -quit) ]]; then continue; fi
  ${CMAKE_CXX_COMPILER_LAUNCHER:-} clang++ "${flags[@]}" -c "$source" -o "$object"
done
for target in tokenizer_json encode_decode; do
  corpus=$build/corpus_$target
  mkdir -p "$corpus"
  clang++ "${flags[@]}" -fsanitize=fuzzer tests/fuzz/${target}_fuzz.cpp "${objects[@]}" -lutf8proc -lre2 -lpthread -o "$build/libfuzz_$target"
  if [[ $target == tokenizer_json ]]; then
    i=0
    while read -r line; do printf '%s' "$line" >"$corpus/seed_$((i++))"; done < <(grep -h '^{' tests/data/tokenizers/pipelines/random.jsonl | awk 'length < 12000')
  fi
  "$build/libfuzz_$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=16384 -print_final_stats=1 -artifact_prefix="$build/" "$corpus" 2>&1 | tail -25
done
