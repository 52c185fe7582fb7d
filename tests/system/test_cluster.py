"""Several hosts (network namespaces, each with its own name and loopback) under `trireme launch --hosts`."""
import json
import os
import pathlib
import re
import subprocess
import sys
import time
import urllib.parse

import pytest

from conftest import BIN, EXAMPLES, ROOT, environment, need_program, weights

sys.path.insert(0, str(ROOT / "tests/support"))
import hosts as hosts_module  # noqa: E402

MONITORING = ROOT / "monitoring"


@pytest.fixture(scope="module")
def three():
    if why := hosts_module.missing():
        pytest.skip(why)
    with hosts_module.Hosts(3) as hosts:
        yield hosts


def launch(hosts, spec, output, *more, job=EXAMPLES / "tiny.json", agent=None):
    words = [BIN / "trireme", "launch", job, "--set", f"spec.output={output}", "--hosts", spec, "--rsh-agent", agent or hosts.agent, "--network", hosts.network, *more]
    return subprocess.Popen(hosts.command(0, words), cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)


def finish(process, timeout=120):
    try:
        text, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        raise AssertionError(process.communicate()[0][-4000:])
    return process.returncode, text


@pytest.mark.parametrize("spec", ["{0}:1,{1}:1", "{0}:2,{1}:1,{2}:1"])
def test_the_same_bits_on_several_hosts(three, tiny_run, tmp_path, spec):
    output = tmp_path / "run"
    code, text = finish(launch(three, spec.format(*three.addresses), output))
    assert code == 0, text
    used = spec.count("{")
    assert f"workers on {used} hosts" in text and f"rank 1 on {three.addresses[0]}" in text
    logs = (output / "logs/rank-0.log").read_text()
    for name in three.names[:used]:
        assert f"on {name}:" in logs
    assert (output / "final/model.safetensors").read_bytes() == weights(tiny_run)


def test_the_start_on_three_hosts_costs_little(three, tmp_path):
    """To the first task granted: at most 2 s more than on one host."""

    def seconds(spec, name):
        began = time.monotonic()
        process = launch(three, spec, tmp_path / name)
        log = tmp_path / name / "logs/rank-1.log"
        while not (log.exists() and "synthesize" in log.read_text()) and not any((tmp_path / name).glob("store/synthesize/*")):
            assert time.monotonic() - began < 30 and process.poll() is None, finish(process)[1]
            time.sleep(0.02)
        took = time.monotonic() - began
        os.killpg(process.pid, 15)
        finish(process)
        return took

    one = min(seconds(f"{three.addresses[0]}:3", f"one{i}") for i in range(2))
    several = min(seconds(",".join(f"{a}:1" for a in three.addresses), f"three{i}") for i in range(2))
    assert several < one + 2, (one, several)


def test_dry_run_prints_the_line_and_starts_nothing(three, tmp_path):
    code, text = finish(launch(three, ",".join(f"{a}:2" for a in three.addresses[:2]), tmp_path / "run", "--dry-run"))
    assert code == 0, text
    line = text.strip().splitlines()[-1]
    assert line.startswith("mpirun ") and line.count(" : ") == 2 and f"--host {three.addresses[1]}:2" in line
    assert not (tmp_path / "run/ledger").exists()


@pytest.mark.parametrize("variable", ["PBS_NODEFILE", "LSB_DJOB_HOSTFILE", "OMPI_MCA_orte_default_hostfile"])
def test_the_hosts_of_a_batch_system_are_found(three, tmp_path, variable):
    """Slurm's in test_slurm.py, the mpi-operator's with a whole job in test_kubernetes.py."""
    first, second, _ = three.addresses
    (tmp_path / "hosts").write_text(f"{first} slots=2\n{second} slots=1\n" if variable.startswith("OMPI") else f"{first}\n{first}\n{second}\n")
    words = [BIN / "trireme", "launch", EXAMPLES / "tiny.json", "--set", f"spec.output={tmp_path}/run", "--rsh-agent", three.agent, "--dry-run"]
    done = three.run(0, words, cwd=ROOT, env=environment(**{variable: tmp_path / "hosts"}), timeout=120)
    assert done.returncode == 0 and f"rank 3 on {second}," in done.stdout and f"--host {first}:2" in done.stdout and f"--host {second}:1" in done.stdout, done.stdout + done.stderr


