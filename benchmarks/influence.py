"""Influence of a softmax head: the paper's size by itself, a small one beside its peers.

At the paper's size (d = 2,048, 10 classes, 3,200 training and 10,000 test images) only the closed
form is run. The original way, the Hessian row by row by automatic differentiation and then its
pseudo-inverse, is told from parts: some rows at the paper's size, and the pseudo-inverse of a
smaller matrix, whose cost grows with the cube of its rows. At N = 500, d = 256 EK-FAC by
kronfluence and the Arnoldi iteration by captum are run too. Each is a process of its own: its
seconds, the largest memory it ever held (the libraries it imports take about a GiB of it), and the
rank correlation of its scores with actual retraining without each of 40 training images.
"""

import multiprocessing
import platform
import resource
import time
import warnings
from functools import cache
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from benchmarks.measure import row
from lib.influence import head_influence
from lib.studies.retraining import fit_to_optimum, leave_one_out

DAMPING = 0.005
SIZES = {"paper": (3200, 10_000, 2048), "small": (500, 200, 256), "tiny": (60, 20, 8)}
LEFT_OUT = 40


def problem(size, classes=10):
    """Draw features of overlapping classes: (features, y) for training and for test."""
    n, m, d = SIZES[size]
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(classes, d, generator=generator)
    sides = []
    for count in (n, m):
        y = torch.randint(classes, (count,), generator=generator)
        noise = torch.randn(count, d, generator=generator)
        # Rectified and of norm about 1 a feature, as those of a network.
        sides.append(((0.15 * centres[y] + noise).relu() * (4 / d**0.5), y))
    return sides


def trained(size):
    """Return the head and both sides; at the paper's size a few steps stand for its optimum."""
    (x, y), test = problem(size)
    head = nn.Linear(x.shape[1], 10)
    if size != "paper":
        weights = fit_to_optimum(x, y, 10, weight_decay=DAMPING).float()
        head.weight.data, head.bias.data = weights[:, :-1].clone(), weights[:, -1].clone()
    else:
        descent = torch.optim.SGD(head.parameters(), lr=0.5, momentum=0.9, weight_decay=DAMPING)
        for _ in range(100):
            descent.zero_grad()
            cross_entropy(head(x), y).backward()
            descent.step()
    return head.requires_grad_(False), (x, y), test


def by_lib(head, train, test):
    """Take the closed form."""
    seen = [(x, head(x).softmax(1), y) for x, y in (train, test)]
    return head_influence(*seen[0], *seen[1], damping=DAMPING)


def by_kronfluence(head, train, test):
    """Take EK-FAC, through the call of lib for longer tails."""
    from lib.studies.ekfac import tail_influence

    return tail_influence(nn.Sequential(head), *train, *test, damping=DAMPING)


def by_captum(head, train, test):
    """Take captum's Arnoldi iteration, with a basis larger than its default."""
    from captum.influence._core.arnoldi_influence_function import ArnoldiInfluenceFunction
    from torch.utils.data import TensorDataset

    model = nn.Sequential(head).requires_grad_(True)
    found = ArnoldiInfluenceFunction(
        model,
        TensorDataset(*train),
        checkpoint="as it is",
        checkpoints_load_func=lambda model, checkpoint: 1.0,
        loss_fn=nn.CrossEntropyLoss(reduction="none"),
        batch_size=len(train[1]),
        # Its Hessian is that of the sum, not of the mean.
        hessian_reg=DAMPING * len(train[1]),
        arnoldi_dim=400,
        projection_dim=300,
        sample_wise_grads_per_batch=False,
    )
    return found.influence(test)


WAYS = {"lib, exact": by_lib, "kronfluence, EK-FAC": by_kronfluence, "captum, Arnoldi": by_captum}


def most_held():
    """Return the largest memory that this process ever held, in GiB."""
    status = Path("/proc/self/status")
    if status.exists():  # for what getrusage tells there, its parent's memory counts too
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 2**20
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (2**30 if platform.system() == "Darwin" else 2**20)


