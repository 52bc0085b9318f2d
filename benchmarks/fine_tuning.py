"""Fine-tuning on a frozen trunk that runs once an image, beside the loop that runs it every epoch.

The naive loop freezes in the usual way, no gradient below the tail, and feeds images to the whole
network in every epoch. What arithmetic alone allows is the ratio of the floating-point operations
of the two: once the trunk is free, a step of the tail is what remains, and no cache makes that
cheaper. Then many heads: trained together, and one after another on the same cached outputs. Each
row is a median of interleaved repetitions in this process; on a CPU, seconds of one thread, which
is what a worker of the book has, not counting those that other programs took.
"""

import argparse
import copy
import platform
import statistics
import time
import warnings

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lib import data, models, sources
from lib.freezing import freeze, split
from lib.heads import fit_heads
from lib.training import accuracy, descend, pixels, thirds
from lib.transfer import freeze_below, transfer

warnings.filterwarnings("ignore")
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
        images = data.subset(train, n, seed)
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


def allowed(source, unfrozen_blocks, size=32):
    """Count the operations of a step of the whole frozen network over those of its tail."""
    model = whole_network(source, 10, unfrozen_blocks).train()
    trunk, tail = split(copy.deepcopy(model), unfrozen_blocks)
    counts, x = [], torch.rand(2, 3, size, size)
    with torch.no_grad():
        below = trunk(x)
    for module, inputs in ((model, x), (tail, below)):
        with FlopCounterMode(display=False) as counter:
            module(inputs).sum().backward()
        counts.append(counter.get_total_flops())
    return counts[0] / counts[1]


def together(heads, features, y, epochs):
    """Train the heads side by side; return the mean training accuracy of their last epoch."""
    settings = {"epochs": epochs, "seeds": range(len(heads)), "schedule": thirds, **SETTINGS}
    return float(fit_heads(heads, features, y, **settings)[1].mean())


def one_by_one(heads, features, y, epochs):
    """Train the heads one after another; return the same."""
    settings = {"epochs": epochs, "schedule": thirds, **SETTINGS}
    return statistics.fmean(
        descend(copy.deepcopy(head), *given, seed=seed, **settings)[-1]["accuracy"]
        for seed, (head, *given) in enumerate(zip(heads, features, y, strict=True))
    )


def clock():
    """Tell the time: of this process, or of the wall where a GPU does the work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def race(rounds, slow, fast, call, epochs):
    """Time two functions in turn; return (median seconds of each, median ratio, their results)."""
    times, results = ([], []), [slow(*call, 1), fast(*call, 1)]  # which warms up
    for _ in range(rounds):
        for which, function in enumerate((slow, fast)):
            start = clock()
            results[which] = function(*call, epochs)
            times[which].append(clock() - start)
    ratio = statistics.median(s / f for s, f in zip(*times, strict=True))
    return *map(statistics.median, times), ratio, *results


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--arch", default="small_resnet")
    parser.add_argument("--n", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=150)
    parser.add_argument("--heads", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    torch.set_num_threads(1)
    device = models.choose_device(args.device)
    source = sources.untrained(data.load("microcosm", n=500), arch=args.arch, device=device)
    target = data.load("digits"), data.load("digits", "test")
    machine, threads = platform.processor() or platform.machine(), torch.get_num_threads()
    print(f"{args.arch} on {device}, digits, N = {args.n}, {args.epochs} epochs")
    print(f"torch {torch.__version__}, {threads} threads, {machine}")
    print(f"{'what':34}{'naive s':>9}{'ours s':>9}{'times':>8}{'allowed':>9}   accuracies, %")
    line = "{:34}{:9.2f}{:9.2f}{:8.1f}{:>9}   {:.1f} {:.1f}"
    for k, subsets in ((0, 1), (0, 4), (1, 1)):
        call = source, target, args.n, k, range(subsets)
        slow, fast, ratio, *found = race(args.rounds, naive, cached, call, args.epochs)
        what = f"{('head only', 'one block unfrozen')[k]}, {subsets} of a source"
        bound = f"{allowed(copy.deepcopy(source).cpu(), k):,.1f}"
        print(line.format(what, slow, fast, ratio, bound, *(100 * share for share in found)))
    train = data.subset(target[0], args.n, seed=0)
    _, (below,) = freeze_below(source, 0, [train])
    features, y = below.expand(args.heads, *below.shape), train.y.to(device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        heads = [nn.Linear(below.shape[1], 10).to(device) for _ in range(args.heads)]
    call = heads, features, y.expand(args.heads, -1)
    slow, fast, ratio, *found = race(args.rounds, one_by_one, together, call, args.epochs)
    what = f"{args.heads} heads together"
    print(line.format(what, slow, fast, ratio, "", *(100 * share for share in found)))
    print("one block unfrozen, what arithmetic allows in other networks:")
    for arch, size in (("resnet18", 32), ("torchvision:resnet18", 224), ("resnet50", 224)):
        bound = allowed(models.build(arch, 10), 1, size)
        print(f"  {arch} at {size} pixels: {bound:.1f} times")


if __name__ == "__main__":
    main()
