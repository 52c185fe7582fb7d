#!/usr/bin/env python3
"""Prints the figures of the house: sizes, scatter and habits that test_figures.py holds to limits.

    tests/architecture/figures.py            the table
    tests/architecture/figures.py KIND …     files outside its own folder that name a stage kind
    tests/architecture/figures.py --list X   every place behind one figure (functions, sources, folders, files, strings, io, sleeps)
    tests/architecture/figures.py --rooms [COMMIT]   lines and comparisons with a string by room, and how many lines lie in files that the
                                             commit had not (default: the last one before the issues that add kinds, formats and services)

Read from the sources (--rooms: from git's history too); nothing is built. Product = common, jobs, coordinator, worker; generated files do not count."""
import collections
import pathlib
import re
import subprocess
import sys
import tarfile
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
PRODUCT = ("common", "jobs", "coordinator", "worker")
KINDS = ("synthesize", "inspect", "filter", "pair_counts", "vocabulary", "ngram_counts", "duplicates", "near_duplicates", "pair_scores",
         "export", "embed", "caption", "concept_vocabulary", "concepts", "train", "evaluate", "index")
LITERAL = re.compile(r'R"(\w*)\((?:.|\n)*?\)\1"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])\'|//[^\n]*|/\*(?:.|\n)*?\*/')
STRING_COMPARISON = re.compile(r'[=!]= *"|" *[=!]= ')
FILE_CALL = re.compile(r'\bstd::(?:filesystem::(?!path\b)\w+|[io]?fstream)\b|\bfs::(?!path\b)\w+\(|::(?:open|openat|rename|unlink|fsync|pread|pwrite|mkdir|flock)\(')
BEFORE_THE_OTHERS = "2556304"  # the house alone had been worked on
SLEEP = re.compile(r'\b(?:sleep_for|sleep_until|usleep|nanosleep)\(')


def product(suffixes=(".cpp", ".h", ".cu"), root=ROOT):
    for top in PRODUCT:
        yield from sorted(p for p in (root / top).rglob("*") if p.suffix in suffixes and "not edited by hand" not in p.read_text()[:200])


def name(path):
    return path.relative_to(ROOT).as_posix()


def bare(text):
    """The text with strings and comments blanked, every line kept."""
    return LITERAL.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text)


def opens(head):
    """What the brace after this text opens."""
    if re.search(r"\bnamespace\b[^;{}]*$", head):
        return "namespace"
    if re.search(r'^\s*extern\s*$', head):
        return "namespace"
    if re.match(r"\s*(template\s*<[^{]*>\s*)?(class|struct|union|enum)\b[^()=]*$", head):
        return "type"
    if re.search(r"\)\s*(?:noexcept\s*)?:(?!:)[^;?]*$", head):  # a constructor's list: a member's braces, or the body
        return "inside" if re.search(r"[\w>]\s*$", head) else "body"
    if head.rstrip().endswith((")", "const", "noexcept", "override", "mutable", "try")) or re.search(r"\)\s*(const\s*)?(noexcept\s*)?->\s*[\w:<>,&* ]+$", head):
        return "body"
    return "other"


def functions(path):
    """(lines from the head to the closing brace, first line, head) of every function that no other one holds."""
    text = bare(path.read_text())
    text = re.sub(r"^#[^\n]*(?:\\\n[^\n]*)*", lambda m: re.sub(r"[^\n]", " ", m.group()), text, flags=re.M)
    stack, start, found = [], 0, []
    for match in re.finditer(r"[{};]", text):
        at, mark = match.start(), match.group()
        outside = all(what in ("namespace", "type") for what, _ in stack)
        if mark == "{":
            head = text[start:at]
            what = opens(head) if outside else "inside"
            first = start + len(head) - len(head.lstrip())
            stack.append((what, (first, " ".join(head.split()))))
            if what in ("namespace", "type"):
                start = at + 1
        elif mark == "}":
            if not stack:
                continue
            what, (first, head) = stack.pop()
            if what == "body" and all(w in ("namespace", "type") for w, _ in stack):
                found.append((text.count("\n", first, at) + 1, text.count("\n", 0, first) + 1, head))
            if all(w in ("namespace", "type") for w, _ in stack) and what != "inside":
                start = at + 1
        elif outside:
            start = at + 1
    return found


def all_functions():
    return sorted(((lines, f"{name(p)}:{first}", head) for p in product((".cpp", ".h")) for lines, first, head in functions(p)), reverse=True)


def source_lines():
    return sorted(((len(p.read_text().splitlines()), name(p)) for p in product()), reverse=True)


def folder_sizes():
    counts = collections.Counter(name(p.parent) for p in product((".cpp", ".h", ".cu", ".py")))
    return sorted(((n, folder) for folder, n in counts.items()), reverse=True)


