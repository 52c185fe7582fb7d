"""Adds up the JUnit reports of GoogleTest and pytest; prints skipped tests' reasons and the closing line. argv: results folder, build folder.

A test program that ended without a report (a crash) counts as one failure.
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
for program in sorted(build.joinpath("bin").glob("*_test")):
    if program.stem not in reported:
        print(f"no report from {program.name}: it crashed or was not run")
        failed += 1
print(f"{passed} passed, {failed} failed, {skipped} skipped")
sys.exit(1 if failed or not passed else 0)
