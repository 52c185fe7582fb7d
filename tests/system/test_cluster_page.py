"""docs/cluster.md followed word by word, from an empty folder: three hosts with sshd, and a Slurm. Only the counts are smaller (a:8 becomes a:1).

Takes two minutes and proves the page rather than the product: runs with TRIREME_PAGE=1.
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from conftest import BIN, EXAMPLES, ROOT, weights

sys.path.insert(0, str(ROOT / "tests/support"))
import hosts as hosts_module  # noqa: E402
import slurm as slurm_module  # noqa: E402

pytestmark = pytest.mark.skipif(os.environ.get("TRIREME_PAGE") != "1", reason="TRIREME_PAGE=1 follows docs/cluster.md word by word")
PAGE = (ROOT / "docs/cluster.md").read_text()


def commands(section):
    (text,) = re.findall(rf"^## {section}$(.*?)^## ", PAGE, re.S | re.M)
    lines = [line.split("  #")[0].strip() for block in re.findall(r"```\n(.*?)```", text, re.S) for line in block.splitlines() if line.strip()]
    return [re.sub(r"\b([ab]):8\b", r"\1:1", line) for line in lines]


class Shells:
    """Hosts a, b and c, each with an sshd that lets root in by a key."""

    def __init__(self, hosts, folder):
        self.hosts, self.folder, self.started = hosts, folder, []
        keys = folder / "keys"
        keys.mkdir()
        for name in ("id_ed25519", "host"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", keys / name], check=True)
        shutil.copy(keys / "id_ed25519.pub", keys / "authorized_keys")
        (keys / "config").write_text("Host *\n  StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n  LogLevel ERROR\n")
        (folder / "hosts").write_text("127.0.0.1 localhost\n" + "".join(f"{address} {name}\n" for address, name in zip(hosts.addresses, "abc")))
        (folder / "sshd_config").write_text(f"Port 22\nHostKey {keys}/host\nPidFile none\nStrictModes no\nPermitRootLogin yes\nUsePAM no\n")
        for part in (keys, *keys.iterdir()):
            part.chmod(0o700 if part.is_dir() else 0o600)
        pathlib.Path("/run/sshd").mkdir(exist_ok=True)
        for host in range(len(hosts.names)):
            self.start(host, "exec /usr/sbin/sshd -D -e -f " + str(folder / "sshd_config"), stdout=subprocess.DEVNULL)

    def words(self, host, line):
        script = (f"mount --make-rprivate /; hostname {'abc'[host]}; mount --bind {self.folder}/hosts /etc/hosts; mkdir -p /root/.ssh; mount --bind {self.folder}/keys /root/.ssh; "
                  f"cd {self.folder}/empty; {line}")
        return ["nsenter", f"--net=/run/netns/{self.hosts.names[host]}", "unshare", "-m", "-u", "sh", "-c", script]

    def start(self, host, line, **options):
        # Nothing of this process's own: a user who has just logged in.
        env = {"PATH": f"{BIN}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
        process = subprocess.Popen(self.words(host, line), env=env, stderr=subprocess.STDOUT, text=True, start_new_session=True, **options)
        self.started.append(process)
        return process

    def close(self):
        for process in self.started:
            if process.poll() is None:
                os.killpg(process.pid, 9)
                process.wait()


@pytest.mark.parametrize("section", ["Hosts that you name", "Metrics"])
def test_over_three_hosts(section, tiny_run, tmp_path):
    if why := hosts_module.missing():
        pytest.skip(why)
    (tmp_path / "empty").mkdir()
    shutil.copy(EXAMPLES / "tiny.json", tmp_path / "empty/job.json")
    lines = commands(section)
    assert len(lines) >= 2
    with hosts_module.Hosts(3) as hosts:
        shells = Shells(hosts, tmp_path)
        try:
            for line in lines:
                done = shells.start(0, line, stdout=subprocess.PIPE)
                text, _ = done.communicate(timeout=600)
                assert done.returncode == 0, f"{line}\n{text[-3000:]}"
                print(f"$ {line}\n{text[-1500:]}")
        finally:
            shells.close()
    assert (tmp_path / "empty/runs/tiny/final/model.safetensors").read_bytes() == weights(tiny_run)


def test_under_slurm(tiny_run, tmp_path):
    if why := slurm_module.missing():
        pytest.skip(why)
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "docker").symlink_to(ROOT / "docker")
    shutil.copy(EXAMPLES / "tiny.json", empty / "job.json")
    sweep = {"apiVersion": "trireme/v1", "kind": "Sweep", "name": "page", "output": "runs/page", "base": "job.json", "seeds": [1, 2], "arms": {"short": {"spec.stages.train.epochs": 1}},
             "main_metric": "evaluate.mean_recall@1"}
    (empty / "sweep.json").write_text(json.dumps(sweep))
    os.environ["PATH"] = f"{BIN}:{os.environ['PATH']}"
    with hosts_module.Hosts(2) as hosts, slurm_module.Slurm(hosts, tmp_path / "slurm") as slurm:
        for line in commands("Slurm"):
            words = line.replace("RUN_FOLDER", "runs/service").split()
            assert words[0] == "sbatch", line
            before = set((empty / "runs").glob("*/endpoint.json"))
            job = slurm.sbatch(words[1], *words[2:], cwd=empty)
            if "service" in words[1]:
                slurm.wait_for(lambda: set((empty / "runs").glob("service/endpoint.json")) - before, 60, f"the service: {slurm.output(job)[-2000:]}")
                slurm.call("scancel", job)
                slurm.wait_for(lambda: slurm.state(job)[0] == "CANCELLED", 60, f"the end: {slurm.output(job)[-2000:]}")
                continue
            slurm.wait_for(lambda: slurm.state(job)[0] not in ("PENDING", "RUNNING", "COMPLETING", "CONFIGURING"), 180, f"the end of '{line}': {slurm.output(job)[-2000:]}")
            assert slurm.state(job)[0] == "COMPLETED", f"{line}\n{slurm.output(job)[-3000:]}"
            print(f"$ {line}\n{slurm.output(job)[-1500:]}")
            if "job.json" in line:
                assert (empty / "runs/tiny/final/model.safetensors").read_bytes() == weights(tiny_run)
                shutil.rmtree(empty / "runs/tiny")
