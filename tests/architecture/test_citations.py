"""Every page that a comment cites, every link and every test that a page names exists."""
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = {"METHODS": "docs/methods.md", "RELIABILITY": "docs/reliability.md", "FORMATS": "docs/formats.md"}
GONE = ("PEERS", "DEPENDENCIES", "ARCHITECTURE")  # pages that this repository does not hold
NUMBER = r"\d+(?:\.\d+)?"
CITATION = re.compile(rf"\b({'|'.join([*PAGES, *GONE])})(?:\.md)?[ \n/#]*((?:{NUMBER})(?:(?:\s*,\s*|\s+and\s+|\s+to\s+)(?:{NUMBER}))*)")
QUOTED = re.compile(r'\bRELIABILITY[ \n/#]+[\d.]+ "([^"]+)"')
FAULT = re.compile(r"\bF(\d\d)\b")
LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
TEST_NAME = re.compile(r"`((?:tests/[\w/]+\.py(?:::\w+)?)|(?:[A-Z]\w+\.[A-Z]\w+))`")
TEXT = (".h", ".cpp", ".cu", ".py", ".md", ".txt", ".yml", ".cmake", ".sh", ".json")


def tracked():
    names = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [n for n in names.stdout.splitlines() if n.endswith(TEXT) and (ROOT / n).is_file() and n != "tests/architecture/test_citations.py"]


def headings(page):
    return set(re.findall(rf"^#+ ({NUMBER})\b", (ROOT / page).read_text(), flags=re.M))


def expanded(numbers):
    """"1 to 3, 8" -> 1 2 3 8; "1.3 to 1.6" -> 1.3 … 1.6."""
    found = re.findall(rf"{NUMBER}|to", numbers)
    for at, one in enumerate(found):
        if one != "to":
            yield one
            continue
        first, last = found[at - 1].split("."), found[at + 1].split(".")
        head = "".join(part + "." for part in first[:-1])
        assert first[:-1] == last[:-1] and int(first[-1]) < int(last[-1]), numbers
        yield from (head + str(n) for n in range(int(first[-1]) + 1, int(last[-1])))


def test_every_citation_has_its_section():
    known = {name: headings(page) for name, page in PAGES.items()}
    wrong, seen = [], 0
    for name in tracked():
        for match in CITATION.finditer((ROOT / name).read_text()):
            page, numbers = match.group(1), match.group(2)
            seen += 1
            wrong += [f"{name}: {page} {n}" for n in expanded(numbers) if n not in known.get(page, ())]
    assert seen > 100, "the citations themselves were not found"
    assert not wrong, "\n" + "\n".join(wrong)


def test_what_is_quoted_of_the_pages_stands_there():
    page, wrong = (ROOT / PAGES["RELIABILITY"]).read_text(), []
    for name in tracked():
        wrong += [f"{name}: {title}" for title in QUOTED.findall((ROOT / name).read_text()) if f"**{title}**" not in page]
    assert not wrong, wrong


def test_every_fault_that_a_test_cites_is_in_the_catalogue():
    catalogue = set(FAULT.findall((ROOT / PAGES["RELIABILITY"]).read_text().split("### 7.2", 1)[1]))
    wrong = []
    for name in tracked():
        if name.startswith("tests/") and not name.endswith(".json"):
            for line in (ROOT / name).read_text().splitlines():
                if line.lstrip().startswith(("//", '"""')) or "  // F" in line:
                    wrong += [f"{name}: F{n}" for n in FAULT.findall(line) if n not in catalogue]
    assert not wrong, wrong


def test_links_lead_somewhere():
    wrong = []
    for name in tracked():
        if not name.endswith(".md"):
            continue
        text = re.sub(r"```.*?```", "", (ROOT / name).read_text(), flags=re.S)
        for target in LINK.findall(text):
            if "://" in target or target.startswith(("#", "mailto:")):
                continue
            if not (ROOT / name).parent.joinpath(target.split("#")[0]).exists():
                wrong.append(f"{name}: {target}")
    assert not wrong, "\n" + "\n".join(wrong)


def test_every_promise_names_a_test_that_exists():
    tests = "\n".join((ROOT / n).read_text() for n in tracked() if n.startswith("tests/") and n.endswith(".cpp"))
    defined = {f"{suite}.{case}" for suite, case in re.findall(r"^TEST(?:_F|_P)?\((\w+),\s*(\w+)\)", tests, flags=re.M)}
    named, wrong = TEST_NAME.findall((ROOT / PAGES["RELIABILITY"]).read_text()), []
    assert len(named) > 40
    for one in named:
        if one.startswith("tests/"):
            path, _, function = one.partition("::")
            exists = (ROOT / path).is_file() and f"def {function}" in (ROOT / path).read_text()
        else:
            exists = one in defined
        if not exists:
            wrong.append(one)
    assert not wrong, wrong
