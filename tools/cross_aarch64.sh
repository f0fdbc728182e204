#!/usr/bin/env bash
# Builds caracal for 64-bit Arm with Debian's cross compiler and runs its tests of kernels, ops and golden models under
# qemu-user, with the backend that Arm gets (Eigen) and with the native one. On Debian 12, as root, it installs what is
# missing; arm64 libraries go into build/aarch64/sysroot, not into the system.
# usage: bash tools/cross_aarch64.sh [CTEST OPTION...]
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tools/debian_packages.sh
source tools/debian_packages.sh
need cmake ninja aarch64-linux-gnu-g++ qemu-aarch64
use_ninja

build=$PWD/build/aarch64 sysroot=$PWD/build/aarch64/sysroot
if [[ ! -e $sysroot/done ]]; then
  # apt with a state of its own, which knows arm64 alone.
  apt=$build/apt
  mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/debs" "$sysroot"
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
  (cd "$apt/debs" && apt-get download -qq libutf8proc-dev libutf8proc2 libre2-dev libre2-9 libgtest-dev \
    nlohmann-json3-dev libeigen3-dev libcli11-dev)
  unset APT_CONFIG
  for deb in "$apt"/debs/*.deb; do dpkg -x "$deb" "$sysroot"; done
  touch "$sysroot/done"
fi

cmake -B "$build" -DCMAKE_TOOLCHAIN_FILE="$PWD/tools/cmake/aarch64-linux-gnu.cmake" -DCARACAL_SYSROOT="$sysroot" \
  -DCMAKE_BUILD_TYPE=Release -DCARACAL_TESTS=ON
cmake --build "$build" --parallel "$(nproc)" --target caracal_cli caracal_backend_tests runtime_test
ctest --test-dir "$build" -j2 --output-on-failure --no-tests=error -L backends "$@"
