"""Linear probe: scikit-learn against probe_bench on the same features, one after the other.

usage: probe_peer.py PROBE_BENCH [N] [D] [K] [C] [SCRATCH]    (128000 512 1000 0.316: CLIP's README)
needs: numpy scikit-learn

Asked for: the objective of scikit-learn (lbfgs, tol 1e-4, up to 1000 iterations) or a smaller one in at most a third of its time on the same cores, memory of
at most 1.5 times the features, and two workers of one thread in at most .6 of the time of one.
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
    done = subprocess.run([bench, f"{scratch}/x.bin", f"{scratch}/y.bin", *map(str, (n, d, k, c, workers, of_each))], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


found = {"one worker, all threads": ours(1, threads), "one worker, one thread": ours(1, 1), "two workers, one thread each": ours(2, 1)}
for what, one in found.items():
    print(what, one, flush=True)

from sklearn.linear_model import LogisticRegression  # noqa: E402

before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
started = time.perf_counter()
peer = LogisticRegression(C=c, max_iter=1000, tol=1e-4).fit(x, label)
seconds = time.perf_counter() - started
loss = 0.
for first in range(0, n, 4096):
    logits = x[first:first + 4096].astype(numpy.float64) @ peer.coef_.T + peer.intercept_
    top = logits.max(1, keepdims=True)
    loss += (numpy.log(numpy.exp(logits - top).sum(1)) + top[:, 0] - logits[numpy.arange(len(logits)), label[first:first + 4096]]).sum()
objective = loss / n + (peer.coef_.astype(numpy.float64) ** 2).sum() / (2 * c * n)
print("scikit-learn", {"seconds": round(seconds, 2), "objective": objective, "iterations": int(max(peer.n_iter_)),
                       "grown_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before)})
best, alone, two = found.values()
print(f"time {best['seconds'] / seconds:.3f} of scikit-learn's (asked: .333), objective {best['objective'] - objective:+.2e} from its (asked: <= 0), "
      f"memory {1 + best['grown_mib'] / best['features_mib']:.2f} of the features (asked: 1.5), two workers {two['seconds'] / alone['seconds']:.2f} of one (asked: .6)")
