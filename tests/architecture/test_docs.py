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
