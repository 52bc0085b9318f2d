"""PGD beside its floor and its peers: K = 10, ResNet-18 at 32 pixels, batches of 128.

The floor is what any PGD must do: K forward runs and K gradients with respect to the input, with
nothing around them. Each row is a median of interleaved repetitions in this process, as a ratio
to the floor measured in the same round.
"""

import argparse
import platform
import statistics
import time
import warnings

import torch
from torch.nn.functional import cross_entropy

from lib.attacks import L2, Linf, pgd
from lib.models import build, choose_device

warnings.filterwarnings("ignore")
STEPS = 10


def floor(model, x, y):
    """Do what no PGD can do without: K forward runs and K input gradients."""
    for _ in range(STEPS):
        image = x.detach().requires_grad_()
        torch.autograd.grad(cross_entropy(model(image), y, reduction="sum"), image)


def rivals(model, ball):
    """Name each implementation of the same attack: random start, K equal steps of one size."""
    import foolbox
    import torchattacks

    alpha, linf = 2.5 * ball.eps / STEPS, isinstance(ball, Linf)
    settings = {"eps": ball.eps, "alpha": alpha, "steps": STEPS, "random_start": True}
    theirs = (torchattacks.PGD if linf else torchattacks.PGDL2)(model, **settings)
    attack = foolbox.attacks.LinfPGD if linf else foolbox.attacks.L2PGD
    attack = attack(abs_stepsize=alpha, steps=STEPS, random_start=True)
    wrapped = foolbox.PyTorchModel(model, bounds=(0, 1))
    return {
        "floor": lambda x, y: floor(model, x, y),
        "lib": lambda x, y: pgd(model, x, y, ball, steps=STEPS),
        "torchattacks": theirs,
        "foolbox": lambda x, y: attack(wrapped, x, y, epsilons=ball.eps),
    }


def seconds(function, x, y):
    """Time one call, to the end of what it started on a GPU."""
    if x.is_cuda:
        torch.cuda.synchronize()
    start = time.perf_counter()
    function(x, y)
    if x.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--arch", default="resnet18")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    device = choose_device(args.device)
    model = build(args.arch, 10).to(device).eval()
    x = torch.rand(args.batch, 3, 32, 32, device=device)
    y = torch.randint(0, 10, (args.batch,), device=device)
    threads, machine = torch.get_num_threads(), platform.processor() or platform.machine()
    print(f"{args.arch}, batch {args.batch}, K = {STEPS}, on {device}")
    print(f"torch {torch.__version__}, {threads} threads, {machine}")
    print(f"{'ball':16}{'what':14}{'seconds':>9}{'of the floor':>14}")
    for ball in (L2(0.5), Linf(8 / 255)):
        functions = rivals(model, ball)
        times = {name: [] for name in functions}
        for _ in range(args.rounds + 1):
            for name, function in functions.items():
                times[name].append(seconds(function, x, y))
        base = times["floor"][1:]  # the first round warms up
        for name, found in times.items():
            ratio = statistics.median(t / f for t, f in zip(found[1:], base, strict=True))
            print(f"{ball!s:16}{name:14}{statistics.median(found[1:]):9.3f}{ratio:14.3f}")


if __name__ == "__main__":
    main()
