#!/usr/bin/env bash
# Builds the fuzz targets (tests/fuzz) with clang's libFuzzer, ASan and UBSan, and runs each for a while, JOBS at a
# time; exits 1 on a finding, whose input stays in build/fuzz. As root on Debian 12 it first installs what is missing.
# usage: [JOBS=2] bash tools/fuzz.sh SECONDS [TARGET...]      all targets by default; 0 seconds: seeds only
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tools/debian_packages.sh
source tools/debian_packages.sh

export seconds=${1:?usage: bash tools/fuzz.sh SECONDS [TARGET...]} build=build/fuzz
shift
need clang++ libclang_rt.fuzzer cmake ninja pkg-config python3 utf8proc.h re2/re2.h nlohmann/json.hpp Eigen/Core CLI/CLI.hpp
need jpeglib.h png.h webp/demux.h FLAC/stream_decoder.h tesseract/baseapi.h leptonica/allheaders.h
use_ninja
cmake --preset fuzz >/dev/null
targets=("$@")
((${#targets[@]})) || mapfile -t targets <"$build/fuzz_targets"
cmake --build --preset fuzz --parallel "$(nproc)" --target "${targets[@]/#/fuzz_}"

# Findings are new files crash-…, oom-…, timeout-…; the corpus grows from run to run.
fuzz() {
  local name=$1 corpus=$build/corpus/$1 log=$build/$1.log limits=(-timeout=60 -rss_limit_mb=2048 -malloc_limit_mb=1024)
  python3 tests/fuzz/corpus.py "$name" "$corpus"
  [[ $seconds != 0 ]] || limits+=(-runs=0)
  [[ ! -s $corpus.dict ]] || limits+=(-dict="$corpus.dict")
  # ASan keeps what was freed, which would fill the memory that libFuzzer allows.
  if HF_HUB_OFFLINE=1 ASAN_OPTIONS=quarantine_size_mb=64 "$build/tests/fuzz/fuzz_$name" -max_total_time="$seconds" \
    "${limits[@]}" -print_final_stats=1 -artifact_prefix="$build/$name-" "$corpus" 2>"$log"; then
    echo "$name: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs, no finding"
  else
    tail -60 "$log"
    echo "$name: FINDING, see $log"
    return 1
  fi
}
export -f fuzz
printf '%s\n' "${targets[@]}" | xargs -P "${JOBS:-2}" -I{} bash -euo pipefail -c 'fuzz {}'
