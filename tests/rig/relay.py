#!/usr/bin/env python3
"""A switch in user space: frames between the ports of a network namespace, delayed, dropped, doubled, slowed down or cut one way.

    relay.py PORT…        reads one JSON object a line on stdin: {"from": PORT or "*", "to": PORT or "*", "delay_ms": 100, "jitter_ms": 50,
                          "loss": 0.01, "double": 0.01, "bits_per_second": 1e7, "cut": true}; the last that fits a frame holds. Prints
                          "ready", then "set" per line. Ends with stdin.
For kernels without netem (RELIABILITY 7). Frames carry the kernel's own header (PACKET_VNET_HDR), so that large segments and
unfinished checksums pass as they are.
"""
import collections
import heapq
import json
import os
import random
import select
import socket
import sys
import time

ETH_P_ALL, SOL_PACKET, PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING, PACKET_ADD_MEMBERSHIP, PROMISC = 3, 263, 15, 23, 1, 1
VNET_HEADER = 10
LONGEST_QUEUE = 1000


def port(name):
    one = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    one.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    one.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    one.bind((name, 0))
    one.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, socket.if_nametoindex(name).to_bytes(4, sys.byteorder) + PROMISC.to_bytes(2, sys.byteorder) + bytes(10))
    one.setblocking(False)
    return one


class Relay:
    def __init__(self, names, seed=1):
        self.ports = {name: port(name) for name in names}
        self.rules, self.learnt = [], {}
        self.queue, self.number = [], 0  # (when, number, to, frame)
        self.free_at = collections.defaultdict(float)  # of a link with a bandwidth
        self.waiting = collections.Counter()
        self.random = random.Random(seed)

    def rule(self, source, target):
        for one in reversed(self.rules):
            if one.get("from", "*") in ("*", source) and one.get("to", "*") in ("*", target):
                return one
        return {}

    def forward(self, source, frame):
        target_mac, source_mac = frame[VNET_HEADER:VNET_HEADER + 6], frame[VNET_HEADER + 6:VNET_HEADER + 12]
        self.learnt[source_mac] = source
        known = self.learnt.get(target_mac)
        for target in [known] if known else [name for name in self.ports if name != source]:
            if target != source:
                self.deliver(source, target, frame)

    def deliver(self, source, target, frame):
        rule = self.rule(source, target)
        link = (source, target)
        if rule.get("cut") or self.random.random() < rule.get("loss", 0) or self.waiting[link] >= LONGEST_QUEUE:
            return
        for _ in range(2 if self.random.random() < rule.get("double", 0) else 1):
            when = time.monotonic()
            if rate := rule.get("bits_per_second"):
                when = self.free_at[link] = max(when, self.free_at[link]) + 8 * len(frame) / rate
            when += max(0, rule.get("delay_ms", 0) + self.random.uniform(-1, 1) * rule.get("jitter_ms", 0)) / 1000
            self.number += 1
            self.waiting[link] += 1
            heapq.heappush(self.queue, (when, self.number, link, frame))

    def send_due(self):
        while self.queue and self.queue[0][0] <= time.monotonic():
            _, _, link, frame = heapq.heappop(self.queue)
            self.waiting[link] -= 1
            try:
                self.ports[link[1]].send(frame)
            except OSError:  # a port that is down, or full: as a switch would
                pass

    def run(self):
        poll = select.poll()
        by_number = {one.fileno(): name for name, one in self.ports.items()}
        for number in [*by_number, sys.stdin.fileno()]:
            poll.register(number, select.POLLIN)
        print("ready", flush=True)
        text = b""
        while True:
            patience = max(0, self.queue[0][0] - time.monotonic()) * 1000 if self.queue else None
            for number, _ in poll.poll(patience):
                if number == sys.stdin.fileno():
                    piece = os.read(number, 65536)
                    if not piece:
                        return
                    *lines, text = (text + piece).split(b"\n")
                    for line in lines:
                        self.rules.append(json.loads(line))
                        print("set", flush=True)
                    continue
                for _ in range(64):
                    try:
                        self.forward(by_number[number], self.ports[by_number[number]].recv(1 << 17))
                    except (BlockingIOError, OSError):
                        break
            self.send_due()


if __name__ == "__main__":
    Relay(sys.argv[1:]).run()
