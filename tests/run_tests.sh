#!/usr/bin/env bash
# Runs every test of a build folder: the C++ rooms through CTest, then the whole system through pytest with real processes.
# Ends with "N passed, N failed, N skipped", counted from the runners' own reports.
set -uo pipefail
build=$(cd "${1:?usage: run_tests.sh BUILD_FOLDER}" && pwd)
cd "$(dirname "${BASH_SOURCE[0]}")/.."
results=$build/test-results
rm -rf "$results"
mkdir -p "$results"
export TRIREME_BIN=$build/bin
[[ -x .trireme/judges/bin/python ]] && export TRIREME_PEER_PYTHON=${TRIREME_PEER_PYTHON:-$PWD/.trireme/judges/bin/python}
status=0
GTEST_OUTPUT=xml:$results/ ctest --test-dir "$build" --output-on-failure -j 2 || status=1
# Most tests wait for processes: two at a time. What measures seconds of recovery has the machine to itself.
# Half an hour is twice what they take; a runner that hangs has to end, too.
alone=(tests/system/test_{recovery,stop,bits}.py)
timeout --kill-after=60 1800 /usr/bin/python3 -m pytest -q -rs -p no:cacheprovider -n 2 --dist loadfile --junitxml="$results/system.xml" tests/architecture tests/system tests/rig \
  $(printf -- '--ignore=%s ' "${alone[@]}") || status=1
timeout --kill-after=60 900 /usr/bin/python3 -m pytest -q -rs -p no:cacheprovider --junitxml="$results/system_alone.xml" "${alone[@]}" || status=1
/usr/bin/python3 tests/support/count_results.py "$results" "$build" || status=1
exit $status