def troubled(three, tmp_path, host, before):
    """An agent that has `before` run in a mount namespace of that host."""
    agent = tmp_path / "agent"
    agent.write_text(f"""#!/bin/sh
if [ "$1" = {three.addresses[host]} ]; then
  shift
  exec nsenter --net=/run/netns/{three.names[host]} unshare -m -u sh -c "hostname {three.names[host]}; {before}
cd {ROOT}; $*"
fi
exec {three.agent} "$@"
""")
    agent.chmod(0o755)
    return agent


@pytest.mark.parametrize("before, says", [
    ("mount -t tmpfs none {bin}", "has no"),
    ("mount -t tmpfs none {run}", "does not see the run folder"),
    ("mount -t tmpfs -o ro none /var/tmp; export TMPDIR=/var/tmp", "cannot write to /var/tmp"),
    ("mount -t tmpfs -o size=4k none /var/tmp; export TMPDIR=/var/tmp", "cannot write to /var/tmp"),
    ("mount --bind {run} {run}; mount -o remount,bind,ro {run}", "cannot write to the run folder"),
    ("mount -t tmpfs none {data}", "does not have {data}/0.tar, which this host has"),
    ("mount --bind {bin} /mnt; mount -t tmpfs none {bin}; cp /mnt/trireme {bin}; umount /mnt", "does not have {bin}/trireme-worker, which this host has"),
])
def test_a_host_that_cannot_take_part_is_named(three, tmp_path, before, says):
    run, data = tmp_path / "run", tmp_path / "data"
    run.mkdir()
    data.mkdir()
    (data / "0.tar").write_bytes(bytes(1024))
    places = {"bin": BIN, "run": run, "data": data}
    more = ["--set", f'spec.data.more={{"path": "{data}/0.tar"}}'] if "{data}" in before else []
    agent = troubled(three, tmp_path, 1, before.format(**places))
    code, text = finish(launch(three, ",".join(f"{a}:1" for a in three.addresses), run, *more, agent=agent))
    assert code == 69, text
    lines = [line for line in text.splitlines() if line.startswith("host ")]
    assert len(lines) == 1 and lines[0].startswith(f"host {three.addresses[1]} ") and says.format(**places) in lines[0], text
    assert not (run / "ledger").exists()


# A GPU on NUMA node 0, as the driver and the kernel show one.
GPU = ("mount -t tmpfs none /proc/driver; mkdir -p /proc/driver/nvidia/gpus/0000:01:00.0; mount -t tmpfs none /sys/bus/pci/devices; mkdir /sys/bus/pci/devices/0000:01:00.0; "
       "echo 0 >/sys/bus/pci/devices/0000:01:00.0/numa_node")


def test_more_slots_than_gpus_are_refused_and_the_gpu_and_its_node_are_told(three, tmp_path):
    run = tmp_path / "run"
    agent = troubled(three, tmp_path, 1, GPU)
    # Without a number a host takes a worker per GPU, whatever its cores are.
    code, text = finish(launch(three, ",".join(three.addresses[:2]), run, "--dry-run", agent=agent))
    assert code == 0 and text.count(f" on {three.addresses[1]}, GPU 0, NUMA node 0") == 1 and text.count(f" on {three.addresses[1]}") == 1, text
    assert re.search(rf"rank 1 on {three.addresses[0]}, 1 of \d+ shares of \d+ cores", text), text
    (tmp_path / "hosts").write_text(f"# ours\n{three.addresses[0]} slots=1\n{three.addresses[1]} slots=2\n")
    words = [BIN / "trireme", "launch", EXAMPLES / "tiny.json", "--set", f"spec.output={run}", "--hostfile", tmp_path / "hosts", "--rsh-agent", agent, "--network", three.network, "--dry-run"]
    refused = three.run(0, words, cwd=ROOT, env=environment(), timeout=120)
    assert refused.returncode == 69 and f"host {three.addresses[1]} is to take 2 workers but has 1 GPU" in refused.stdout, refused.stdout + refused.stderr
    shared = three.run(0, [*words, "--share-gpus"], cwd=ROOT, env=environment(), timeout=120)
    assert shared.returncode == 0 and f"rank 3 on {three.addresses[1]}, GPU 0, NUMA node 0" in shared.stdout, shared.stdout + shared.stderr


