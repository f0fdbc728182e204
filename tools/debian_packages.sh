#!/usr/bin/env bash
# Sourced by test.sh and quickstart.sh: installs the Debian packages that the build lacks. A package counts as there when
# the command or C++ header that it brings can be found, however it was installed.

declare -A package_of=(
  [c++]=g++ [cmake]=cmake [ninja]=ninja-build [pkg-config]=pkg-config [nm]=binutils [python3]=python3 [pip]=python3-pip
  [utf8proc.h]=libutf8proc-dev [re2/re2.h]=libre2-dev [nlohmann/json.hpp]=nlohmann-json3-dev [CLI/CLI.hpp]=libcli11-dev
  [jpeglib.h]=libjpeg62-turbo-dev [png.h]=libpng-dev [webp/demux.h]=libwebp-dev [FLAC/stream_decoder.h]=libflac-dev
  [curl/curl.h]=libcurl4-openssl-dev [openssl/evp.h]=libssl-dev
  [tesseract/baseapi.h]=libtesseract-dev [leptonica/allheaders.h]=libleptonica-dev [eng.traineddata]=tesseract-ocr-eng
  [clang++]=clang [libclang_rt.fuzzer]=libclang-rt-14-dev
  [Eigen/Core]=libeigen3-dev [dnnl.hpp]=libdnnl-dev
  [aarch64-linux-gnu-g++]=g++-aarch64-linux-gnu [qemu-aarch64]=qemu-user
  [gtest/gtest.h]=libgtest-dev [benchmark/benchmark.h]=libbenchmark-dev
)

have() {
  case $1 in
    c++) command -v "${CXX:-c++}" ;;
    ninja) command -v ninja || command -v make ;;
    pip) python3 -m pip --version ;;
    libclang_rt.fuzzer) compgen -G "$(clang++ -print-resource-dir)/lib/linux/libclang_rt.fuzzer-$(uname -m).a" ;;
    *.traineddata) [[ -e ${TESSDATA_PREFIX:-/usr/share/tesseract-ocr/5/tessdata}/$1 ]] ;;
    jpeglib.h) printf '#include <stdio.h>\n#include <jpeglib.h>\n' | "${CXX:-c++}" -E -x c++ - ;;
    Eigen/Core) echo '#include <eigen3/Eigen/Core>' | "${CXX:-c++}" -E -x c++ - ;;
    *.h | *.hpp) echo "#include <$1>" | "${CXX:-c++}" -E -x c++ - ;;
    *) command -v "$1" ;;
  esac >/dev/null 2>&1
}

# need NAME...: names are keys of package_of.
need() {
  local name missing=() log
  for name; do have "$name" || missing+=("${package_of[$name]}"); done
  ((${#missing[@]})) || return 0
  if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
    echo "missing: ${missing[*]}; on Debian 12, as root: apt-get install ${missing[*]}" >&2
    return 1
  fi
  echo "installing ${missing[*]}"
  log=$(mktemp)
  export DEBIAN_FRONTEND=noninteractive
  if ! { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
    cat "$log" >&2
    return 1
  fi
  rm -f "$log"
}

# Ninja where it is there, make otherwise; an existing build folder keeps what it was made with.
use_ninja() {
  if command -v ninja >/dev/null; then export CMAKE_GENERATOR=${CMAKE_GENERATOR:-Ninja}; fi
}
