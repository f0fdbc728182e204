#!/usr/bin/env bash
# caracal inside a parent project that has -Werror for everything; the parent's CMakeLists.txt looks for what leaked.
set -euo pipefail
"$CMAKE" -S "$SOURCE/subdirectory" -B "$WORK/subdirectory" -DCMAKE_BUILD_TYPE=Debug
"$CMAKE" --build "$WORK/subdirectory" --parallel 2
"$WORK/subdirectory/consumer" "$TOKENIZER"
