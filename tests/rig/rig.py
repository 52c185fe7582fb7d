"""The rig: real processes, and something that goes wrong. Uses what tests/system has (run with TRIREME_BIN set)."""
import importlib.util
import json
import os
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/support")]

_spec = importlib.util.spec_from_file_location("system_conftest", ROOT / "tests/system/conftest.py")
system = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(system)
launch = system.launch  # fixture

# One epoch of 64 steps, and RELIABILITY 8.8, wider: these machines are busy.
SHORT = ["spec.stages.train.epochs=1"]
QUICK = [*SHORT, "spec.timeouts.heartbeat_seconds=0.1", "spec.timeouts.suspect_seconds=1", "spec.timeouts.dead_seconds=4", "spec.timeouts.fence_seconds=4", "spec.timeouts.lease_seconds=8",
         "spec.timeouts.first_heartbeat_seconds=30", "spec.retry.backoff_seconds=0", "spec.retry.max_backoff_seconds=0"]

PACED = {**system.paced(64), "TRIREME_FAULT_INCARNATION": "any"}

# What takes longer than CI has: TRIREME_RIG=1 runs all of it.
long = pytest.mark.skipif(not os.environ.get("TRIREME_RIG"), reason="long: TRIREME_RIG=1 tests/rig")


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """One epoch of the tiny job on two workers of one host, and nothing goes wrong."""
    run = system.Launch(system.EXAMPLES / "tiny.json", tmp_path_factory.mktemp("undisturbed") / "run", sets=SHORT)
    try:
        run.succeed(600)
    finally:
        run.stop()
    return run.output


@pytest.fixture
def audit(undisturbed):
    """A run kept its promises, and gave what the undisturbed one did."""

    def check(output):
        done = system.trireme("audit", output, "--like", undisturbed, "-o", "json")
        document = json.loads(done.stdout) if done.stdout.startswith("{") else {"findings": [done.stderr]}
        assert done.returncode == 0 and not document["findings"], document
        return document

    return check
