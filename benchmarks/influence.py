"""Influence of a softmax head: the paper's size by itself, a small one beside its peers.

At the paper's size (d = 2,048, 10 classes, 3,200 training and 10,000 test images) only the closed
form is run; at N = 500, d = 256 also EK-FAC by kronfluence and the Arnoldi iteration by captum.
Each row is a process of its own: its seconds, the largest memory it ever held (the libraries it
imports take about a GiB of it), and the correlation of its scores with the exact ones and with
actual retraining without each of 40 training images.
"""

import argparse
import multiprocessing
import platform
import resource
import time
import warnings

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from lib.influence import head_influence
from lib.retraining import fit_to_optimum, leave_one_out

DAMPING = 0.005
SIZES = {"paper": (3200, 10_000, 2048), "small": (500, 200, 256)}
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
    if size == "small":
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
    from lib.ekfac import tail_influence

    # With a layer in front that does nothing it no longer counts as a head alone.
    return tail_influence(nn.Sequential(nn.Identity(), head), *train, *test, damping=DAMPING)


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


def measure(way, size, pipe):
    """Run one way in this process, and send its seconds, memory in GiB and scores."""
    warnings.filterwarnings("ignore")
    head, train, test = trained(size)
    start = time.perf_counter()
    scores = WAYS[way](head, train, test)
    seconds = time.perf_counter() - start
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    scale = 2**30 if platform.system() == "Darwin" else 2**20
    pipe.send((seconds, used / scale, scores.detach().numpy() if size == "small" else None))


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


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=SIZES)
    args = parser.parse_args()
    machine = platform.processor() or platform.machine()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {machine}")
    head = f"{'size':8}{'what':22}{'seconds':>9}{'GiB':>7}{'with exact':>12}{'with retraining':>17}"
    print(head)
    for size in args.sizes:
        if size == "paper":
            seconds, used, _ = alone("lib, exact", size)
            print(f"{size:8}{'lib, exact':22}{seconds:9.2f}{used:7.2f}")
            continue
        found = {way: alone(way, size) for way in WAYS}
        exact = found["lib, exact"][2]
        train, test = problem(size)
        chosen = range(LEFT_OUT)
        actual = leave_one_out(train, test, chosen, classes=10, weight_decay=DAMPING)
        for way, (seconds, used, scores) in found.items():
            with_exact = agreement(scores, exact)
            with_truth = agreement(scores[:, :LEFT_OUT], actual)
            row = f"{size:8}{way:22}{seconds:9.2f}{used:7.2f}{with_exact:12.3f}{with_truth:17.3f}"
            print(row)


if __name__ == "__main__":
    main()
