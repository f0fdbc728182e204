#!/bin/sh
# Runs a compiler whose notes go to a file; what else it says is shown.
# usage: quietly.sh FILE COMMAND...
notes=$1
shift
status=0
"$@" 2>"$notes" || status=$?
grep -v -e '^ptxas info' -e '^ *[0-9]* bytes stack frame' -e '^$' "$notes" >&2
exit $status
