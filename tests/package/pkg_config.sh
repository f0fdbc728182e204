#!/usr/bin/env bash
# The moved installation through pkg-config: linked as usual, and --static into a program without shared libraries.
set -euo pipefail
export PKG_CONFIG_PATH
PKG_CONFIG_PATH=$(dirname "$(find "$WORK/moved" -name caracal.pc)")
"$PKG_CONFIG" --exact-version=0.1.0 caracal
# shellcheck disable=SC2046  # flags are meant to split
"$CXX" -std=c++20 "$SOURCE/consumer.cpp" -o "$WORK/pkg_config" $("$PKG_CONFIG" --cflags --libs caracal)
"$WORK/pkg_config" "$TOKENIZER"
# shellcheck disable=SC2046
"$CXX" -std=c++20 "$SOURCE/consumer.cpp" -o "$WORK/pkg_config_static" -static $("$PKG_CONFIG" --static --cflags --libs caracal)
"$WORK/pkg_config_static" "$TOKENIZER"
for component in $COMPONENTS; do
  # shellcheck disable=SC2046
  "$CXX" -std=c++20 "$SOURCE/consumer_$component.cpp" -o "$WORK/pkg_config_$component" \
    $("$PKG_CONFIG" --cflags --libs "caracal-$component")
  "$WORK/pkg_config_$component" "$MEDIA"
done
if [[ " $COMPONENTS " == *" media "* ]]; then
  # shellcheck disable=SC2046
  "$CXX" -std=c++20 "$SOURCE/consumer_media.cpp" -o "$WORK/pkg_config_static" -static \
    $("$PKG_CONFIG" --static --cflags --libs caracal-media)
  "$WORK/pkg_config_static" "$MEDIA"
fi
