#!/usr/bin/env bash
# A CMake project finds the moved installation, links both of its targets and runs; absent components and versions fail.
set -euo pipefail
rm -rf "$WORK/find_package"
configure() { "$CMAKE" -S "$SOURCE/find_package" -B "$WORK/find_package" -DCMAKE_PREFIX_PATH="$WORK/moved" "$@"; }
# refuses TEXT OPTION: configuring fails and says TEXT
refuses() {
  rm -rf "$WORK/find_package"
  if configure "$2" >"$WORK/refused.log" 2>&1; then echo "find_package accepted $2" >&2; exit 1; fi
  grep -q "$1" "$WORK/refused.log" || { cat "$WORK/refused.log"; exit 1; }
}
configure
"$CMAKE" --build "$WORK/find_package"
"$WORK/find_package/consumer" "$TOKENIZER"
"$WORK/find_package/consumer_all" "$TOKENIZER"
for component in $COMPONENTS; do
  rm -rf "$WORK/find_package"
  configure -DCOMPONENT="$component"
  "$CMAKE" --build "$WORK/find_package" --target "consumer_$component"
  "$WORK/find_package/consumer_$component" "$MEDIA"
done
refuses "without the component nonsense" -DCOMPONENT=nonsense
refuses "version: 0.1.0" -DVERSION=0.2
