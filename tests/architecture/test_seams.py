"""The outside world goes through its seams: files through common/io, JSON through its two readers, time through a clock."""
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMMENT = re.compile(r'//.*|R"\((?:.|\n)*?\)"')

FILES = re.compile(r"std::filesystem::(?!path\b)|\bfs::(?!path\b)|\b[io]?fstream\b|\bfopen\(|(?<![\w>.:])::(?:open|creat|pread|pwrite|mmap|"
                   r"rename|unlink|chmod|fchmod|remove|rmdir|stat|lstat|fsync|fdatasync|ftruncate|mkdir|access|link|symlink|opendir|posix_fallocate)\(")
# File: calls that stay, and why. The list only shrinks.
FILE_CALLS = {
    "common/base/log.cpp": 2,  # below common/io
    "coordinator/cli/launch/process.cpp": 1,  # between fork and exec nothing else may be called
}


def sources(*tops):
    for top in tops:
        for path in sorted((ROOT / top).rglob("*")):
            if path.suffix in (".h", ".cpp", ".cu"):
                yield path.relative_to(ROOT).as_posix(), COMMENT.sub("", path.read_text())


def only_as_listed(pattern, home, listed, instead):
    """Outside of its home the pattern stands as often as the list says: more is a fault, and fewer shrinks the list."""
    found = {}
    for path, text in sources("common", "jobs", "coordinator", "worker"):
        count = len(pattern.findall(text))
        if count and not path.startswith(home):
            found[path] = count
    more = {path: count for path, count in found.items() if count > listed.get(path, 0)}
    assert not more, f"{instead}: {more}"
    fewer = {path: count for path, count in listed.items() if found.get(path, 0) < count}
    assert not fewer, f"shrink the list: {fewer}"


def test_files_are_reached_through_common_io():
    only_as_listed(FILES, "common/io/", FILE_CALLS, "call common/io/file.h and folder.h instead")


def test_loops_are_spread_over_threads_of_our_own():
    found = [path for path, text in sources("common", "jobs", "coordinator", "worker")
             if re.search(r"\bat::parallel_(?:for|reduce)\(|#\s*pragma\s+omp\b", text)]
    assert not found, f"nothing here is compiled with OpenMP, so these run on one thread; worker/kernels/threads.h does not: {found}"


# A literal that opens an object, ends in a key, or goes on after a value: JSON put together from pieces.
JSON_PIECE = re.compile(r'"\{\\"\w|\\":(?:\[+|\{)?"|"\]?,\\"\w|"\}\\n"|R"\([^)]*":\)"')
# Writers whose bytes are addressed by the store, and whose numbers (shortest digits, no ".0") or layout no
# library writes. The list only shrinks.
JSON_PIECES = {
    "jobs/specification/stages/concept_vocabulary.cpp": 1,
    "worker/stages/filter/facts.cpp": 18,
    "worker/data/tallies/near_clusters.cpp": 1,
}


def test_json_is_written_by_a_library():
    only_as_listed(JSON_PIECE, "jobs/specification/json/", JSON_PIECES, "build a nlohmann::json and dump it")


def test_no_test_sleeps():
    found = [path for path, text in sources("tests") if re.search(r"\bsleep_for\b|\bsleep_until\b|\bu?sleep\(\d|\bnanosleep\(", text)]
    assert not found, f"wait for what is awaited (tests/support/eventually.h, a latch, a manual clock): {found}"


STATE = re.compile(r"^(?!(?: |(?:(?:static|thread_local|inline) )*(?:using|namespace|template|class|struct|enum|extern|return|typedef|friend|concept|"
                   r"constexpr|(?:constinit )?const\b|static_assert|public|private|protected)\b))[\w:<>,*& ]+?[ &*](\w+)(?: = [^;()]*|\{[^;]*\})?;$")
# What is process-wide by its nature: a signal handler's counter, torch's number of threads. The list only shrinks.
STATEFUL = {
    "coordinator/cli/launch/supervisor.cpp": ["stops"],
    "worker/kernels/threads.cpp": ["set_threads_mutex"],
}


def test_nothing_at_file_scope_changes():
    found = {}
    for path, text in sources("common", "jobs", "coordinator", "worker"):
        for line in text.splitlines():
            match = STATE.match(line.rstrip())
            if match:
                found.setdefault(path, []).append(match.group(1))
    assert found == STATEFUL


def test_one_place_of_the_worker_asks_which_objective_it_is():
    found = [path for path, text in sources("worker") if re.search(r"\bobjective\b *[=!]=|\.objective\b", text)]
    assert found == ["worker/stages/train/objectives/make_objective.cpp"], found
