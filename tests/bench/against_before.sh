#!/usr/bin/env bash
# The rates of two builds (both with -DTRIREME_BENCH=ON), turn by turn in processor time: loader and curation (text rules, image pass).
# usage: against_before.sh OLD_BUILD NEW_BUILD captions.txt pictures.tar [rounds]      prints per line: median of old, of new, new / old
set -euo pipefail
old=$1 new=$2 captions=$3 pictures=$4 rounds=${5:-5}
out=$(mktemp -d); trap 'rm -rf "$out"' EXIT
for ((i = 0; i < rounds; ++i)); do
  for which in old new; do
    bin=${!which}/bin
    { taskset -c 0 "$bin/curation_bench" "$captions" "$pictures"; taskset -c 0 "$bin/loader_bench" "$pictures" 2; } >"$out/$which.$i"
  done
done
python3 - "$out" <<'P'
import pathlib, re, statistics, sys
def rates(which):
    rows = {}
    for file in pathlib.Path(sys.argv[1]).glob(which + ".*"):
        for line in file.read_text().splitlines():
            number = re.search(r"(?<![\w.])(\d+(?:\.\d+)?)", line.split(":", 1)[-1] if ":" in line else line)
            words = re.sub(r"[\d.]+", "#", line)
            if number:
                rows.setdefault(words, []).append(float(number[1]))
    return {words: statistics.median(values) for words, values in rows.items()}
old, new = rates("old"), rates("new")
for words, value in old.items():
    if words in new and value:
        print(f"{value:12.1f} {new[words]:12.1f} {new[words] / value:7.3f}  {words}")
P
