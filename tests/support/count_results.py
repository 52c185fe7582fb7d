"""Adds up the JUnit reports of GoogleTest and pytest; prints skipped tests' reasons and the closing line. argv: results folder, build folder.

A test program or a run of pytest that ended without a report (a crash, its time was over) counts as one failure.
"""
import pathlib
import sys
import xml.etree.ElementTree as tree

results, build = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
passed = failed = skipped = 0
reported = set()
for path in sorted(results.glob("*.xml")):
    reported.add(path.stem)
    for case in tree.parse(path).getroot().iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            failed += 1
        elif case.find("skipped") is not None or case.get("result") == "skipped":
            skipped += 1
            reason = case.find("skipped")
            print(f"skipped: {case.get('classname')}.{case.get('name')}: {(reason.get('message') or '') if reason is not None else ''}".strip())
        else:
            passed += 1
for program in [*sorted(path.stem for path in build.joinpath("bin").glob("*_test")), "system", "system_alone"]:
    if program not in reported:
        print(f"no report from {program}: it crashed, was not run or had no end")
        failed += 1
print(f"{passed} passed, {failed} failed, {skipped} skipped")
sys.exit(1 if failed or not passed else 0)