def measure(way, size, pipe):
    """Run one way in this process, and send its seconds, memory in GiB and scores."""
    warnings.filterwarnings("ignore")
    head, train, test = trained(size)
    start = time.perf_counter()
    scores = WAYS[way](head, train, test)
    seconds = time.perf_counter() - start
    pipe.send((seconds, most_held(), None if size == "paper" else scores.detach().numpy()))


@cache
def alone(way, size):
    """Run one way in a process of its own."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=measure, args=(way, size, there))
    process.start()
    there.close()  # so that a process that fails ends the wait
    found = here.recv()
    process.join()
    return found


def agreement(scores, other):
    """Return the rank correlation of two matrices of scores, the mean over test images."""
    from scipy.stats import spearmanr

    return sum(spearmanr(a, b)[0] for a, b in zip(scores, other, strict=True)) / len(other)


def original(size, rows, order):
    """Tell the seconds of the original way, and of each of its two parts.

    rows: of the Hessian, that are taken. order: of the matrix whose pseudo-inverse is taken.
    """
    head, (x, y), _ = trained(size)
    weights = head.weight.clone().requires_grad_()
    count = weights.numel() + head.bias.numel()
    loss = cross_entropy(x @ weights.T + head.bias, y)
    (gradient,) = torch.autograd.grad(loss, weights, create_graph=True)
    start = time.perf_counter()
    for entry in gradient.flatten()[:rows]:
        torch.autograd.grad(entry, weights, retain_graph=True)
    hessian = (time.perf_counter() - start) / rows * count
    matrix = torch.randn(order, order)
    start = time.perf_counter()
    torch.linalg.pinv(matrix @ matrix.T, rtol=0.05)
    inverse = (time.perf_counter() - start) * (count / order) ** 3
    return hessian + inverse, hessian, inverse


def paper(size="paper", rows=50, order=2000):
    """Make the rows of the closed form alone, at the paper's size."""
    seconds, used, _ = alone("lib, exact", size)
    whole, *parts = original(size, rows, order)
    told = "Hessian {:,.0f} s, pseudo-inverse {:,.0f} s".format(*parts)
    n, m, d = SIZES[size]
    what = f"head influence, d = {d:,}, {n:,} × {m:,} images"
    return [
        row(what, "limit", seconds, 60, "≤ 1"),
        row(f"{what}, memory", "limit", used, 6, "≤ 1", unit="GiB"),
        row(what, "the original way, from its parts", seconds, whole, "≥ 1000", results=told),
    ]


def rows(quick=False):
    """Measure the paper's size alone and the small one beside its peers.

    A quick run takes one tiny size and leaves captum out, which the tests do without.
    """
    size, left_out = ("tiny", 6) if quick else ("small", LEFT_OUT)
    found = paper("tiny", 5, 30) if quick else paper()
    ways = list(WAYS)[:2] if quick else list(WAYS)
    measured = {way: alone(way, size) for way in ways}
    train, test = problem(size)
    actual = leave_one_out(train, test, range(left_out), classes=10, weight_decay=DAMPING)
    truth = {w: agreement(v[2][:, :left_out], actual) for w, v in measured.items()}
    n, m, d = SIZES[size]
    what = f"head influence, d = {d:,}, {n:,} × {m:,} images"
    seconds, used, exact = measured.pop("lib, exact")
    for way, (their_seconds, their_memory, scores) in measured.items():
        told = f"correlation with retraining {truth['lib, exact']:.3f}, {truth[way]:.3f}"
        near = agreement(scores, exact) > 0.5
        found += [
            row(what, way, seconds, their_seconds, "≤ 1", results=told, agree=near),
            row(f"{what}, memory", way, used, their_memory, "≤ 1", unit="GiB"),
        ]
    return found
