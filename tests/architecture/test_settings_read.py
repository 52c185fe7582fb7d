"""Every setting of the job file is read by something beside the descriptions and checks of the specification itself.

Which settings nothing reads in a given state is what FieldRules::unread says and tests/jobs/specification/checks/check_unread_test.cpp
holds; this holds that a setting without such a reason is read at all."""
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
FIELD = re.compile(r'\bv\.field\(\s*"(\w+)",\s*(\w+)\b')
# Settings without a reader, and why. The list only shrinks.
NOT_READ = {
    "api_version": "the reader accepts one version",
}


def settings():
    """(member, header) of every field that a description of the specification names."""
    for header in sorted((ROOT / "jobs/specification").rglob("*.h")):
        for name, member in FIELD.findall(header.read_text()):
            yield member, header.relative_to(ROOT).as_posix()


def readers():
    """The product's text but for descriptions, and for checks, which read a setting to refuse it."""
    text = []
    for top in ("common", "jobs", "coordinator", "worker"):
        for path in sorted((ROOT / top).rglob("*")):
            name = path.relative_to(ROOT).as_posix()
            if path.suffix in (".h", ".cpp", ".cu") and not name.startswith("jobs/specification/checks/"):
                text.append(re.sub(r'//[^\n]*|v\.field\((?:[^;]|\n)*?\);', "", path.read_text()))
    return "\n".join(text)


def test_every_setting_is_read_somewhere():
    read = set(re.findall(r"(?:\.|->)(\w+)\b", readers()))
    unread = {member: header for member, header in settings() if member not in read}
    assert unread.keys() == NOT_READ.keys(), unread
