#!/usr/bin/env bash
# How long `ninja trireme-worker` takes after one source of each stage was touched: a line per stage, the slowest last. Wants a quiet machine.
# With --clean: how long everything takes from nothing, at each of the commits (what was, and what is, beside one another).
# usage: rebuild_time.sh [BUILD_FOLDER] [stage…]   (default build/release, every stage); without the compiler cache, which would hide it
#        rebuild_time.sh --clean [COMMIT…]         (default HEAD); TARGETS="trireme-worker" for less than the three programs
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
if [[ ${1-} == --clean ]]; then
  shift
  export CCACHE_DISABLE=1
  for commit in "${@:-HEAD}"; do
    tree=$(mktemp -d) && trap 'rm -rf "$tree"' EXIT
    git archive "$commit" | tar -x -C "$tree"
    ln -s "$PWD/.trireme" "$tree/.trireme"
    (cd "$tree" && cmake --preset release -DTRIREME_TESTS=OFF >/dev/null
     TIMEFORMAT="%R s, %U s of processors: $commit"
     # shellcheck disable=SC2086
     time ninja -C build/release ${TARGETS:-trireme trireme-coordinator trireme-worker} >/dev/null)
    rm -rf "$tree"
  done
  exit
fi
build=${1:-build/release}
shift || true
stages=("$@")
((${#stages[@]})) || mapfile -t stages < <(find worker/stages -mindepth 1 -maxdepth 1 -type d -printf '%f\n' | sort)
export CCACHE_DISABLE=1
ninja -C "$build" trireme-worker >/dev/null
for stage in "${stages[@]}"; do
  source=$(find "worker/stages/$stage" -name '*.cpp' | sort | sed -n 1p)
  touch "$source"
  begin=$(date +%s%N)
  ninja -C "$build" trireme-worker >/dev/null
  echo "$((($(date +%s%N) - begin) / 100000000)) $source"
done | sort -n | awk '{ printf "%6.1f s  %s\n", $1 / 10, $2 }'
