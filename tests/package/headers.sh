#!/usr/bin/env bash
# Every installed header compiles on its own, with warnings as errors, from the installed prefix alone.
set -euo pipefail
cd "$WORK/moved/include"
while IFS= read -r header; do
  echo "#include <$header>" | "$CXX" -std=c++20 -fsyntax-only -Wall -Wextra -Wpedantic -Wshadow -Werror -I. -x c++ -
done < <(find caracal -name '*.h')
