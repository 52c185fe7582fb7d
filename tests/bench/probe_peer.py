"""Linear probe: scikit-learn and torch's L-BFGS against probe_bench on the same features, one after the other.

usage: probe_peer.py PROBE_BENCH [N] [D] [K] [C] [SCRATCH]    (128000 512 1000 0.316: CLIP's README)
needs: numpy scikit-learn torch

Asked for: the objective of scikit-learn (lbfgs, tol 1e-4, up to 1000 iterations) or a smaller one in at most a third of its time on the same cores, memory of
at most 1.5 times the features, and two workers of one thread in at most .6 of the time of one. torch.optim.LBFGS (strong Wolfe, history 10, float32, tile by
tile) is timed to where scikit-learn ended and to where ours ended, ten times scikit-learn's processor time at most. On a busy machine "taskset -c 0" makes one thread of everything, whose cpu_seconds compare.
"""
import json
import os
import resource
import subprocess
import sys
import tempfile
import time

import numpy

bench = sys.argv[1]
n, d, k = (int(sys.argv[i]) if len(sys.argv) > i else usual for i, usual in ((2, 128000), (3, 512), (4, 1000)))
c = float(sys.argv[5]) if len(sys.argv) > 5 else .316
scratch = sys.argv[6] if len(sys.argv) > 6 else tempfile.mkdtemp()
threads = len(os.sched_getaffinity(0))

random = numpy.random.default_rng(1)
spread = (1 / numpy.arange(1, d + 1) ** .5).astype(numpy.float32)  # directions of unlike length, as embeddings have
label = random.integers(0, k, n)
x = random.standard_normal((k, d), dtype=numpy.float32)[label] * spread * .6 + random.standard_normal((n, d), dtype=numpy.float32) * spread
x /= numpy.linalg.norm(x, axis=1, keepdims=True)
x.tofile(f"{scratch}/x.bin")
label.astype(numpy.int64).tofile(f"{scratch}/y.bin")


def ours(workers, of_each):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([bench, f"{scratch}/x.bin", f"{scratch}/y.bin", *map(str, (n, d, k, c, workers, of_each))], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {**json.loads(done.stdout), "cpu_seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 2)}


found = {"one worker, all threads": ours(1, threads), "one worker, one thread": ours(1, 1), "two workers, one thread each": ours(2, 1)}
for what, one in found.items():
    print(what, one, flush=True)

from sklearn.linear_model import LogisticRegression  # noqa: E402

before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
started, started_cpu = time.perf_counter(), time.process_time()
peer = LogisticRegression(C=c, max_iter=1000, tol=1e-4).fit(x, label)
seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - started_cpu
loss = 0.
for first in range(0, n, 4096):
    logits = x[first:first + 4096].astype(numpy.float64) @ peer.coef_.T + peer.intercept_
    top = logits.max(1, keepdims=True)
    loss += (numpy.log(numpy.exp(logits - top).sum(1)) + top[:, 0] - logits[numpy.arange(len(logits)), label[first:first + 4096]]).sum()
objective = loss / n + (peer.coef_.astype(numpy.float64) ** 2).sum() / (2 * c * n)
print("scikit-learn", {"seconds": round(seconds, 2), "cpu_seconds": round(cpu_seconds, 2), "objective": float(objective), "iterations": int(max(peer.n_iter_)),
                       "grown_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before)})

import torch  # noqa: E402

torch.set_num_threads(threads)
rows, labels = torch.from_numpy(x), torch.from_numpy(label)
weight, bias = torch.zeros(k, d, requires_grad=True), torch.zeros(k, requires_grad=True)
solver = torch.optim.LBFGS([weight, bias], max_iter=10000, max_eval=20000, tolerance_grad=0, tolerance_change=0, history_size=10, line_search_fn="strong_wolfe")
goals = {"scikit-learn's": float(objective), "ours": found["one worker, all threads"]["objective"] + 1e-6}
passes, least, reached = 0, float("inf"), {}


class There(Exception):
    """Both objectives are reached, or it takes too long."""


def closure():
    global passes, least
    solver.zero_grad()
    total = float((weight.detach().double() ** 2).sum()) / (2 * c * n)
    (weight.square().sum() / (2 * c * n)).backward()
    for first in range(0, n, 4096):
        part = torch.nn.functional.cross_entropy(rows[first:first + 4096] @ weight.t() + bias, labels[first:first + 4096], reduction="sum") / n
        part.backward()
        total += float(part.detach())
    passes, least = passes + 1, min(least, total)
    taken, taken_cpu = time.perf_counter() - started, time.process_time() - started_cpu
    for goal, value in goals.items():
        if least <= value:
            reached.setdefault(goal, {"seconds": round(taken, 2), "cpu_seconds": round(taken_cpu, 2), "passes": passes})
    if len(reached) == len(goals) or taken_cpu > 10 * cpu_seconds:
        raise There
    return torch.tensor(total)


started, started_cpu = time.perf_counter(), time.process_time()
try:
    solver.step(closure)
except There:
    pass
print("torch.optim.LBFGS to the objective of", reached, {"passes": passes, "least": float(least)}, flush=True)
best, alone, two = found.values()
print(f"time {best['seconds'] / seconds:.3f} of scikit-learn's (asked: .333), objective {best['objective'] - objective:+.2e} from its (asked: <= 0), "
      f"memory {1 + best['grown_mib'] / best['features_mib']:.2f} of the features (asked: 1.5), two workers {two['seconds'] / alone['seconds']:.2f} of one (asked: .6)")
