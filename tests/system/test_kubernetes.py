"""docker/kubernetes: manifests against the published schemas, and what the mpi-operator does with the image's scripts: a launcher that
reaches sshd of two workers as uid 1000, with the operator's key pair, hostfile and variables (network namespaces)."""
import copy
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

import pytest

from conftest import BIN, EXAMPLES, ROOT, weights

sys.path.insert(0, str(ROOT / "tests/support"))
import hosts as hosts_module  # noqa: E402

FOLDER = ROOT / "docker/kubernetes"
PYTHON = ROOT / ".trireme/tests/bin/python"


def manifests(*words, **options):
    """tests/support/manifests.py under the Python that has its packages."""
    if not PYTHON.exists():
        pytest.skip("kubernetes-validate is not installed: docker/install_dependencies.sh .trireme test")
    done = subprocess.run([PYTHON, ROOT / "tests/support/manifests.py", *words], capture_output=True, text=True, timeout=120, **options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def documents(name):
    return manifests("load", FOLDER / name)


def core_faults(*resources):
    return [fault for fault in manifests("validate", input=json.dumps(resources)) if fault]


# Fields of the custom resources that the manifests may use, after the published schemas (mpi-operator v0.6
# kubeflow.org/v2beta1; prometheus-operator v0.80 monitoring.coreos.com/v1; kueue v0.10 kueue.x-k8s.io/v1beta1).
# A type, a set of allowed values, [item] for lists, {name: field} for objects ("!" marks a required one, "*" any name).
NAME = {"name!": str, "labels": {"*": str}}
POD_TEMPLATE = {"metadata": {"labels": {"*": str}}, "spec!": object}  # checked as a Pod below
REPLICA = {"replicas": int, "restartPolicy": {"Never", "OnFailure"}, "template!": POD_TEMPLATE}
MPIJOB = {
    "apiVersion!": {"kubeflow.org/v2beta1"}, "kind!": {"MPIJob"}, "metadata!": NAME,
    "spec!": {"slotsPerWorker": int, "launcherCreationPolicy": {"AtStartup", "WaitForWorkersReady"}, "mpiImplementation": {"OpenMPI", "Intel", "MPICH"},
              "sshAuthMountPath": str, "runLauncherAsWorker": bool,
              "runPolicy": {"cleanPodPolicy": {"All", "Running", "None"}, "backoffLimit": int, "ttlSecondsAfterFinished": int,
                            "activeDeadlineSeconds": int, "suspend": bool},
              "mpiReplicaSpecs!": {"Launcher!": REPLICA, "Worker": REPLICA}}}
RELABELING = {"action": {"replace", "keep", "drop", "labelmap"}, "sourceLabels": [str], "regex": str, "targetLabel": str, "replacement": str}
ENDPOINT = {"port": str, "path": str, "interval": str, "honorLabels": bool, "authorization": {"type": str, "credentials": {"name": str, "key!": str}}, "relabelings": [RELABELING]}
POD_MONITOR = {
    "apiVersion!": {"monitoring.coreos.com/v1"}, "kind!": {"PodMonitor"}, "metadata!": NAME,
    "spec!": {"selector!": {"matchLabels": {"*": str}}, "podMetricsEndpoints": [ENDPOINT], "jobLabel": str, "namespaceSelector": {"any": bool, "matchNames": [str]}}}
QUOTA = {"name!": str, "nominalQuota!": str}
KUEUE = {
    "ResourceFlavor": {"spec": {"nodeLabels": {"*": str}}},
    "ClusterQueue": {"spec": {"namespaceSelector": {"matchLabels": {"*": str}},
                              "resourceGroups": [{"coveredResources!": [str], "flavors!": [{"name!": str, "resources!": [QUOTA]}]}]}},
    "LocalQueue": {"spec": {"clusterQueue": str}},
    "WorkloadPriorityClass": {"value!": int, "description": str}}


def faults(value, field, at=""):
    if field is object:
        return []
    if isinstance(field, set):
        return [] if value in field else [f"{at}: {value!r} is none of {sorted(field)}"]
    if isinstance(field, type):
        right = isinstance(value, field) and not (field is int and isinstance(value, bool))
        return [] if right else [f"{at}: {value!r} is no {field.__name__}"]
    if isinstance(field, list):
        if not isinstance(value, list):
            return [f"{at}: {value!r} is no list"]
        return [fault for i, item in enumerate(value) for fault in faults(item, field[0], f"{at}[{i}]")]
    if not isinstance(value, dict):
        return [f"{at}: {value!r} is no object"]
    known = {name.rstrip("!"): inner for name, inner in field.items()}
    found = [f"{at}.{name} is missing" for name in field if name.endswith("!") and name[:-1] not in value]
    for name, inner in value.items():
        if name not in known and "*" not in known:
            found.append(f"{at}.{name} is unknown")
        else:
            found += faults(inner, known.get(name, known.get("*")), f"{at}.{name}")
    return found


def test_manifests_follow_the_published_schemas():
    (job,) = documents("mpijob.yaml")
    assert faults(job, MPIJOB, "MPIJob") == []
    # The operator puts the policy of the replica into the pod.
    pods = [{"apiVersion": "v1", "kind": "Pod", "metadata": dict(replica["template"]["metadata"], name=role.lower()),
             "spec": dict(replica["template"]["spec"], restartPolicy=replica["restartPolicy"])} for role, replica in job["spec"]["mpiReplicaSpecs"].items()]
    assert len(pods) == 2 and core_faults(*pods, *documents("storage.yaml")) == []
    (monitor,) = documents("pod-monitor.yaml")
    assert faults(monitor, POD_MONITOR, "PodMonitor") == []
    for document in documents("kueue.yaml"):
        common = {"apiVersion!": {"kueue.x-k8s.io/v1beta1"}, "kind!": {document["kind"]}, "metadata!": NAME}
        assert faults(document, {**common, **KUEUE[document["kind"]]}, document["kind"]) == []


def test_a_wrong_manifest_is_found():
    (job,) = documents("mpijob.yaml")
    wrong = copy.deepcopy(job)
    wrong["spec"]["slotsPerWorker"] = "2"
    wrong["spec"]["launcherCreationPolicy"] = "WaitForWorkers"
    wrong["spec"]["waitForWorkersReady"] = True
    del wrong["spec"]["mpiReplicaSpecs"]["Launcher"]
    assert len(faults(wrong, MPIJOB)) == 4
    spec = copy.deepcopy(job["spec"]["mpiReplicaSpecs"]["Worker"]["template"]["spec"])
    spec["containers"][0]["readinessprobe"] = {}
    (fault,) = core_faults({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "w"}, "spec": spec})
    assert "readinessprobe" in fault


