#!/usr/bin/env bash
# Installs into one prefix and moves it to another, where the other package tests find it. Nothing in it may remember
# where it was, or where it was built.
set -euo pipefail
rm -rf "$WORK/installed" "$WORK/moved"
"$CMAKE" --install "$BUILD" --prefix "$WORK/installed" >/dev/null
mv "$WORK/installed" "$WORK/moved"
if grep -rIlF -e "$BUILD" -e "$WORK/installed" "$WORK/moved"; then
  echo "the files above name a folder of this machine" >&2
  exit 1
fi
"$WORK/moved/bin/caracal" version
