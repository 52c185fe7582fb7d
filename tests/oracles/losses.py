"""Writes tests/golden/losses.txt: losses and gradients of 1,000 configurations of the contrastive family by plain PyTorch.

  losses.py > tests/golden/losses.txt        (needs torch; float64, full matrices, autograd)

One line per configuration: rows width texts sigmoid reduction smoothing alpha beta detach labels weights dead scale bias,
then loss, dL/d ln(scale), dL/d bias and for each modality the sum over its gradient times cos of the element's number.
Embeddings are the formula of `rows_of`, so that no tensor need be stored. negative_fraction is 1: its choice is a
hash of the project's own, judged elsewhere.
"""
import math
import random

import torch

torch.set_default_dtype(torch.float64)
REDUCTIONS = ("half_mean", "sum_of_means", "sum")


def rows_of(case, modality, rows, width):
    i = torch.arange(1, rows + 1).double()[:, None]
    k = torch.arange(1, width + 1).double()[None, :]
    value = torch.sin(0.7 * i * k + 1.3 * modality + 0.1 * case) + 0.5 * torch.cos(1.3 * i + 0.9 * k * (modality + 1))
    return value / value.norm(dim=1, keepdim=True)


def lines(s, positive, bias, o):
    negative = ~positive
    if o["sigmoid"]:
        z = s + bias
        return (torch.nn.functional.softplus(torch.where(positive, -z, z), threshold=1000)).sum(1)
    minus_infinity = torch.tensor(-math.inf)
    count = negative.sum(1, keepdim=True).double()
    weight = torch.softmax(torch.where(negative, o["beta"] * s, minus_infinity), 1) * count
    weight = torch.where(count > 0, weight, torch.zeros(()))
    if o["detach"]:
        weight = weight.detach()
    most = s.max(1, keepdim=True).values.detach()
    e = torch.exp(s - most)
    denominator = (torch.where(positive, o["alpha"] * e, torch.where(negative, torch.nan_to_num(weight) * e, 0.0))).sum(1)
    p = positive.double()
    target = (1 - o["smoothing"]) * p / p.sum(1, keepdim=True) + o["smoothing"] / s.shape[1]
    return torch.log(denominator) + most[:, 0] - (target * s).sum(1)


def compute(case, o):
    live = torch.tensor([o["dead"] == 0 or (7 * i + case) % 5 != 0 for i in range(o["rows"])])
    leaves = [rows_of(case, m, o["rows"], o["width"]).requires_grad_() for m in range(o["texts"] + 1)]
    log_scale = torch.tensor(math.log(o["scale"])).requires_grad_()
    bias = torch.tensor(float(o["bias"])).requires_grad_()
    label = torch.arange(o["rows"]) % o["labels"] if o["labels"] else torch.arange(o["rows"])
    label = label[live]
    positive = label[:, None] == label[None, :]
    n = int(live.sum())
    share = {"half_mean": 0.5 / n, "sum_of_means": 1 / n, "sum": 1.0}[REDUCTIONS[o["reduction"]]]
    loss = torch.zeros(())
    for p in range(o["texts"]):
        s = log_scale.exp() * leaves[0][live] @ leaves[p + 1][live].T
        index = torch.arange(o["rows"])[live].double()
        u = 0.5 + 0.5 * torch.sin(index + p) ** 2 if o["weights"] else torch.ones(n)
        loss = loss + share * (u * (lines(s, positive, bias, o) + lines(s.T, positive, bias, o))).sum()
    loss.backward()
    sums = [(leaf.grad.flatten() * torch.cos(torch.arange(leaf.numel()).double())).sum().item() for leaf in leaves]
    return [loss.item(), log_scale.grad.item(), 0.0 if bias.grad is None else bias.grad.item(), *sums]


def main():
    draw = random.Random(5)
    for case in range(1000):
        o = {"rows": draw.randint(4, 16), "width": draw.randint(2, 6), "texts": draw.randint(1, 2),
             "sigmoid": int(draw.random() < 0.2), "reduction": draw.randrange(3)}
        soft = not o["sigmoid"]
        o.update(smoothing=draw.choice((0, 0, 0.1, 0.4)) if soft else 0, alpha=draw.choice((1, 0.999, 0.5)) if soft else 1,
                 beta=draw.choice((0, 0.25, 0.5, 2)) if soft else 0, detach=draw.randrange(2),
                 labels=draw.choice((0, 0, 2, 3)), weights=draw.randrange(2), dead=draw.randrange(2),
                 scale=draw.choice((1, 4, 14.25, 60)), bias=draw.choice((-10, -1, 2)))
        print(*o.values(), *(f"{value:.12g}" for value in compute(case, o)))


if __name__ == "__main__":
    main()
