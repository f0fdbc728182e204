#!/usr/bin/env bash
# Fetches nvcc 13.0 and what it needs to compile caracal::cuda into build/nvcc/, unless it is there: 100 MB, unpacked
# 271 MB. It comes from the Python package index, as NVIDIA's wheels (zip files), which share one folder.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tools/debian_packages.sh
source tools/debian_packages.sh

[[ -x build/nvcc/bin/nvcc ]] && exit
[[ $(uname -m) == x86_64 ]] || { echo "no nvcc for $(uname -m) is known here; install CUDA 13" >&2; exit 1; }
need python3 pip
echo "fetching nvcc into build/nvcc"
mkdir -p build
fetched=$(mktemp -d -p build)
trap 'rm -rf "$fetched"' EXIT
python3 -m pip download --disable-pip-version-check --no-cache-dir --no-deps --only-binary :all: --dest "$fetched" \
  --require-hashes --requirement tools/nvcc_requirements.txt
for wheel in "$fetched"/*.whl; do python3 -m zipfile -e "$wheel" "$fetched"; done
toolkit=$fetched/nvidia/cu13
chmod +x "$toolkit"/bin/* "$toolkit"/nvvm/bin/*
ln -sfn lib "$toolkit/lib64"
ln -sfn libcudart.so.13 "$toolkit/lib/libcudart.so"  # by which CMake knows the folder
rm -rf build/nvcc
mv "$toolkit" build/nvcc
