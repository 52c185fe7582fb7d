"""A search service in a process of its own, and plain requests to it."""
import http.client
import json
import os
import signal
import subprocess
import time
import urllib.parse

from conftest import BIN, ROOT, environment


class SearchService:
    """`trireme serve` with its output in a log."""

    def __init__(self, log, *arguments):
        self.log = open(log, "w+")
        self.process = subprocess.Popen([BIN / "trireme", "serve", *map(str, arguments)], cwd=ROOT, env=environment(), stdout=self.log, stderr=subprocess.STDOUT)
        end = time.monotonic() + 120
        while "searching at " not in self.text():
            assert self.process.poll() is None and time.monotonic() < end, self.text()
            time.sleep(0.02)
        self.link = self.text().split("searching at ")[1].split()[0]
        self.address = urllib.parse.urlsplit(self.link)

    def text(self):
        self.log.flush()
        with open(self.log.name) as file:
            return file.read()

    def ask(self, method, target, body=None, headers=None, timeout=30):
        """Status, headers, body; JSON is decoded."""
        connection = http.client.HTTPConnection(self.address.hostname, self.address.port, timeout=timeout)
        given = {"Host": f"127.0.0.1:{self.address.port}", **({"Content-Type": "application/json"} if body is not None else {}), **(headers or {})}
        connection.request(method, target, body=json.dumps(body) if isinstance(body, (dict, list)) else body, headers={k: v for k, v in given.items() if v is not None})
        answer = connection.getresponse()
        content = answer.read()
        if "json" in answer.getheader("Content-Type", ""):
            content = json.loads(content)
        connection.close()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, content

    def search(self, *parts, **more):
        status, _, answer = self.ask("POST", "/api/v1/search", {"query": list(parts), **more})
        assert status == 200, answer
        return answer

    def workers(self):
        """Pids of the workers that it watches."""
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    with open(f"/proc/{entry}/stat") as file:
                        words = file.read().rsplit(")", 1)[1].split()
                except OSError:
                    continue
                if int(words[1]) == self.process.pid and words[0] != "Z":
                    found.append(int(entry))
        return sorted(found)

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()
        return self.process.returncode
