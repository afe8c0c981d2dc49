#!/bin/sh
# Times the steps of an event; with --instructions counts their instructions for 1,000 events by valgrind's callgrind, which other
# load on the machine does not change. Files are written by other threads, which callgrind's switch does not follow: that step is only timed.
set -eu
[ "${1:-}" = --instructions ] || exec cargo bench --locked --workspace --bench micro -- "$@"
command -v valgrind >/dev/null || { echo "valgrind is not installed: apt install valgrind, or leave --instructions away" >&2; exit 1; }
program=$(cargo bench --locked --workspace --bench micro --no-run --message-format json |
    python3 -c 'import json, sys
for line in map(json.loads, sys.stdin):
    if line.get("target", {}).get("name") == "micro": print(line["executable"])')
for step in parse encode decode admit refuse unite; do
    counted=$(valgrind --tool=callgrind --callgrind-out-file=/dev/null --toggle-collect="*step_$step*" "$program" --bench --test 2>&1 |
        sed -n 's/.*Collected : //p' | sort -n | tail -1)
    [ "${counted:-0}" -gt 0 ] || { echo "callgrind saw nothing of step_$step in $program" >&2; exit 1; }
    printf '%-8s %15s instructions\n' "$step" "$counted"
done