def naming(kind):
    """Product files outside worker/stages/KIND that name the kind (a one-word kind: as a string, or its settings), comments and includes apart."""
    pascal = "".join(part.capitalize() for part in kind.split("_"))
    word = re.compile(rf"(?<![A-Za-z0-9]){kind}(?![A-Za-z0-9])|{pascal}(?![a-z])" if "_" in kind else rf'"{kind}"|\b{pascal}(?:Settings|Stage)\b')
    found = []
    for path in [*product(), ROOT / "CMakeLists.txt"]:
        if name(path).startswith(f"worker/stages/{kind}/"):
            continue
        text = re.sub(r"^\s*#\s*include.*$|//[^\n]*", "", path.read_text(), flags=re.M)
        if word.search(text):
            found.append(name(path))
    return found


def matches(pattern, paths):
    return [f"{name(p)}:{number}" for p in paths for number, line in enumerate(p.read_text().splitlines(), 1) for _ in pattern.finditer(line)]


def string_comparisons():
    return matches(STRING_COMPARISON, product())


def file_calls():
    return [m for m in matches(FILE_CALL, product()) if not m.startswith("common/io/")]


def sleeps():
    return matches(SLEEP, sorted((ROOT / "tests").rglob("*.cpp")))


def room_of(path, rooms):
    return max((room for room in rooms if path.startswith(room + "/")), key=len, default=path.split("/")[0])


def rooms_since(commit):
    """(room, lines now, of them in files that the commit had not, lines then of the others, comparisons with a string) by room of layers.txt.
    A file that was moved since is no new one."""
    git = ["git", "-C", str(ROOT)]
    moved = subprocess.run([*git, "diff", "-M", "--diff-filter=R", "--name-status", commit, "--", *PRODUCT], capture_output=True, text=True, check=True).stdout
    moved = {now: then for _, then, now in (line.split("\t") for line in moved.splitlines())}
    with tempfile.TemporaryDirectory() as folder:
        tar = subprocess.run([*git, "archive", commit, *PRODUCT], capture_output=True, check=True).stdout
        with tempfile.TemporaryFile() as file:
            file.write(tar)
            file.seek(0)
            tarfile.open(fileobj=file).extractall(folder)
        then = {p.relative_to(folder).as_posix(): len(p.read_text().splitlines()) for p in product(root=pathlib.Path(folder))}
    rooms = re.findall(r"^([\w/]+):", (ROOT / "tests/architecture/layers.txt").read_text(), re.M)
    sums = collections.defaultdict(lambda: [0, 0, 0, 0])
    for lines, path in source_lines():
        row, old = sums[room_of(path, rooms)], moved.get(path, path)
        row[0] += lines
        row[1] += 0 if old in then else lines
        row[2] += then.get(old, 0)
    for place in string_comparisons():
        sums[room_of(place, rooms)][3] += 1
    return [(room, *row) for room, row in sorted(sums.items())], sum(then.values())


def print_rooms(commit=BEFORE_THE_OTHERS):
    rows, then = rooms_since(commit)
    print(f"{'room':24} {'lines':>7} {'in new files':>13} {'the others':>11} {'these then':>11} {'string ==':>10}")
    for room, now, new, before, strings in [*rows, ("all", *map(sum, list(zip(*rows))[1:]))]:
        print(f"{room:24} {now:7} {new:13} {now - new:11} {before:11} {strings:10}")
    print(f"product lines at {commit}: {then}")


def table():
    longest, sources, folders = all_functions(), source_lines(), folder_sizes()
    median = sorted(lines for lines, _, _ in longest)[len(longest) // 2]
    named = max(((len(naming(k)), k) for k in KINDS))
    yield "product lines (C++)", sum(lines for lines, _ in sources), ""
    yield "functions", len(longest), f"median {median} lines"
    yield "longest function, lines", longest[0][0], longest[0][1]
    yield "longest source, lines", sources[0][0], sources[0][1]
    yield "files in one folder, most", folders[0][0], folders[0][1]
    yield "files naming pair_scores outside its folder", len(naming("pair_scores")), ""
    yield "files naming a kind outside its folder, most", named[0], named[1]
    yield "comparisons with a string", len(string_comparisons()), ""
    yield "file-system calls outside common/io", len(file_calls()), f"{len({c.split(':')[0] for c in file_calls()})} files"
    yield "sleeps in C++ tests", len(sleeps()), ""


LISTS = {"functions": all_functions, "sources": source_lines, "folders": folder_sizes, "strings": string_comparisons, "io": file_calls,
         "sleeps": sleeps, "files": lambda: [k for k in KINDS for k in [f"{k}: {' '.join(naming(k))}"]]}


def main(arguments):
    if arguments[:1] == ["--rooms"]:
        print_rooms(*arguments[1:2])
    elif arguments[:1] == ["--list"]:
        for row in LISTS[arguments[1]]():
            print(*row) if isinstance(row, tuple) else print(row)
    elif arguments:
        for kind in arguments:
            print(kind, *naming(kind), sep="\n  ")
    else:
        for title, value, note in table():
            print(f"{title:46} {value:>7}  {note}")


if __name__ == "__main__":
    main(sys.argv[1:])
