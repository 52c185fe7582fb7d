"""The outside world goes through its seams: files through common/io, JSON through its two readers, time through a clock."""
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMMENT = re.compile(r'//.*|R"\((?:.|\n)*?\)"')

FILES = re.compile(r"std::filesystem::(?!path\b)|\bfs::(?!path\b)|\b[io]?fstream\b|\bfopen\(|(?<![\w>.:])::(?:open|creat|pread|pwrite|mmap|"
                   r"rename|unlink|remove|rmdir|stat|lstat|fsync|fdatasync|ftruncate|mkdir|access|link|symlink|opendir|posix_fallocate)\(")
# File: calls that stay, and why. The list only shrinks.
FILE_CALLS = {
    "coordinator/planner/listing.cpp": 26,  # on its way to common/io
    "common/base/log.cpp": 2,  # below common/io
    "coordinator/cli/launch/process.cpp": 1,  # between fork and exec nothing else may be called
}


def sources(*tops):
    for top in tops:
        for path in sorted((ROOT / top).rglob("*")):
            if path.suffix in (".h", ".cpp", ".cu"):
                yield path.relative_to(ROOT).as_posix(), COMMENT.sub("", path.read_text())


def test_files_are_reached_through_common_io():
    found = {}
    for path, text in sources("common", "jobs", "coordinator", "worker"):
        calls = len(FILES.findall(text))
        if calls and not path.startswith("common/io/"):
            found[path] = calls
    more = {path: count for path, count in found.items() if count > FILE_CALLS.get(path, 0)}
    assert not more, f"call common/io/file.h and folder.h instead: {more}"
    fewer = {path: count for path, count in FILE_CALLS.items() if found.get(path, 0) < count}
    assert not fewer, f"shrink FILE_CALLS: {fewer}"
