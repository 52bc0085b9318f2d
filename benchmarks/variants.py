"""What PyTorch offers for speed, beside the plain path: an input gradient and a training step.

Channels-last is what the networks of the book are built with, so the plain path here is the other
memory format. A variant is on by itself only where it is faster and its results are the same.
Results end with the shares of the measured peak, of bf16 on a GPU only.
"""

import contextlib
import copy

import torch
from torch.nn.functional import cross_entropy

from benchmarks.measure import (
    count_input_gradient,
    count_operations,
    of_peak,
    peak,
    race,
    row,
)
from lib.attacks import input_gradient
from lib.networks import choose_device
from lib.zoo.models import build


def networks(arch):
    """Return the variants: {name: (network, context in which it runs)}."""
    last = build(arch, 10, seed=0).to(choose_device()).to(memory_format=torch.channels_last)
    kind = next(last.parameters()).device.type
    plain = copy.deepcopy(last).to(memory_format=torch.contiguous_format)
    nothing = contextlib.nullcontext
    found = {
        "plain": (plain, nothing),
        "channels-last": (last, nothing),
        "bf16 autocast": (copy.deepcopy(last), lambda: torch.autocast(kind, torch.bfloat16)),
        "torch.compile": (torch.compile(copy.deepcopy(last)), nothing),
    }
    if kind == "cuda":  # nothing else has graphs
        graphs = torch.compile(copy.deepcopy(last), mode="reduce-overhead")
        found["torch.compile with CUDA graphs"] = graphs, nothing
    return found


def step(model, x, y):
    """Take one training step, and return the gradient of the head."""
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-3)
    optimiser.zero_grad()
    cross_entropy(model(x), y).backward()
    optimiser.step()
    return next(p.grad for p in reversed(list(model.parameters())) if p.ndim > 1)


def forward(model, x, mode):
    """Run the network without gradients."""
    with mode():
        return model(x)


def rows(quick=False):
    """Measure the variants of each, and inference mode for the forward run."""
    arch, batch, rounds = ("small_resnet", 8, 1) if quick else ("small_resnet", 128, 7)
    found, variants = [], networks(arch)
    if quick:
        for name in [name for name in variants if "compile" in name]:
            del variants[name]  # it takes a minute to compile
    generator = torch.Generator().manual_seed(0)
    device = next(variants["plain"][0].parameters()).device
    x = torch.rand(batch, 3, 32, 32, generator=generator).to(device)
    y = torch.randint(0, 10, (batch,), generator=generator).to(device)
    peaks = dict.fromkeys(variants, peak(device, quick=quick))
    # A CPU may compute bf16 by float32, and more slowly; a share of that peak would say little.
    wide = peak(device, torch.bfloat16, quick=quick) if device.type == "cuda" else None
    peaks["bf16 autocast"] = wide
    for what, work, training in (
        ("an input gradient", input_gradient, False),
        ("a training step", step, True),
    ):

        def run(model, context, work=work):
            with context():
                return work(model, x, y)

        for model, _ in variants.values():
            model.train(training)
        functions = {name: lambda v=v: run(*v) for name, v in variants.items()}
        race(functions, 1)  # which warms up, and compiles
        seconds, results = race(functions, rounds)
        counted = count_input_gradient(variants["plain"][0], x, y)
        if training:
            counted = count_operations(functions["plain"])
        for name in list(variants)[1:]:
            agreed = same(results[name], results["plain"])
            if peaks[name]:
                both = ((counted, seconds[key], peaks[key]) for key in (name, "plain"))
                agreed["results"] += f"; {of_peak(*both)}"
            found.append(row(f"{what}, {name}", "plain", seconds[name], seconds["plain"], **agreed))
    model = variants["channels-last"][0].eval()
    functions = {
        "inference": lambda: forward(model, x, torch.inference_mode),
        "plain": lambda: forward(model, x, torch.no_grad),
    }
    seconds, results = race(functions, rounds)
    agreed = same(results["inference"], results["plain"])
    times = seconds["inference"], seconds["plain"]
    return [*found, row("a forward run, inference mode", "no_grad", *times, **agreed)]


def same(ours, theirs):
    """Tell how far two results differ, over the largest value, and whether by rounding only."""
    difference = float((ours - theirs).abs().max() / theirs.abs().max())
    return {"results": f"differ by {difference:.1g}", "agree": difference < 1e-4}
