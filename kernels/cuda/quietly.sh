#!/bin/sh
# Runs a compiler whose notes go to a file; they are shown where they are more than notes.
# usage: quietly.sh FILE COMMAND...
notes=$1
shift
"$@" 2>"$notes" || { status=$?; cat "$notes" >&2; exit $status; }
grep -v -e '^ptxas info' -e '^ *[0-9]* bytes stack frame' -e '^$' "$notes" >&2 || true
