#!/usr/bin/env python3
"""clang-tidy with .clang-tidy over every C++ source of the product: prints the findings as they come, then how many; exit 0 means none.

    tests/architecture/clang_tidy.py [BUILD_FOLDER] [--jobs N] [--tests] [PART …]

BUILD_FOLDER (default build/release) is a configured one. A PART is a piece of a path (worker/losses, hub.cpp): only what has it is read.
--tests reads tests/ too. What the build compiles together (unity units) is read together, and torch's headers are precompiled once:
all of it takes half an hour on two cores, a room some minutes."""
import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOPS = ("common", "jobs", "coordinator", "worker")
FINDING = re.compile(r"^[^ ]+:\d+:\d+: (?:warning|error): .*|^(?:error|fatal error): .*", re.M)


def sources_of(path):
    """What a unit of the build compiles: itself, or the sources that a unity unit includes."""
    if "/Unity/" not in path.as_posix():
        return [path]
    return [pathlib.Path(os.path.normpath(p)) for p in re.findall(r'^#include "(.*\.cpp)"', path.read_text(), re.M)]


def product(path, tops):
    return path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[0] in tops


def real(finding):
    """False for what clang 14 finds in the comparison with 0 that it writes itself where operator<=> is defaulted."""
    if "modernize-use-nullptr" not in finding:
        return True
    path, line = finding.split(":")[:2]
    return "operator<=>" not in pathlib.Path(path).read_text().splitlines()[int(line) - 1]


def clang_command(command, headers):
    """g++'s command for clang: its precompiled header is another file."""
    words = [w for w in shlex.split(command) if w not in ("-Winvalid-pch", "-fpch-preprocess")]
    if headers and "-include" in words:
        at = words.index("-include")
        words[at:at + 2] = ["-include-pch", str(headers)]
    return words


def precompile(entries, out):
    """torch's headers as clang reads them (the build's are g++'s), or None where the build has none."""
    entry = next((e for e in entries if e["file"].endswith("cmake_pch.hxx.cxx")), None)
    if not entry:
        return None
    words = clang_command(entry["command"], None)
    words = words[1:words.index("-x")]
    header = entry["file"].removesuffix(".cxx")
    if out.exists() and out.stat().st_mtime > pathlib.Path(header).stat().st_mtime:
        return out
    subprocess.run([shutil.which("clang++-14") or "clang++", *words, "-w", "-x", "c++-header", header, "-o", str(out)], check=True, cwd=entry["directory"])
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", nargs="?", default="build/release")
    parser.add_argument("parts", nargs="*")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--tests", action="store_true")
    options = parser.parse_intermixed_args()
    tidy = shutil.which("clang-tidy-14") or shutil.which("clang-tidy")
    database = (ROOT / options.build / "compile_commands.json").resolve()
    if not tidy or not database.is_file():
        sys.exit("install clang-tidy-14 and clang-14, and configure first: cmake --preset release")
    tops = TOPS + (("tests",) if options.tests else ())
    entries = json.loads(database.read_text())
    units, sources = {}, set()
    for entry in entries:
        held = [s for s in sources_of(pathlib.Path(entry["file"])) if product(s, tops)]
        if held and (not options.parts or any(part in str(s) for s in held for part in options.parts)):
            units[entry["file"]] = entry
            sources.update(held)
    missing = [] if options.parts else [p for top in tops for p in sorted((ROOT / top).rglob("*.cpp")) if p not in sources and p.parts[-2] not in ("fuzz", "bench")]
    work = database.parent / "tidy"
    work.mkdir(exist_ok=True)
    headers = precompile(entries, work / "torch.pch") if any("cmake_pch" in e["command"] for e in units.values()) else None
    commands = [{"directory": e["directory"], "file": e["file"], "arguments": clang_command(e["command"], headers)} for e in units.values()]
    (work / "compile_commands.json").write_text(json.dumps(commands))

    def read(unit):
        done = subprocess.run([tidy, "-p", str(work), "--quiet", f"--config-file={ROOT / '.clang-tidy'}", "--extra-arg=-Wno-unknown-warning-option",
                               "--extra-arg=-Wno-unknown-attributes", unit],
                              capture_output=True, text=True)
        found = FINDING.findall(done.stdout + done.stderr)
        return [line for line in found if real(line)] if found or not done.returncode else [f"{unit}: error: clang-tidy ended with {done.returncode}"]

    seen = set()
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for number, (unit, found) in enumerate(zip(units, pool.map(read, units)), 1):
            for line in found:
                if line not in seen:  # a header's, once
                    print(line, flush=True)
                seen.add(line)
            print(f"{number}/{len(units)} {unit}", file=sys.stderr, flush=True)
    print(*(f"{p}: not in {database}" for p in missing), sep="\n", end="\n" if missing else "")
    print(f"clang-tidy: {len(seen)} findings in {len(sources)} sources ({len(units)} units)" + (f", {len(missing)} not read" if missing else ""))
    return 1 if seen or missing else 0


if __name__ == "__main__":
    sys.exit(main())
