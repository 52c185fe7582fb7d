"""Several hosts on one machine: network namespaces on a bridge, each with its own host name and loopback.

with Hosts(3) as hosts:
    hosts.run(0, ["trireme", "launch", …])        # on the first; mpirun reaches the others through hosts.agent
    hosts.link(1, up=False)                        # cut the cable of the second
Needs root and iproute2; the names are drawn, so that parallel runs do not meet.
"""
import os
import pathlib
import secrets
import shutil
import subprocess
import tempfile


def missing():
    """What keeps namespaces from being made here, or ""."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for program in ("ip", "nsenter", "unshare"):
        if shutil.which(program) is None:
            return f"{program} is not installed (apt-get install iproute2 util-linux)"
    return ""


def _ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True)


class Hosts:
    def __init__(self, count, network="10.77.0"):
        self.id = "t" + secrets.token_hex(3)
        self.network = f"{network}.0/24"
        self.names = [f"{self.id}-{i}" for i in range(count)]
        self.addresses = [f"{network}.{i + 1}" for i in range(count)]
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="hosts-"))
        self.agent = str(self.folder / "agent")

    def __enter__(self):
        # The bridge lives in a namespace of its own, so that nothing of this shows outside.
        _ip("netns", "add", self.id)
        _ip("-n", self.id, "link", "add", "bridge", "type", "bridge")
        _ip("-n", self.id, "link", "set", "bridge", "up")
        for name, address in zip(self.names, self.addresses):
            port = name.replace("-", "p")
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
            _ip("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", name)
            _ip("link", "set", port, "netns", self.id)
            _ip("-n", self.id, "link", "set", port, "master", "bridge", "up")
            _ip("-n", name, "address", "add", f"{address}/24", "dev", "eth0")
            _ip("-n", name, "link", "set", "eth0", "up")
        cases = "\n".join(f"  {address} | {name}) host={name} ;;" for name, address in zip(self.names, self.addresses))
        pathlib.Path(self.agent).write_text(f"""#!/bin/sh
# AGENT HOST COMMAND…: what ssh would do.
case $1 in
{cases}
  *) echo "no host $1" >&2; exit 255 ;;
esac
shift
exec nsenter --net=/run/netns/$host unshare -u sh -c "hostname $host; cd {os.getcwd()}; $*"
""")
        os.chmod(self.agent, 0o755)
        return self

    def __exit__(self, *_):
        for name in self.names:
            for pid in subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True).stdout.split():
                try:
                    os.kill(int(pid), 9)
                except ProcessLookupError:
                    pass
            subprocess.run(["ip", "netns", "del", name], capture_output=True)
        subprocess.run(["ip", "netns", "del", self.id], capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def command(self, host, words):
        """The words as they are started on that host."""
        # Not `ip netns exec`, which mounts /sys anew and hides the control groups that slurmd wants.
        return ["nsenter", f"--net=/run/netns/{self.names[host]}", "unshare", "-u", "sh", "-c", f"hostname {self.names[host]}; exec \"$@\"", "sh", *map(str, words)]

    def run(self, host, words, **options):
        return subprocess.run(self.command(host, words), capture_output=True, text=True, **options)

    def link(self, host, up):
        _ip("-n", self.id, "link", "set", self.names[host].replace("-", "p"), "up" if up else "down")
