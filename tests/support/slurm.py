"""A Slurm of its own on this machine: slurmctld and one slurmd per host of hosts.Hosts, without munge (auth/none, cred/none).
A requeued job starts again once its old credential has run out (cred_expire).

with Hosts(2) as hosts, Slurm(hosts, folder) as slurm:
    slurm.sbatch("docker/slurm/job.sbatch", "job.json")
"""
import os
import pathlib
import shutil
import subprocess
import time

import hosts as hosts_module


def missing():
    """What keeps Slurm from being started here, or ""."""
    for program in ("slurmctld", "slurmd", "sbatch", "srun"):
        if shutil.which(program) is None:
            return f"{program} is not installed (apt-get install slurmctld slurmd slurm-client)"
    return hosts_module.missing()


class Slurm:
    def __init__(self, hosts, folder, kill_wait=5):
        self.hosts, self.folder = hosts, pathlib.Path(folder)
        self.conf = self.folder / "slurm.conf"
        self.kill_wait = kill_wait
        self.daemons = []

    def environment(self):
        # PMIx between tasks of Slurm 22.05 hangs unless every node has a temporary file system of its own (TmpFS below).
        return dict(os.environ, SLURM_CONF=str(self.conf), OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
                    OMPI_MCA_btl_tcp_if_include=self.hosts.network, OMPI_MCA_oob_tcp_if_include=self.hosts.network)

    def __enter__(self):
        for part in ("state", "log", *(f"{kind}-{name}" for name in self.hosts.names for kind in ("spool", "tmp"))):
            (self.folder / part).mkdir(parents=True)
        nodes = "\n".join(f"NodeName={name} NodeHostname={name} NodeAddr={address} CPUs=8 RealMemory=4000"
                          for name, address in zip(self.hosts.names, self.hosts.addresses))
        self.conf.write_text(f"""ClusterName=test
SlurmctldHost={self.hosts.names[0]}({self.hosts.addresses[0]})
AuthType=auth/none
AuthInfo=cred_expire=5
CredType=cred/none
SlurmUser=root
SlurmdUser=root
StateSaveLocation={self.folder}/state
SlurmdSpoolDir={self.folder}/spool-%n
SlurmctldPidFile={self.folder}/slurmctld.pid
SlurmdPidFile={self.folder}/slurmd-%n.pid
SlurmctldLogFile={self.folder}/log/slurmctld.log
SlurmdLogFile={self.folder}/log/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
SwitchType=switch/none
SlurmdParameters=config_overrides
TmpFS={self.folder}/tmp-%n
KillWait={self.kill_wait}
JobRequeue=1
SlurmdTimeout=10
ReturnToService=2
MinJobAge=600
{nodes}
PartitionName=all Nodes={",".join(self.hosts.names)} Default=YES MaxTime=INFINITE State=UP
""")
        self.start(0, "slurmctld", "-D", "-c")
        for host, name in enumerate(self.hosts.names):
            self.start(host, "slurmd", "-D", "-c", "-N", name)
        self.wait_for(lambda: self.call("sinfo", "-h", "-o", "%T %D").strip() == f"idle {len(self.hosts.names)}", 20, "all nodes idle")
        return self

    def start(self, host, *words):
        self.daemons.append(subprocess.Popen(self.hosts.command(host, words), env=self.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                             start_new_session=True))

    def __exit__(self, *_):
        for daemon in self.daemons:  # what jobs have left ends with the hosts
            daemon.kill()
        for daemon in self.daemons:
            daemon.wait()

    def call(self, *words, check=True):
        done = self.hosts.run(0, words, env=self.environment(), timeout=60)
        assert not check or done.returncode == 0, f"{words}: {done.stdout}\n{done.stderr}\n{self.logs()}"
        return done.stdout

    def logs(self):
        return "\n".join(f"== {path.name}\n{path.read_text()[-1500:]}" for path in sorted((self.folder / "log").glob("*")))

    def sbatch(self, script, *words, options=(), cwd=None, env=()):
        """Submits it; the job's number. Its output lies in out-<number>."""
        answer = self.hosts.run(0, ["sbatch", "--parsable", f"--output={self.folder}/out-%j", *options, script, *words], env={**self.environment(), **dict(env)}, cwd=cwd, timeout=60)
        assert answer.returncode == 0, answer.stderr + self.logs()
        return answer.stdout.strip()

    def output(self, job):
        path = self.folder / f"out-{job}"
        return path.read_text() if path.exists() else ""

    def state(self, job):
        """(state, exit code of the batch script, restarts), as scontrol shows them."""
        fields = dict(part.split("=", 1) for part in self.call("scontrol", "show", "job", str(job), "--oneliner").split() if "=" in part)
        return fields["JobState"], int(fields["ExitCode"].split(":")[0]), int(fields["Restarts"])

    def wait_for(self, condition, seconds, what):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if condition():
                return
            time.sleep(0.25)  # each look starts a client
        raise AssertionError(f"{what} did not come in {seconds} s\n{self.logs()}")
