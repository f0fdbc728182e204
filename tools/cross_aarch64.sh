#!/usr/bin/env bash
# Builds all of caracal (core, media, ocr, hub, the command) and its tests for 64-bit Arm with Debian's cross compiler and
# runs the tests under qemu-user: kernels, ops and golden models with the backend that Arm gets (Eigen) and with the native
# one. On Debian 12, as root, it installs what is missing; arm64 libraries go into build/aarch64/sysroot, not into the system.
# usage: bash tools/cross_aarch64.sh [CTEST OPTION...]
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tools/debian_packages.sh
source tools/debian_packages.sh
need cmake ninja aarch64-linux-gnu-g++ qemu-aarch64 eng.traineddata
use_ninja

build=$PWD/build/aarch64 sysroot=$PWD/build/aarch64/sysroot
if [[ ! -e $sysroot/done ]]; then
  # apt with a state of its own, which knows arm64 alone and nothing installed: it fetches libraries with all that they need.
  apt=$build/apt
  mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$sysroot"
  : >"$apt/status"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian bookworm main" \
    >"$apt/sources.list"
  cat >"$apt/apt.conf" <<CONF
Dir::State::lists "$apt/lists";
Dir::State::status "$apt/status";
Dir::Cache "$apt/cache";
Dir::Etc::sourcelist "$apt/sources.list";
Dir::Etc::sourceparts "$apt/none";
APT::Architecture "arm64";
APT::Architectures "arm64";
APT::Sandbox::User "root";
CONF
  export APT_CONFIG=$apt/apt.conf
  apt-get update -qq
  apt-get install -qq -y --no-install-recommends --download-only libutf8proc-dev libre2-dev libgtest-dev \
    nlohmann-json3-dev libeigen3-dev libcli11-dev libjpeg62-turbo-dev libpng-dev libwebp-dev libflac-dev \
    libtesseract-dev libleptonica-dev libcurl4-openssl-dev libssl-dev
  unset APT_CONFIG
  for deb in "$apt"/cache/archives/*.deb; do dpkg -x "$deb" "$sysroot"; done
  touch "$sysroot/done"
fi

cmake -B "$build" -DCMAKE_TOOLCHAIN_FILE="$PWD/tools/cmake/aarch64-linux-gnu.cmake" -DCARACAL_SYSROOT="$sysroot" \
  -DCMAKE_BUILD_TYPE=Release -DCARACAL_TESTS=ON
cmake --build "$build" --parallel "$(nproc)"
# Not what starts programs by itself (hub_process_test), nor the build folder's own checks.
ctest --test-dir "$build" -j2 --output-on-failure --no-tests=error -E "^(package|readme)\\.|isa_leak|hub_process_test" "$@"
