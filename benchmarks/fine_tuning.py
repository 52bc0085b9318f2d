"""Fine-tuning on a frozen trunk that runs once an image, beside the loop that runs it every epoch.

The naive loop freezes in the usual way, no gradient below the tail, and feeds images to the whole
network in every epoch. Both test what they have trained, on all test images. What arithmetic alone
allows is the ratio of the floating-point operations of the two: once the trunk is free, a step of
the tail is what remains, and no cache makes that cheaper. Then many heads: trained together, and
one after another on the same cached outputs. One thread, which is what a worker of the book has.
"""

import copy
import statistics

import torch
from torch import nn

from benchmarks.measure import count_operations, of_peak, peak, race, row
from lib import datasets
from lib.freezing import freeze, split
from lib.images import subset
from lib.networks import choose_device
from lib.robustness import accuracy
from lib.studies import pretrained
from lib.training import descend, pixels, thirds
from lib.transfer import transfer
from lib.tuning import Lessons, Recipe, fit_heads, freeze_below
from lib.zoo import models

SETTINGS = {"lr": 0.1, "batch_size": 128, "weight_decay": 5e-4}


def whole_network(source, classes, unfrozen_blocks, seed=0):
    """Freeze a copy of the source, with a new head."""
    model = copy.deepcopy(source).requires_grad_(True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = nn.Linear(source.head.in_features, classes)
    model.head = head.to(source.head.weight.device)
    return freeze(model, unfrozen_blocks)


def naive(source, target, n, unfrozen_blocks, seeds, epochs):
    """Run the frozen trunk in every epoch; return the mean test accuracy over the seeds."""
    train, test = target
    shares = []
    for seed in seeds:
        model = whole_network(source, len(train.classes), unfrozen_blocks, seed)
        images = subset(train, n, seed)
        descend(
            model, images.x, images.y, epochs=epochs, seed=seed, schedule=thirds,
            prepare=lambda x, y, step: pixels(x), **SETTINGS,
        )  # fmt: skip
        shares.append(accuracy(model, test))
    return statistics.fmean(shares)


def cached(source, target, n, unfrozen_blocks, seeds, epochs):
    """Run the trunk once an image; return the same."""
    settings = {"n": n, "unfrozen_blocks": unfrozen_blocks, "seeds": seeds, "epochs": epochs}
    return transfer(source, target, **settings, **SETTINGS)["clean_accuracy"].mean()


def operations(source, unfrozen_blocks, size=32):
    """Count the operations of a step of the whole frozen network, and of its tail alone."""
    model = whole_network(source, 10, unfrozen_blocks).train()
    trunk, tail = split(copy.deepcopy(model), unfrozen_blocks)
    counts, x = [], torch.rand(2, 3, size, size)
    with torch.no_grad():
        below = trunk(x)
    for module, inputs in ((model, x), (tail, below)):
        counts.append(count_operations(lambda m=module, v=inputs: m(v).sum().backward()))
    return counts


def operations_of(way, call, epochs):
    """Count the operations of all epochs of a call, from those of one and of two."""
    one, two = (count_operations(lambda n=n: way(*call, n)) for n in (1, 2))
    return one + (epochs - 1) * (two - one)


def together(heads, below, y, epochs):
    """Train the heads side by side; return the mean training accuracy of their last epoch."""
    tails, recipe = [nn.Sequential(head) for head in heads], Recipe(epochs, **SETTINGS)
    members = torch.arange(len(below), device=below.device).expand_as(y)
    tuned = fit_heads(tails, Lessons(below, members, y, recipe, range(len(heads))))
    return statistics.fmean(share for _, share in tuned)


def one_by_one(heads, below, y, epochs):
    """Train the heads one after another; return the same."""
    settings = {"epochs": epochs, "schedule": thirds, **SETTINGS}
    return statistics.fmean(
        descend(copy.deepcopy(head), below, labels, seed=seed, **settings)[-1]["accuracy"]
        for seed, (head, labels) in enumerate(zip(heads, y, strict=True))
    )


def shares(results):
    """Tell both test accuracies, ours first, and whether they are equal but for an image in 100."""
    ours, theirs = results["lib"], results["peer"]
    return {"results": f"{ours:.1%}, {theirs:.1%}", "agree": abs(ours - theirs) <= 0.01}


def rows(quick=False):
    """Measure models alone and several of one source, tails of one block, and heads together."""
    n, epochs, count, rounds = (32, 3, 3, 1) if quick else (128, 150, 20, 3)
    torch.set_num_threads(1)
    source = pretrained.untrained(datasets.load("microcosm", n=500))
    target = datasets.load("digits"), datasets.load("digits", "test")
    best = peak(next(source.parameters()).device, quick=quick)
    found = [
        beside_naive("small_resnet", source, target, n, *case, epochs, rounds, best)
        for case in ((0, 1), (0, 4), (1, 1))
    ]
    if not quick:
        # The paper's network and size; as many epochs as the naive loop can have in a minute.
        device, images = choose_device(), datasets.load("microcosm", n=20, size=224)
        large = models.build("resnet50", 10).to(device).eval()
        case = large, (images, images), 10, 1, 1, 40, 1, peak(device)
        found += [
            beside_naive("ResNet-50 at 224 pixels", *case),
            floating_point("resnet18", 32),
            floating_point("resnet50", 224),
        ]
    return [*found, many_heads(source, target, n, epochs, count, rounds)]


def beside_naive(name, source, target, n, unfrozen_blocks, subsets, epochs, rounds, best):
    """Make a row of fine-tuning on a trunk that runs once, beside the naive loop.

    best: the peak of the source's device, in operations a second.
    """
    call = source, target, n, unfrozen_blocks, range(subsets)
    cached(*call, 1)  # which warms up
    functions = {"lib": lambda: cached(*call, epochs), "peer": lambda: naive(*call, epochs)}
    seconds, results = race(functions, rounds)
    depth = ("head only", "one block unfrozen")[unfrozen_blocks]
    what = f"fine-tuning {name}, {depth}, {subsets} of a source"
    size = target[0].x.shape[-1]
    whole, tail = operations(copy.deepcopy(source).cpu(), unfrozen_blocks, size)
    beside = f"trunk in each of {epochs} epochs (arithmetic allows {whole / tail:,.3g})"
    times, aim = (seconds["lib"], seconds["peer"]), (20, 5)[unfrozen_blocks]
    told = shares(results)
    counted = (operations_of(way, call, epochs) for way in (cached, naive))
    reached = of_peak(*((n, taken, best) for n, taken in zip(counted, times, strict=True)))
    told["results"] += f"; {reached}"
    return row(what, beside, *times, f"≥ {aim}", **told)


def floating_point(arch, size):
    """Make a row of what arithmetic allows with one block unfrozen in another network."""
    model = models.build(arch, 10)
    whole, tail = operations(model, 1, size)
    what = f"a step, one block unfrozen, {arch} at {size} pixels"
    return row(what, "the whole network's operations", tail / 1e9, whole / 1e9, "≥ 5", unit="GFLOP")


def many_heads(source, target, n, epochs, count, rounds):
    """Measure heads on subsets of one target, trained together and one after another."""
    train = subset(target[0], n, seed=0)
    _, (below,) = freeze_below(source, 0, [train])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        heads = [nn.Linear(below.shape[1], 10).to(below.device) for _ in range(count)]
    call = heads, below, train.y.to(below.device).expand(count, -1), epochs
    together(*call[:3], 1)  # which warms up
    functions = {"lib": lambda: together(*call), "peer": lambda: one_by_one(*call)}
    seconds, results = race(functions, rounds)
    what, times = f"{count} heads of one configuration, together", (seconds["lib"], seconds["peer"])
    return row(what, "one after another", *times, "≥ 2", **shares(results))
