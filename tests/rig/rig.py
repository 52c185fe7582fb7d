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
launch, tiny_run = system.launch, system.tiny_run  # fixtures

# RELIABILITY 8.8, wider: these machines are busy.
QUICK = ["spec.timeouts.heartbeat_seconds=0.1", "spec.timeouts.suspect_seconds=1", "spec.timeouts.dead_seconds=4", "spec.timeouts.fence_seconds=4", "spec.timeouts.lease_seconds=8",
         "spec.timeouts.first_heartbeat_seconds=30", "spec.retry.backoff_seconds=0", "spec.retry.max_backoff_seconds=0"]


# What takes longer than CI has: TRIREME_RIG=1 runs all of it.
long = pytest.mark.skipif(not os.environ.get("TRIREME_RIG"), reason="long: TRIREME_RIG=1 tests/rig")


@pytest.fixture
def audit(tiny_run):
    """A run kept its promises, and gave what the undisturbed one did."""

    def check(output, like=None):
        done = system.trireme("audit", output, "--like", like or tiny_run.output, "-o", "json")
        document = json.loads(done.stdout) if done.stdout.startswith("{") else {"findings": [done.stderr]}
        assert done.returncode == 0 and not document["findings"], document
        return document

    return check
