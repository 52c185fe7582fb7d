#!/usr/bin/env bash
# The thread sanitizer over what threads share: mailbox, API and service whole, runtime and collectives over libraries that it does not see into
# (tests/rig/tsan.txt). tests/rig/tsan.sh [ROOM_TEST…]   The build in build/tsan takes two cores an hour with torch, and ten minutes for rooms without; minutes for the tests.
# A finding is a failure.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
tests=("$@")
((${#tests[@]})) || tests=(common_mailbox_test common_telemetry_test coordinator_api_test coordinator_service_test worker_collective_test worker_runtime_test)
torch=OFF
[[ ${tests[*]} == *worker_* ]] && torch=ON
cmake --preset tsan -DTRIREME_TORCH=$torch >/dev/null && ninja -C build/tsan "${tests[@]}" || exit 2
export TSAN_OPTIONS="suppressions=$PWD/tests/rig/tsan.txt exitcode=66 ignore_noninstrumented_modules=1 history_size=4 allocator_may_return_null=1" TRIREME_SOURCE_DIR=$PWD
status=0
for test in "${tests[@]}"; do
  log=build/tsan/$test.log
  setarch -R build/tsan/bin/"$test" >"$log" 2>&1 || status=1
  echo "$test: $(grep -c 'WARNING: ThreadSanitizer' "$log") findings, $(grep -E '^\[  (PASSED|FAILED)' "$log" | head -1)"
done
exit $status