def test_manifests_fit_one_another_and_the_image():
    (job,) = documents("mpijob.yaml")
    spec = job["spec"]
    launcher, worker = (spec["mpiReplicaSpecs"][role]["template"] for role in ("Launcher", "Worker"))
    assert spec["launcherCreationPolicy"] == "WaitForWorkersReady" and spec["sshAuthMountPath"] == "/home/mpiuser/.ssh"
    (claim,) = documents("storage.yaml")
    for template in (launcher, worker):
        assert template["spec"]["securityContext"]["runAsUser"] == 1000
        assert {v.get("persistentVolumeClaim", {}).get("claimName") for v in template["spec"]["volumes"]} >= {claim["metadata"]["name"]}
        (container,) = template["spec"]["containers"]
        assert {m["name"] for m in container["volumeMounts"]} == {v["name"] for v in template["spec"]["volumes"]}
    (monitor,) = documents("pod-monitor.yaml")
    ports = {port["name"]: port["containerPort"] for template in (launcher, worker) for port in template["spec"]["containers"][0]["ports"]}
    for template in (launcher, worker):
        assert monitor["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    assert {endpoint["port"] for endpoint in monitor["spec"]["podMetricsEndpoints"]} == {name for name in ports if name.startswith("metrics-")}
    assert len([name for name in ports if name.startswith("metrics-")]) == 1 + spec["slotsPerWorker"]
    script = (FOLDER / "launcher.sh").read_text()
    assert f"--metrics-listen 0.0.0.0:{ports['metrics-0']}" in script and ports["metrics-2"] == ports["metrics-0"] + 2
    assert f"Port {ports['ssh']}\n" in (FOLDER / "sshd_config").read_text() and f"Port {ports['ssh']}\n" in (FOLDER / "ssh_config").read_text()
    image = (FOLDER / "Dockerfile").read_text()
    for word in ("launcher.sh /usr/local/bin/trireme-launcher", "worker.sh /usr/local/bin/trireme-ssh-worker", "/home/mpiuser/.sshd_config", "-u 1000"):
        assert word in image, word
    assert launcher["spec"]["containers"][0]["command"] == ["trireme-launcher"] and worker["spec"]["containers"][0]["command"] == ["trireme-ssh-worker"]
    queues = {d["metadata"]["name"] for d in documents("kueue.yaml") if d["kind"] == "LocalQueue"}
    classes = {d["metadata"]["name"] for d in documents("kueue.yaml") if d["kind"] == "WorkloadPriorityClass"}
    labels = job["metadata"]["labels"]
    assert labels["kueue.x-k8s.io/queue-name"] in queues and labels["kueue.x-k8s.io/priority-class"] in classes
    # The key of the secret is what kubectl's line in pod-monitor.yaml makes, and the file that the launcher is given.
    assert "--from-literal=token=" in (FOLDER / "pod-monitor.yaml").read_text()
    assert launcher["spec"]["containers"][0]["args"][-1] == "/etc/trireme/metrics/token"


def test_what_the_image_script_hands_to_a_build_is_declared_where_it_is_used():
    """An argument that no ARG of the stage names reaches no step, and nobody says so."""
    handed = set(re.findall(r'--build-arg "?(\w+)=', (ROOT / "docker/build_image.sh").read_text())) - {"DEBIAN", "BASE"}  # of FROM lines
    stages = re.split(r"^FROM ", (ROOT / "docker/Dockerfile").read_text(), flags=re.M)[1:]
    read = {"/install_dependencies.sh /opt": {"SOURCE", "PIP_CERT"}, "/build_in_image.sh": {"SOURCE", "CCACHE_DIR", "TRIREME_JOBS"}}
    assert handed == set.union(*read.values())
    for script, wanted in read.items():
        building = [stage for stage in stages if script in stage]
        assert len(building) == 2, script
        for stage in building:
            assert wanted <= set(re.findall(r"^ARG (\w+)", stage.split("RUN ")[0], re.M)), stage


def unreadable_for_others(path):
    """The first folder on the way that uid 1000 cannot pass, or None."""
    for folder in [*reversed(path.parents), path]:
        if not folder.stat().st_mode & 0o001:
            return folder
    return None


class Pods:
    """A launcher and two workers: namespaces with the files that the operator mounts, everything as uid 1000."""

    ENVIRONMENT = {"OMPI_MCA_orte_keep_fqdn_hostnames": "true", "OMPI_MCA_orte_default_hostfile": "/etc/mpi/hostfile", "OMPI_MCA_plm_rsh_args": "-o ConnectionAttempts=10"}

    def __init__(self, hosts, folder):
        self.hosts, self.folder, self.started, self.made = hosts, folder, [], []
        self.names = ["trireme-launcher", *(f"trireme-worker-{i}.trireme.default.svc" for i in range(len(hosts.names) - 1))]
        for place in (pathlib.Path("/home/mpiuser"), pathlib.Path("/etc/mpi")):
            if not place.exists():
                place.mkdir()
                self.made.append(place)
        for name, text in {
                "hosts": "127.0.0.1 localhost\n" + "".join(f"{a} {n}\n" for a, n in zip(hosts.addresses, self.names)),
                "passwd": self.others("/etc/passwd") + "mpiuser:x:1000:1000::/home/mpiuser:/bin/bash\n",
                "group": self.others("/etc/group") + "mpiuser:x:1000:\n",
                "mpi/hostfile": "".join(f"{name} slots=1\n" for name in self.names[1:]),
                "ssh_config.d/trireme.conf": (FOLDER / "ssh_config").read_text()}.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)
        keys = folder / "keys"  # as the secret is mounted: root's, readable
        keys.mkdir()
        subprocess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-b", "521", "-m", "PEM", "-N", "", "-f", keys / "id_rsa"], check=True)
        shutil.copy(keys / "id_rsa.pub", keys / "authorized_keys")
        for key in keys.iterdir():
            key.chmod(0o644)

    @staticmethod
    def others(file):
        return "".join(line + "\n" for line in pathlib.Path(file).read_text().splitlines() if line.split(":")[2] != "1000" and not line.startswith("mpiuser:"))

    def start(self, host, words, log=None, **extra):
        home = self.folder / f"home-{host}"
        if not home.exists():
            (home / ".ssh").mkdir(parents=True)
            shutil.copy(FOLDER / "sshd_config", home / ".sshd_config")
            for path in (home, home / ".sshd_config"):
                os.chown(path, 1000, 1000)
        mounts = [(home, "/home/mpiuser"), (self.folder / "keys", "/home/mpiuser/.ssh"), (self.folder / "mpi", "/etc/mpi"), (self.folder / "ssh_config.d", "/etc/ssh/ssh_config.d"),
                  *((self.folder / name, f"/etc/{name}") for name in ("hosts", "passwd", "group"))]
        script = "; ".join(["set -e", "mount --make-rprivate /", f"hostname {self.names[host].split('.')[0]}", *(f"mount --bind {source} {target}" for source, target in mounts),
                            f"cd {self.folder}/data", 'exec setpriv --reuid=1000 --regid=1000 --clear-groups --inh-caps=-all --bounding-set=-all "$@"'])
        command = ["nsenter", f"--net=/run/netns/{self.hosts.names[host]}", "unshare", "-m", "-u", "sh", "-c", script, "sh", *map(str, words)]
        given = {"PATH": f"{BIN}:/usr/local/bin:/usr/bin:/bin:/usr/sbin", "HOME": "/home/mpiuser", **extra}
        process = subprocess.Popen(command, env=given, stdout=subprocess.PIPE if log is None else open(log, "w"), stderr=subprocess.STDOUT, text=True, start_new_session=True)
        self.started.append(process)
        return process

    def launch(self, *words):
        return self.start(0, [FOLDER / "launcher.sh", *words], **self.ENVIRONMENT)

    def close(self):
        for process in self.started:
            if process.poll() is None:
                os.killpg(process.pid, 9)
                process.wait()
        for place in self.made:
            place.rmdir()


