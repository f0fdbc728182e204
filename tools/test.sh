#!/usr/bin/env bash
# Builds caracal and runs its tests; on a fresh Debian 12, as root, it first installs what is missing.
# usage: bash tools/test.sh [release|asan|tsan] [CMAKE OPTION...]      tsan runs the tests about threads only
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tools/debian_packages.sh
source tools/debian_packages.sh

preset=${1:-release}
shift $(($# > 0))
need c++ cmake ninja pkg-config nm python3 utf8proc.h re2/re2.h nlohmann/json.hpp Eigen/Core CLI/CLI.hpp gtest/gtest.h benchmark/benchmark.h
need curl/curl.h openssl/evp.h jpeglib.h png.h webp/demux.h FLAC/stream_decoder.h tesseract/baseapi.h leptonica/allheaders.h eng.traineddata
use_ninja
bash tools/fetch_minilm.sh || echo "without the model: tests on the real checkpoint will be skipped" >&2

target=all
[[ $preset == tsan ]] && target=caracal_thread_tests
cmake --preset "$preset" "$@"
cmake --build --preset "$preset" --parallel "$(nproc)" --target "$target"
ctest --preset "$preset" -j2
