#!/usr/bin/env bash
# With CARACAL_CUDA and without, all but caracal::cuda is compiled by the same commands, and so to the same bytes.
# usage: core_alone.sh CMAKE SOURCE_ROOT WORK_FOLDER CXX [CUDA_ROOT]
set -euo pipefail
cmake=$1 source=$2 work=$3 cxx=$4 cuda=${5:-}
# commands ON|OFF: what compiles the core, one command a line
commands() {
  rm -rf "$work"
  "$cmake" -S "$source" -B "$work" -G "Unix Makefiles" -DCMAKE_CXX_COMPILER="$cxx" -DCMAKE_EXPORT_COMPILE_COMMANDS=ON \
    -DCARACAL_TESTS=OFF -DCARACAL_CUDA="$1" ${cuda:+-DCUDAToolkit_ROOT="$cuda"} >"$work.log" 2>&1 ||
    { cat "$work.log" >&2; return 1; }
  grep '"command"' "$work/compile_commands.json" | sort
}
commands ON >"$work.on"
commands OFF >"$work.off"
rm -rf "$work"
diff "$work.off" "$work.on"
count=$(grep -c . "$work.on")
((count > 100)) || { echo "found only $count commands" >&2; exit 1; }
