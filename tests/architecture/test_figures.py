"""The sizes that the house keeps (CONTRIBUTING.md), by the command that prints them. What is over a limit is listed; the lists only shrink."""
import subprocess
import sys

import figures

LONG_FUNCTIONS = {"jobs/specification/model_spec.h": 2, "jobs/checkpoint/transformers_config.cpp": 1, "jobs/checkpoint/preprocessor_config.cpp": 1,
                  "coordinator/cli/commands.cpp": 1}
LONG_SOURCES = {"jobs/specification/model_spec.h", "coordinator/cli/commands.cpp", "coordinator/service/job_run.cpp"}
FULL_FOLDERS = {"worker/data/images", "common/base"}


def test_no_function_is_longer_than_sixty_lines():
    found = {}
    for lines, where, _ in figures.all_functions():
        if lines > 60:
            path = where.split(":")[0]
            found[path] = found.get(path, 0) + 1
    assert all(count <= LONG_FUNCTIONS.get(path, 0) for path, count in found.items()), found


def test_no_source_is_longer_than_four_hundred_lines():
    assert {where for lines, where in figures.source_lines() if lines > 400} <= LONG_SOURCES


def test_no_folder_holds_more_than_twenty_sources():
    assert {folder for count, folder in figures.folder_sizes() if count > 20} <= FULL_FOLDERS


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
