#!/usr/bin/env bash
# What libcaracal.a and the archives beside it hold and ask for. Names are compared mangled: _ZN7caracal… is namespace caracal.
set -euo pipefail
status=0
# report TEXT LINES: fails when there are lines, and shows them.
report() {
  [[ -z $2 ]] && return
  printf '%s:\n%s\n' "$1" "$2" | head -40
  status=1
}
# keep REGEX, drop REGEX: filters that do not fail when nothing is left.
keep() { grep -E "$1" || true; }
drop() { grep -vE "$1" || true; }

special='(T[VTISC]|Th[n0-9_]+|Tv[n0-9_]+|GV|GR|TH|TW|Z)*'  # vtable, typeinfo, thunk, guard, local entity, …
ours="^_Z${special}N[KVRO]*7caracal"
standard='^(_ZT[IS]P|_Z(T[VTIS]|GV|Z)*(N[KVRO]*)?(S[tabsiod]|9__gnu_cxx)|_Zn[wa]|_Zd[la]|DW\.ref\._|__clang_call_terminate)'

for archive in $ARCHIVES; do
  defined=$("$NM" --defined-only --extern-only --format=posix "$archive" | awk 'NF >= 2 {print $2, $1}' | sort -u)
  undefined=$("$NM" --undefined-only --format=posix "$archive" | awk 'NF >= 2 {print $1}' | sort -u)
  [[ $(keep '^T _ZN[KVRO]*7caracal' <<<"$defined" | wc -l) -gt 3 ]] || { echo "nm found no functions of caracal"; exit 1; }

  report "strong symbols outside namespace caracal" "$(awk '$1 !~ /[VWu]/ {print $2}' <<<"$defined" | drop "$ours")"
  report "weak symbols that are neither caracal's nor the standard library's" \
    "$(awk '$1 ~ /[VWu]/ {print $2}' <<<"$defined" | drop "$ours" | drop "$standard")"
  report "files with static initialisers" \
    "$("$READELF" -SW "$archive" | awk '/^File:/ {file = $2} / \.(init_array|ctors|preinit_array)/ {print file}')"
  report "references to OpenMP" "$(keep '^(GOMP_|GOACC_|omp_|__kmpc_)' <<<"$undefined")"
  printing='v?printf|puts|putchar|perror|stdout|stderr|_ZSt4(cout|cerr|clog)|_ZNSt8ios_base4InitC1Ev'
  report "references to functions that print, end the process or set up iostreams" \
    "$(keep "^(abort|_?exit|quick_exit|$printing)\$" <<<"$undefined")"
done
exit $status
