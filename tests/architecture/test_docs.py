"""docs/architecture.md is the map: its rooms are those of layers.txt, and each is a folder."""
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/architecture.md").read_text()


def test_the_table_has_every_room_in_the_order_of_the_layers():
    rooms = [line.split(":")[0] for line in (ROOT / "tests/architecture/layers.txt").read_text().splitlines() if line and not line.startswith("#")]
    assert re.findall(r"^\| `([a-z/_]+)` \|", PAGE, re.M) == rooms


def test_rooms_are_folders_with_sources():
    for room in re.findall(r"^\| `([a-z/_]+)` \|", PAGE, re.M):
        assert any((ROOT / room).rglob("*.h")) or any((ROOT / room).glob("*.cpp")), room


def test_every_file_that_a_page_names_exists():
    missing = []
    for page in [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "CONTRIBUTING.md"]:
        for path in re.findall(r"`((?:common|jobs|coordinator|worker|tests|docker|monitoring)/[\w./-]+\.\w+)`", page.read_text()):
            if not (ROOT / path).exists():
                missing.append(f"{page.relative_to(ROOT)}: {path}")
    assert not missing, missing


SOURCES = (".h", ".cpp", ".cu", ".py", ".sh", ".json", ".cmake", ".txt")


def test_every_name_in_a_walk_is_one_of_the_sources():
    """What the map and the walks have in backticks: functions, types, fields, programs of tests (a room's path and _test)."""
    known = set()
    for path in [ROOT / "CMakeLists.txt", *(p for top in ("common", "jobs", "coordinator", "worker", "tests", "docker") for p in (ROOT / top).rglob("*"))]:
        if path.is_dir():
            known.add("_".join(path.relative_to(ROOT).parts).replace("worker_stages", "worker_stage") + "_test")
        elif path.suffix in SOURCES:
            known.add(path.stem)
            known.update(re.findall(r"\w+", path.read_text()))
    for page in [ROOT / "docs/architecture.md", *sorted((ROOT / "docs/how-to").glob("add-a*.md"))]:
        text = page.read_text()
        spans = re.findall(r"^```\w*\n(.*?)^```$", text, re.M | re.S) + re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S))
        names = {name for span in spans for name in re.findall(r"[A-Za-z_]\w{3,}", span)}
        assert not names - known, f"{page.name} names what is not there: {sorted(names - known)}"


def test_the_build_is_strict_for_us_alone_and_the_forge_runs_what_everyone_runs():
    cmake = (ROOT / "CMakeLists.txt").read_text()
    assert re.search(r"option\(TRIREME_WERROR .* OFF\)", cmake) and cmake.count("-Werror") == 1
    assert '"TRIREME_WERROR": "ON"' in (ROOT / "CMakePresets.json").read_text()
    assert re.search(r"- run: \.ci/run$", (ROOT / ".github/workflows/ci.yml").read_text(), re.M)
