#!/usr/bin/env bash
# caracal inside a parent project that has -Werror for everything; the parent's CMakeLists.txt looks for what leaked.
set -euo pipefail
rm -f "$WORK/subdirectory/CMakeCache.txt"  # or what a run left there would count as the parent's
"$CMAKE" -S "$SOURCE/subdirectory" -B "$WORK/subdirectory" -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS_DEBUG=-g0
"$CMAKE" --build "$WORK/subdirectory" --parallel 2
"$WORK/subdirectory/consumer" "$TOKENIZER"