@pytest.fixture
def pods():
    if why := hosts_module.missing():
        pytest.skip(why)
    for program in ("/usr/sbin/sshd", "/usr/bin/ssh-keygen", "/usr/bin/setpriv"):
        if not pathlib.Path(program).exists():
            pytest.skip(f"{program} is not installed (apt-get install openssh-server openssh-client util-linux)")
    for path in (BIN / "trireme-worker", FOLDER, (ROOT / ".trireme").resolve() / "python"):
        if folder := unreadable_for_others(path):
            pytest.skip(f"uid 1000 cannot pass {folder}")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="mpijob-", dir="/var/tmp"))
    folder.chmod(0o755)
    (folder / "data").mkdir()
    os.chown(folder / "data", 1000, 1000)
    try:
        with hosts_module.Hosts(3) as hosts:
            pods = Pods(hosts, folder)
            try:
                yield pods
            finally:
                pods.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_the_operator_runs_a_job_that_survives_its_launcher(pods, tiny_run):
    data = pods.folder / "data"
    job = ["job.json", "--set", "spec.output=run"]
    shutil.copy(EXAMPLES / "tiny.json", data / "job.json")
    first = pods.launch(*job)  # waits: no worker is up
    # One as the manifest starts it, one as the operator does by itself.
    pods.start(1, [FOLDER / "worker.sh"], log=pods.folder / "worker-0.log", NCCL_DEBUG="WARN")
    pods.start(2, ["/usr/sbin/sshd", "-De", "-f", "/home/mpiuser/.sshd_config"], log=pods.folder / "worker-1.log")

    def step():
        try:
            document = json.loads((data / "run/progress.json").read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return 0
        return ((document.get("job") or {}).get("training") or {}).get("step") or 0

    end = time.monotonic() + 60
    while step() < 10:
        assert first.poll() is None and time.monotonic() < end, (first.communicate()[0] if first.poll() is not None else "") + "".join(
            path.read_text()[-2000:] for path in pods.folder.glob("worker-*.log"))
        time.sleep(0.02)
    (worker,) = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if environment_of(pid).get("NCCL_DEBUG") == "WARN" and command_of(pid) == "trireme-worker"]
    assert os.stat(f"/proc/{worker}").st_uid == 1000
    os.killpg(first.pid, 15)  # the pod is to leave
    text, _ = first.communicate(timeout=60)
    assert first.returncode == 75 and "rank 1 on trireme-worker-0.trireme.default.svc" in text, text
    kept = sorted((data / "run/ckpt/train").glob("step-*"))[-1]
    second = pods.launch(*job)
    text, _ = second.communicate(timeout=120)
    assert second.returncode == 0, text
    logs = (data / "run/logs/rank-0.log").read_text()
    assert "resumes at step " + kept.name.split("-")[1].lstrip("0") in logs
    assert "worker 1 on trireme-worker-0:" in logs and "worker 2 on trireme-worker-1:" in logs
    assert (data / "run/final/model.safetensors").read_bytes() == weights(tiny_run)
    assert (data / "run/final/model.safetensors").stat().st_uid == 1000


def environment_of(pid):
    try:
        return dict(entry.split("=", 1) for entry in pathlib.Path(f"/proc/{pid}/environ").read_text().split("\0") if "=" in entry)
    except (OSError, UnicodeDecodeError):
        return {}


def command_of(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def test_a_worker_that_never_comes_is_named(pods):
    shutil.copy(EXAMPLES / "tiny.json", pods.folder / "data/job.json")
    launcher = pods.start(0, [FOLDER / "launcher.sh", "job.json"], TRIREME_WAIT="1", **pods.ENVIRONMENT)
    text, _ = launcher.communicate(timeout=30)
    assert launcher.returncode == 69 and "worker trireme-worker-0.trireme.default.svc cannot be reached" in text, text
    assert not (pods.folder / "data/runs").exists()
