"""cmake --install: a tree that can be moved, and runs where neither the checkout nor .trireme exists."""
import os
import pty
import re
import select
import shutil
import subprocess
import time

import pytest

from conftest import BIN, ROOT, weights

BUILD = BIN.parent
PROGRAMS = ("trireme", "trireme-coordinator", "trireme-worker")


def install(prefix):
    return subprocess.run(["cmake", "--install", BUILD, "--prefix", prefix], capture_output=True, text=True)


@pytest.fixture(scope="module")
def moved(tmp_path_factory):
    """Installed at one place, then moved to another."""
    folder = tmp_path_factory.mktemp("install")
    done = install(folder / "first")
    assert done.returncode == 0, done.stderr
    (folder / "first").rename(folder / "second")
    yield folder / "second"
    shutil.rmtree(folder / "second")


def hidden(prefix, *command, cwd):
    """Runs a command with the installed programs alone; as root where the checkout is hidden by an empty file system."""
    words = [str(prefix / "bin" / command[0]), *map(str, command[1:])]
    if os.geteuid() == 0:
        words = ["unshare", "-m", "bash", "-c", 'mount -t tmpfs none "$0" && exec "$@"', str(ROOT), *words]
    env = {"PATH": f"{prefix / 'bin'}:/usr/local/bin:/usr/bin:/bin", "HOME": str(cwd), "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    return subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, timeout=120)


def test_the_tiny_job_has_the_same_bits_from_the_moved_tree(moved, tmp_path, tiny_run):
    done = hidden(moved, "trireme", "launch", "-n", "2", moved / "share/trireme/examples/tiny.json", "--set", f"spec.output={tmp_path}/run", cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert (tmp_path / "run/final/model.safetensors").read_bytes() == weights(tiny_run)


def test_doctor_and_published_weights(moved, tmp_path):
    told = hidden(moved, "trireme", "doctor", cwd=tmp_path)
    assert told.returncode == 0 and f"{moved}/share/trireme/weights" in told.stdout, told.stdout + told.stderr
    plan = ("plan", moved / "share/trireme/examples/voyage.json", "--set", f"spec.output={tmp_path}/run")
    assert hidden(moved, "trireme", *plan, cwd=tmp_path).returncode == 0
    aside = moved / "share/trireme/aside"
    (moved / "share/trireme/weights").rename(aside)
    try:
        without = hidden(moved, "trireme", *plan, cwd=tmp_path)
    finally:
        aside.rename(moved / "share/trireme/weights")
    said = without.stdout + without.stderr
    assert without.returncode != 0 and "efficientnet-lite0" in said and "not installed" in said and "TRIREME_WEIGHTS" in said, said


def test_nothing_installed_names_a_folder_of_the_build(moved):
    ours = [moved / "bin" / name for name in PROGRAMS] + list((moved / "lib/trireme").glob("libtrireme_cuda.so"))
    for path in ours:
        data = path.read_bytes()
        for folder in (str(ROOT), str(BUILD)):
            assert folder.encode() + b"/" not in data, f"{path.name} names {folder}"
    dynamic = subprocess.run(["readelf", "-d", moved / "bin/trireme-worker"], capture_output=True, text=True, check=True).stdout
    assert re.findall(r"R(?:UN)?PATH.*\[(.*)\]", dynamic) == ["$ORIGIN/../lib/trireme"]


def test_what_is_installed(moved):
    share = moved / "share"
    for name in ("trireme/schema/job.schema.json", "trireme/examples/voyage.json", "trireme/monitoring/grafana/dashboards/training.json",
                 "trireme/docs/glossary.md", "man/man1/trireme.1", "bash-completion/completions/trireme", "zsh/site-functions/_trireme"):
        assert (share / name).is_file(), name
    assert sorted(p.name for p in (share / "trireme/weights").iterdir()) == sorted(p.name for p in (ROOT / ".trireme/weights").iterdir())


def test_every_program_has_the_version_of_the_project(moved, tmp_path):
    version = re.search(r"project\(trireme VERSION ([\d.]+)", (ROOT / "CMakeLists.txt").read_text()).group(1)
    for name in PROGRAMS:
        assert version in hidden(moved, name, "--version", cwd=tmp_path).stdout, name


def test_completion_and_man_page_know_every_command(moved, tmp_path):
    told = hidden(moved, "trireme", "--help", cwd=tmp_path).stdout.split("Subcommands:", 1)[1]
    commands = set(re.findall(r"^  ([a-z]+) ", told, re.M))
    assert {"launch", "plan", "search", "export"} <= commands
    page = (moved / "share/man/man1/trireme.1").read_text()
    assert commands <= set(re.findall(r"[a-z]+", page))

    def completed(*words):
        script = f'source {moved}/share/bash-completion/completions/trireme; COMP_WORDS=({" ".join(words)!s} ""); COMP_CWORD={len(words)}; [[ $1 ]] && COMP_WORDS[COMP_CWORD]=$1; _trireme; printf "%s\\n" "${{COMPREPLY[@]}}"'
        return lambda typed="": set(subprocess.run(["bash", "-c", script, "bash", typed], env={"PATH": f"{moved / 'bin'}:/usr/bin:/bin"}, capture_output=True, text=True).stdout.split())

    assert completed("trireme")() == commands
    assert completed("trireme")("la") == {"launch"}
    assert "--set" in completed("trireme", "plan")("--")


def zsh_makes(share, line, told):
    """The line after TAB in an interactive zsh on a terminal of its own, which writes it to the file `told`."""
    process, terminal = pty.fork()
    if process == 0:
        os.execve("/usr/bin/zsh", ["zsh", "-f", "-i"], {"PATH": f"{share.parent / 'bin'}:/usr/bin:/bin", "TERM": "dumb", "HOME": str(told.parent)})
    setup = (f"fpath=({share}/zsh/site-functions $fpath); autoload -U compinit; compinit -D -u; tell() {{ print -r -- $BUFFER > {told}.part; mv {told}.part {told} }}; "
             "zle -N tell; bindkey '^G' tell; print rea''dy\r")
    os.write(terminal, setup.encode())
    seen, end = b"", time.monotonic() + 60
    try:
        while not told.exists() and time.monotonic() < end:
            if select.select([terminal], [], [], 0.1)[0]:
                seen += os.read(terminal, 4096)
            if b"ready" in seen and line:
                os.write(terminal, f"{line}\t\x07".encode())
                line = ""
    finally:
        os.close(terminal)
        os.waitpid(process, 0)
    assert told.exists(), seen
    return told.read_text().rstrip("\n")


def test_zsh_completes_commands_and_options(moved, tmp_path):
    for number, (typed, made) in enumerate([("trireme la", "trireme launch "), ("trireme checkpoints --rem", "trireme checkpoints --remove "), ("trireme nosu", "trireme nosu")]):
        assert zsh_makes(moved / "share", typed, tmp_path / str(number)) == made


def test_a_prefix_that_cannot_be_written_is_named():
    done = install("/dev/null/trireme")
    assert done.returncode != 0 and "/dev/null/trireme" in done.stderr, done.stderr
