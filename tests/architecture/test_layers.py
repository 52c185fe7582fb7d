"""Reads every include line of the product and fails on an arrow that layers.txt does not allow."""
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
TORCH = re.compile(r'#include [<"](torch|ATen|c10|caffe2)/')
OURS = re.compile(r'#include "([^"]+)"')
ALLOWED_TOP = {"SECURITY.md", "CMakeLists.txt", "CMakePresets.json", "coordinator", "worker", "common", "jobs", "monitoring", "tests", "docker",
               "docs", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "quickstart"}


def layers():
    rows = {}
    for line in (ROOT / "tests/architecture/layers.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            room, allowed = line.split(":")
            rows[room] = set(allowed.split())
    return rows


def room_of(path, rooms):
    folder = str(pathlib.PurePosixPath(path).parent)
    while folder not in rooms and folder not in ("", "."):
        folder = str(pathlib.PurePosixPath(folder).parent)
    return folder


def sources():
    for top in ("common", "jobs", "coordinator", "worker"):
        for path in sorted((ROOT / top).rglob("*")):
            if path.suffix in (".h", ".cpp", ".cu"):
                yield path.relative_to(ROOT).as_posix()


def test_every_include_follows_an_allowed_arrow():
    rows, wrong = layers(), []
    for path in sources():
        room = room_of(path, rows)
        assert room in rows, f"{path} lies in no room of layers.txt"
        for number, line in enumerate((ROOT / path).read_text().splitlines(), 1):
            if TORCH.search(line) and "torch" not in rows[room]:
                wrong.append(f"{path}:{number}: torch is not allowed in {room}")
            match = OURS.search(line)
            if not match:
                continue
            target = room_of(match.group(1), rows)
            if target != room and target not in rows[room]:
                wrong.append(f"{path}:{number}: {room} may not include {match.group(1)}")
            elif target == room == "worker/stages":
                mine, other = path.split("/")[2], match.group(1).split("/")[2]
                if mine != other:
                    wrong.append(f"{path}:{number}: stages never include one another ({match.group(1)})")
    assert not wrong, "\n" + "\n".join(wrong)


def test_the_arrows_have_no_circle():
    rows, state = layers(), {}

    def visit(room, trail):
        assert state.get(room) != "open", " -> ".join([*trail, room])
        if room in state:
            return
        state[room] = "open"
        for below in rows[room] - {"torch"}:
            visit(below, [*trail, room])
        state[room] = "done"

    for room in rows:
        visit(room, [])


def test_headers_start_with_pragma_once_and_nobody_includes_all_of_torch():
    for path in sources():
        text = (ROOT / path).read_text()
        assert path.endswith((".cpp", ".cu")) or "#pragma once" in text, path
        assert "torch/torch.h" not in text, path


def test_the_top_level_holds_nothing_else():
    import subprocess
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    names = {line.split("/")[0] for line in tracked.stdout.splitlines()}
    assert {n for n in names if not n.startswith(".")} <= ALLOWED_TOP


def test_sources_are_formatted():
    import shutil
    import subprocess
    import pytest
    tool = shutil.which("clang-format-14")
    if tool is None:
        pytest.skip("clang-format-14 is not installed")
    files = [p for p in sources()] + [p.relative_to(ROOT).as_posix() for p in (ROOT / "tests").rglob("*") if p.suffix in (".h", ".cpp")]
    result = subprocess.run([tool, "--dry-run", "-Werror", *files], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[:3000]
