"""The sizes that the house keeps (CONTRIBUTING.md), by the command that prints them."""
import subprocess
import sys

import figures


def test_no_function_is_longer_than_sixty_lines():
    assert not [(lines, where) for lines, where, _ in figures.all_functions() if lines > 60]


def test_no_source_is_longer_than_four_hundred_lines():
    assert not [(lines, where) for lines, where in figures.source_lines() if lines > 400]


def test_no_folder_holds_more_than_twenty_sources():
    assert not [(count, folder) for count, folder in figures.folder_sizes() if count > 20]


def test_a_kind_is_known_in_few_places():
    assert len(figures.naming("pair_scores")) <= 6, figures.naming("pair_scores")


def test_the_measure_finds_functions(tmp_path):
    source = tmp_path / "a.cpp"
    source.write_text("namespace a {\nstruct S {\n  S() : x_{1} {\n    go();\n  }\n  int f() const { return 1; }\n};\n"
                      "int g(int a,\n      int b) {\n  if (a) {\n    return \"}\"[0];\n  }\n  return 0;  // }\n}\n}\n")
    assert [(lines, first) for lines, first, _ in figures.functions(source)] == [(3, 3), (1, 6), (7, 8)]


def test_the_table_is_printed():
    done = subprocess.run([sys.executable, figures.__file__], capture_output=True, text=True, check=True)
    for title in ("product lines", "longest function", "longest source", "files in one folder", "pair_scores", "string", "file-system calls", "sleeps"):
        assert title in done.stdout