def test_a_run_folder_that_is_seen_late_is_waited_for(three, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    agent = troubled(three, tmp_path, 1, f"mount -t tmpfs none {run}; (sleep 0.7; umount {run}) >/dev/null 2>&1 </dev/null &")
    began = time.monotonic()
    code, text = finish(launch(three, ",".join(f"{a}:1" for a in three.addresses), run, "--dry-run", agent=agent))
    assert code == 0 and time.monotonic() - began > 0.7, text


def test_two_versions_are_refused(three, tmp_path):
    agent = tmp_path / "agent"
    agent.write_text(f"""#!/bin/sh
[ "$1" = {three.addresses[2]} ] || exec {three.agent} "$@"
{three.agent} "$@" | sed 's/"version":"[^"]*"/"version":"0.0.9"/'
""")
    agent.chmod(0o755)
    code, text = finish(launch(three, ",".join(f"{a}:1" for a in three.addresses), tmp_path / "run", agent=agent))
    assert code == 69 and f"host {three.addresses[2]} has trireme 0.0.9" in text, text


def test_a_clock_that_is_an_hour_off_is_a_note_and_costs_nothing(three, tiny_run, tmp_path):
    library = next(iter(pathlib.Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), None)
    if library is None:
        pytest.skip("faketime is not installed")
    run = tmp_path / "run"
    agent = troubled(three, tmp_path, 1, f"export LD_PRELOAD={library} FAKETIME=-1h FAKETIME_DONT_FAKE_MONOTONIC=1 FAKETIME_DONT_RESET=1")
    code, text = finish(launch(three, ",".join(f"{a}:1" for a in three.addresses[:2]), run, agent=agent))
    assert code == 0 and re.search(rf"host {three.addresses[1]}: its clock is (3599|3600|3601) s behind", text), text
    assert (run / "final/model.safetensors").read_bytes() == weights(tiny_run)
    hours = [{line[:13] for line in (run / f"logs/rank-{rank}.log").read_text().splitlines() if line[:2] == "20"} for rank in (1, 2)]
    assert hours[0] != hours[1] and all(hours), hours  # they did live in different hours


def test_an_unknown_host_is_named_and_doctor_asks_the_same(three, tmp_path):
    spec = f"{three.addresses[0]}:1,10.77.0.99:1,10.77.0.98:1"
    code, text = finish(launch(three, spec, tmp_path / "run"))
    assert code == 69 and all(text.count(f"host 10.77.0.{last} cannot be reached (no host 10.77.0.{last})") == 1 for last in (98, 99)) and "2 of 3 hosts" in text, text
    assert not (tmp_path / "run/ledger").exists()
    done = three.run(0, [BIN / "trireme", "doctor", "--hosts", spec, "--rsh-agent", three.agent, "-o", "json"], cwd=tmp_path, env=environment(), timeout=120)
    found = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert found["host 10.77.0.99"]["state"] == "missing" and found[f"host {three.addresses[0]}"]["state"] == "ok"


@pytest.mark.parametrize("variables", [{"SLURM_NTASKS": 4, "SLURM_PROCID": 1}, {"PMI_SIZE": 2, "PMI_RANK": 1}, {"OMPI_COMM_WORLD_SIZE": 2}])
@pytest.mark.parametrize("program", ["trireme-worker", "trireme-coordinator"])
def test_one_of_several_whose_mpi_is_alone_is_refused(program, variables, tmp_path):
    done = subprocess.run([BIN / program], cwd=tmp_path, env=environment(**variables), capture_output=True, text=True, timeout=30)
    assert done.returncode == 2 and "MPI would start it alone" in done.stderr and "srun --mpi=pmix" in done.stderr, done.stderr


def test_prometheus_on_another_host_scrapes_all_of_them_with_a_token(three, tmp_path):
    """As prometheus.yml says it: by http_sd, and by file_sd where the run folder is all that both hosts share."""
    prometheus = need_program("prometheus")
    run, secret = tmp_path / "run", tmp_path / "token"
    secret.write_text("0123456789abcdef0123456789abcdef\n")
    secret.chmod(0o644)
    first, second, third = three.addresses
    words = ["--set", "spec.stages.train.epochs=4000", "--metrics-listen", "0.0.0.0:9500", "--advertise", three.network, "--listen", f"{first}:9400", "--metrics-token", secret]
    hosts = f"{first}:1,{second}:1"
    code, text = finish(launch(three, hosts, run, *words))
    assert code == 2 and "may be read by everybody" in text, text
    secret.chmod(0o640)
    process = launch(three, hosts, run, *words)
    shipped = (MONITORING / "prometheus/prometheus.yml").read_text()
    http_sd = '    http_sd_configs:\n      - url: http://127.0.0.1:9400/api/v1/sd\n        refresh_interval: 10s\n'
    file_sd = "# file_sd_configs"
    assert http_sd in shipped and file_sd in shipped
    servers = []
    for port, config in {9090: shipped.replace("127.0.0.1:9400", f"{first}:9400"), 9091: shipped.replace(http_sd, "").replace(file_sd, "file_sd_configs")}.items():
        for old, here in {"scrape_interval: 5s": "scrape_interval: 1s", "refresh_interval: 10s": "refresh_interval: 1s", "# authorization": "authorization", "credentials_file: FILE": f"credentials_file: {secret}",
                          "/shared/runs/RUN/targets.json": f"{run}/targets.json"}.items():
            assert old in config
            config = config.replace(old, here)
        (tmp_path / f"{port}.yml").write_text(config)
        (tmp_path / "alerts.yml").write_text((MONITORING / "prometheus/alerts.yml").read_text())
        servers.append(subprocess.Popen(three.command(2, [prometheus, f"--config.file={tmp_path}/{port}.yml", f"--storage.tsdb.path={tmp_path}/tsdb-{port}", f"--web.listen-address={third}:{port}"]),
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True))

    def on_the_third(url):
        script = f"import urllib.error, urllib.request\ntry: print(urllib.request.urlopen('{url}', timeout=5).read().decode())\nexcept urllib.error.HTTPError as e: print(e.code, e.headers['WWW-Authenticate'])"
        answer = three.run(2, ["python3", "-c", script])
        return answer.stdout if answer.returncode == 0 else ""

    def up(port):
        answer = on_the_third(f"http://{third}:{port}/api/v1/query?query={urllib.parse.quote('up == 1')}")
        return {tuple(result["metric"].get(name, "") for name in ("instance", "job", "host")) for result in json.loads(answer or '{"data": {"result": []}}')["data"]["result"]}
    try:
        wanted = {(f"{first}:9500", "trireme-coordinator", ""), (f"{first}:9501", "trireme-worker", three.names[0]), (f"{second}:9501", "trireme-worker", three.names[1])}
        seen, end = {}, time.monotonic() + 120
        while seen != {9090: wanted, 9091: wanted} and time.monotonic() < end and process.poll() is None:
            time.sleep(0.5)
            seen = {port: up(port) for port in (9090, 9091)}
        assert seen == {9090: wanted, 9091: wanted}, finish(process)[1] if process.poll() is not None else seen
        for target in (f"{first}:9500", f"{second}:9501"):
            assert on_the_third(f"http://{target}/metrics").split() == ["401", "Bearer"]
    finally:
        for server in servers:
            os.killpg(server.pid, 9)
        if process.poll() is None:
            os.killpg(process.pid, 15)
            finish(process)
    assert json.loads((run / "targets.json").read_text()) == []  # nothing is to be missed any more
