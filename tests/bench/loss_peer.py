"""open_clip's ClipLoss against loss_bench, in turn, on the same cores: forward + backward of one batch.

  loss_peer.py <loss_bench> [rows] [width] [threads] [rounds]     (needs torch and open_clip_torch)

Prints processor and wall seconds of both and the ratios of the medians. Both have a call to warm up.
"""
import resource
import statistics
import subprocess
import sys
import time

import torch
from open_clip.loss import ClipLoss


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def peer(loss, image, text, scale):
    for leaf in (image, text, scale):
        leaf.grad = None
    wall, cpu = time.perf_counter(), cpu_seconds()
    loss(image, text, scale.exp()).backward()
    return time.perf_counter() - wall, cpu_seconds() - cpu


def main():
    program = sys.argv[1]
    rows, width, threads, rounds = (int(a) for a in (sys.argv[2:] + ["8192", "512", "2", "5"][len(sys.argv) - 2:]))
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    image, text = (torch.nn.functional.normalize(torch.randn(rows, width)).requires_grad_() for _ in range(2))
    scale = torch.tensor(2.6592600369).requires_grad_()
    loss = ClipLoss()
    peer(loss, image, text, scale)
    theirs, ours = [], []
    for _ in range(rounds):
        theirs.append(peer(loss, image, text, scale))
        out = subprocess.run([program, "once", "info_nce", str(rows), str(width), str(threads)], check=True,
                             capture_output=True, text=True).stdout.split()
        ours.append((float(out[0]), float(out[1])))
    for what, at in (("wall", 0), ("processor", 1)):
        a, b = (statistics.median(x[at] for x in runs) for runs in (ours, theirs))
        print(f"{what}: Trireme {a:.3f} s, open_clip {b:.3f} s, ratio {a / b:.3f}")


if __name__ == "__main__":
    main()
