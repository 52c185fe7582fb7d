"""Random schedules with fixed seeds (tests/rig/schedules)."""
import subprocess
import sys

import pytest

from rig import ROOT, long
import hosts  # noqa: E402


def schedules(count, seed, *more):
    done = subprocess.run([sys.executable, ROOT / "tests/rig/schedules", str(count), "--seed", str(seed), *more], cwd=ROOT, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    print(done.stdout)


@long
def test_four_of_them():
    schedules(4, 1)


@long
@pytest.mark.parametrize("seed", [5, 9])
def test_eight_more(seed):
    schedules(4, seed)


@long
def test_three_on_three_hosts():
    if why := hosts.missing():
        pytest.skip(why)
    schedules(3, 1, "--hosts", "3")
