#!/usr/bin/env bash
# clang-tidy with .clang-tidy over every source of the rooms without torch: prints the findings and how many there are; exit 0 means none.
# usage: clang_tidy.sh [BUILD_FOLDER] [files…]   (default build/release, all of them; some minutes on two cores)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=${1:-build/release}
shift || true
[[ -f $build/compile_commands.json ]] || { echo "configure first: cmake --preset release" >&2; exit 2; }
tidy=$(command -v clang-tidy-14 || command -v clang-tidy) || { echo "install clang-tidy-14" >&2; exit 2; }
if (($#)); then
  files=("$@")
else
  mapfile -t files < <(find common jobs coordinator worker/text worker/spotting worker/data/{shards,images,tallies} -name '*.cpp' | sort)
fi
said=$(printf '%s\n' "${files[@]}" | xargs -P "$(nproc)" -n 4 "$tidy" -p "$build" --quiet --extra-arg=-Wno-unknown-warning-option 2>&1 || true)
findings=$(grep -E '^[^ ]+:[0-9]+:[0-9]+: (warning|error): ' <<<"$said" | sort -u || true)  # a header's, once
[[ -z $findings ]] || printf '%s\n' "$findings"
count=$(grep -c . <<<"$findings" || true)
echo "clang-tidy: $count findings in ${#files[@]} sources"
[[ $count == 0 ]]
