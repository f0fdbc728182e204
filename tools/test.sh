#!/usr/bin/env bash
# Builds caracal and runs its tests; on a fresh Debian 12, as root, it first installs what is missing.
# usage: bash tools/test.sh [release|asan|tsan|cuda] [CMAKE OPTION...]      tsan runs the tests about threads only; cuda
# compiles the CUDA kernels for every architecture, fetching nvcc where there is none, and looks at what became of them.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tools/debian_packages.sh
source tools/debian_packages.sh

preset=${1:-release}
shift $(($# > 0))
need c++ cmake ninja pkg-config nm python3 utf8proc.h re2/re2.h nlohmann/json.hpp Eigen/Core CLI/CLI.hpp gtest/gtest.h benchmark/benchmark.h
need curl/curl.h openssl/evp.h jpeglib.h png.h webp/demux.h FLAC/stream_decoder.h tesseract/baseapi.h leptonica/allheaders.h eng.traineddata
# oneDNN is tested in release mode; sanitizers do not know the locks of its OpenMP.
if [[ $preset == release ]]; then
  need dnnl.hpp
  set -- -DCARACAL_ONEDNN=ON "$@"
fi
# nvcc of this machine if it is of version 13, else one of our own.
if [[ $preset == cuda ]]; then
  nvcc=$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)
  if ! "$nvcc" --version 2>/dev/null | grep -q 'release 13'; then
    bash tools/fetch_nvcc.sh || { echo "no nvcc to be had: SKIPPED, the CUDA kernels were not compiled" >&2; exit 77; }
    set -- -DCUDAToolkit_ROOT="$PWD/build/nvcc" "$@"
  fi
fi
use_ninja
[[ $preset == cuda ]] || bash tools/fetch_minilm.sh || echo "without the model: tests on the real checkpoint will be skipped" >&2

target=all
[[ $preset == tsan ]] && target=caracal_thread_tests
[[ $preset == cuda ]] && target=caracal_cuda_objects
cmake --preset "$preset" "$@"
cmake --build --preset "$preset" --parallel "$(nproc)" --target "$target"
ctest --preset "$preset" -j2
