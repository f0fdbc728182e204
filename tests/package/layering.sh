#!/usr/bin/env bash
# Who may include whom: tools, bench, tests > models > loaders, tokenizers > runtime > kernels > nothing of ours.
# usage: layering.sh SOURCE_ROOT
set -euo pipefail
cd "$1"
status=0
bad() {
  echo "$1"
  status=1
}

declare -A below=(
  [kernels]="kernels"
  [runtime]="runtime kernels"
  [loaders]="loaders runtime kernels"
  [tokenizers]="tokenizers runtime kernels"
  [models]="models tokenizers loaders runtime kernels"
  [tools]="tools models tokenizers loaders runtime kernels caracal.h"
  [bench]="bench models tokenizers loaders runtime kernels caracal.h"
  [tests]="tests bench tools models tokenizers loaders runtime kernels caracal.h"
)
count=0
while IFS= read -r file; do
  folder=${file%%/*}
  [[ $file != *.h && $file != *.cuh ]] || grep -q '^#pragma once$' "$file" || bad "$file: no #pragma once"
  while IFS= read -r include; do
    count=$((count + 1))
    name=${include:1:-1}
    case $include in
      '<caracal/'*)
        part=${name#caracal/}
        [[ " ${below[$folder]} " == *" ${part%%/*} "* ]] || bad "$file: $folder may not include $include"
        ;;
      '"'*)  # tools, bench and tests may quote a file that lies beside them
        [[ $folder =~ ^(tools|bench|tests)$ && $name != */* ]] || bad "$file: write <caracal/…> in place of $include"
        ;;
      *)
        case $file in
          kernels/cpu/* | kernels/*.h | kernels/*.def)  # compiled once per tier: no inline functions shared with other files
            [[ $name =~ ^(stddef|stdint|math|float|string|immintrin)\.h$|^cstddef$|^cstdint$ ]] ||
              bad "$file: a kernel file may not include $include"
            ;;
          runtime/*.h | loaders/*.h | tokenizers/*.h | models/*.h)
            [[ $name =~ ^[a-z_]+$ ]] || bad "$file: a public header may include only caracal and the standard library, not $include"
            ;;
        esac
        [[ $folder =~ ^(tools|bench|tests)$ || $name != iostream ]] || bad "$file: <iostream> has a static initialiser"
        ;;
    esac
  done < <(sed -nE 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*([<"][^>"]+[>"]).*/\1/p' "$file")
done < <(find kernels runtime loaders tokenizers models tools bench tests -name '*.h' -o -name '*.cpp' -o -name '*.def' -o -name '*.cu' -o -name '*.cuh')
((count > 100)) || bad "found only $count includes: is $1 the source root?"
exit $status
