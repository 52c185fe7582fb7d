"""Several hosts on one machine: network namespaces on a bridge, each with its own host name and loopback.

with Hosts(3) as hosts:
    hosts.run(0, ["trireme", "launch", …])        # on the first; mpirun reaches the others through hosts.agent
    hosts.link(1, up=False)                        # cut the cable of the second
Needs root and iproute2; the names are drawn, so that parallel runs do not meet.
"""
import json
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
    def __init__(self, count, network="10.77.0", relay=False, apart=False):
        """relay: a switch in user space instead of the kernel's (self.wire); apart: each host has process ids of its own."""
        self.id = "t" + secrets.token_hex(3)
        self.network = f"{network}.0/24"
        self.names = [f"{self.id}-{i}" for i in range(count)]
        self.addresses = [f"{network}.{i + 1}" for i in range(count)]
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="hosts-"))
        self.agent = str(self.folder / "agent")
        self.relay = relay
        self.unshare = "unshare -u -p -f --mount-proc" if apart else "unshare -u"
        self.apart = apart
        # With the first process of a host the others end, and a daemon's parent is one.
        self.stay = "; while kill -0 -1 2>/dev/null; do sleep 0.2; done" if apart else ""

    def __enter__(self):
        # The bridge lives in a namespace of its own, so that nothing of this shows outside.
        _ip("netns", "add", self.id)
        if not self.relay:
            _ip("-n", self.id, "link", "add", "bridge", "type", "bridge")
            _ip("-n", self.id, "link", "set", "bridge", "up")
        for name, address in zip(self.names, self.addresses):
            (self.folder / name).mkdir()
            port = name.replace("-", "p")
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
            _ip("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", name)
            _ip("link", "set", port, "netns", self.id)
            _ip("-n", self.id, "link", "set", port, *([] if self.relay else ["master", "bridge"]), "up")
            _ip("-n", name, "address", "add", f"{address}/24", "dev", "eth0")
            _ip("-n", name, "link", "set", "eth0", "up")
        if self.relay:
            program = pathlib.Path(__file__).resolve().parents[1] / "rig/relay.py"
            self.switch = subprocess.Popen(["nsenter", f"--net=/run/netns/{self.id}", "python3", str(program), *map(self.port, range(len(self.names)))],
                                           stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            assert self.switch.stdout.readline() == "ready\n"
        cases = "\n".join(f"  {address} | {name}) host={name} ;;" for name, address in zip(self.names, self.addresses))
        pathlib.Path(self.agent).write_text(f"""#!/bin/sh
# AGENT HOST COMMAND…: what ssh would do.
case $1 in
{cases}
  *) echo "no host $1" >&2; exit 255 ;;
esac
shift
# Nobody answers behind a cut cable: what ssh would wait for, too.
while ! ip -n {self.id} link show $(echo $host | tr - p) | grep -q "LOWER_UP"; do sleep 0.1; done
exec nsenter --net=/run/netns/$host {self.unshare} sh -c "hostname $host; {self.settings('$host')}cd {os.getcwd()}; $*{self.stay}"
""")
        os.chmod(self.agent, 0o755)
        return self

    def __exit__(self, *_):
        if self.relay:
            self.switch.stdin.close()
            self.switch.wait()
        for name in self.names:
            for pid in subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True).stdout.split():
                try:
                    os.kill(int(pid), 9)
                except ProcessLookupError:
                    pass
            subprocess.run(["ip", "netns", "del", name], capture_output=True)
        subprocess.run(["ip", "netns", "del", self.id], capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def settings(self, name):
        """With process ids of its own a host needs temporary files of its own: their names hold such ids."""
        return f"export TMPDIR={self.folder}/{name}; " if self.apart else ""

    def command(self, host, words):
        """The words as they are started on that host."""
        # Not `ip netns exec`, which mounts /sys anew and hides the control groups that slurmd wants.
        return ["nsenter", f"--net=/run/netns/{self.names[host]}", *self.unshare.split(), "sh", "-c", f"hostname {self.names[host]}; {self.settings(self.names[host])}exec \"$@\"", "sh", *map(str, words)]

    def run(self, host, words, **options):
        return subprocess.run(self.command(host, words), capture_output=True, text=True, **options)

    def port(self, host):
        return self.names[host].replace("-", "p")

    def link(self, host, up):
        _ip("-n", self.id, "link", "set", self.port(host), "up" if up else "down")

    def wire(self, source=None, target=None, **rule):
        """From one host to another (None: all): delay_ms, jitter_ms, loss, double, bits_per_second, cut (tests/rig/relay.py)."""
        ends = {"from": "*" if source is None else self.port(source), "to": "*" if target is None else self.port(target)}
        self.switch.stdin.write(json.dumps({**ends, **rule}) + "\n")
        self.switch.stdin.flush()
        assert self.switch.stdout.readline() == "set\n"
