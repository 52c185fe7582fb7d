"""The table of docs/reliability.md is made from the catalogue, and every test that it names exists."""
import json
import re

import catalogue


def test_every_fault_has_a_row_with_a_test_or_what_is_missing():
    assert [fault.number for fault in catalogue.FAULTS] == [f"F{number:02}" for number in range(1, 70)]
    assert not [fault.number for fault in catalogue.FAULTS if not fault.tests and not fault.missing]


def test_every_test_exists():
    assert not [(fault.number, test) for fault in catalogue.FAULTS for test in fault.tests if not catalogue.exists(test)]


def test_the_page_is_the_catalogue():
    assert catalogue.PAGE.read_text() == catalogue.page(), "python3 tests/rig/catalogue.py"


def test_every_test_that_the_security_page_names_exists():
    named = re.findall(r"`(\w+\.\w+|tests/[\w/]+\.py(?:::\w+)?)`", (catalogue.ROOT / "SECURITY.md").read_text())
    assert len(named) > 10
    assert not [test for test in named if not catalogue.exists(test)]


def lines(pattern):
    return [json.loads(line) for file in sorted((catalogue.ROOT / "tests").glob(pattern)) for line in file.read_text().splitlines()]


def test_the_page_tells_what_the_longer_runs_gave():
    """Of a schedule its newest run counts, of a fuzz target every one."""
    runs = sorted(lines("rig/results/*.jsonl"), key=lambda run: run.get("date", ""))
    schedules = {(run["hosts"], seed): seed in run["failed_seeds"] for run in runs for seed in range(run["first_seed"], run["first_seed"] + run["schedules"])}
    assert f"{len(schedules)} schedules, {sum(schedules.values())} differ" in catalogue.PAGE.read_text()
    fuzzed = lines("fuzz/results.jsonl")
    assert len({run["target"] for run in fuzzed}) == 13 and not any(run["findings"] for run in fuzzed)
    assert f"{sum(run['inputs'] for run in fuzzed):,} inputs" in catalogue.PAGE.read_text()
