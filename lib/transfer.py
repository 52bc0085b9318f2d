"""Fine-tuning a source network to a target with few labelled images."""

import copy
import math
import time
from functools import partial
from numbers import Integral

import pandas as pd
import torch
from torch import nn

from lib import data
from lib.attacks import evaluating
from lib.freezing import join, split
from lib.heads import fit_heads
from lib.parallel import collect
from lib.training import BATCH, descend, pixels, thirds


def transfer(
    source,
    target,
    *,
    n,
    unfrozen_blocks=0,
    seeds=(0,),
    epochs=150,
    lr=0.1,
    batch_size=128,
    weight_decay=5e-4,
    evaluate_at=(),
    measures=None,
):
    """Fine-tune a source to n images of a target, once for each size and seed.

    The protocol is the paper's (Utrera et al., 2021): a new linear head, all frozen but the last
    blocks, SGD with momentum 0.9, weight decay 5e-4, batches of 128, 150 epochs, the learning
    rate divided by 10 after each third. No epoch is chosen: what is recorded on the way decides
    nothing. The frozen trunk runs once an image that is trained on or tested, and its output is
    kept, as float32 on the source's device.

    source: Network, left unchanged; its device is used. target: name or folder as in
    `lib.data.load`, or a pair of Images (train, test). n: number of training images, or several.
    unfrozen_blocks: 0 (head only), k (the last k blocks too) or −1 (everything). seeds: each
    chooses a subset of the target (the same for every source), the head's initial weights and
    the batches; one number or several. epochs, lr, batch_size, weight_decay: of the fine-tuning.
    evaluate_at: epochs, 1 to `epochs`, after which to record the accuracy on the way. measures:
    {column: function of the whole fine-tuned Network, in eval mode, to a number}.

    Returns a DataFrame, one row per fine-tuned model: every parameter, the clean_accuracy on the
    test images and the train_accuracy of the last epoch (both 0 to 1), seconds, the measures.
    With `evaluate_at`, one row per model and epoch, the column epoch beside the others, and
    clean_accuracy that after this epoch.
    Raises ValueError for an n the target does not hold, epochs < 1, others in evaluate_at,
    training and test images of different classes, and as `split` and `load` do.
    """
    if epochs < 1:
        raise ValueError(f"epochs is {epochs}; fine-tuning needs at least 1")
    for epoch in evaluate_at:
        if epoch not in range(1, epochs + 1):
            raise ValueError(f"evaluate_at holds {epoch}; allowed are the epochs 1 to {epochs}")
    name, train, test = named(target)
    sizes, seeds = ([v] if isinstance(v, Integral) else list(v) for v in (n, seeds))
    chosen = {
        size: torch.stack([data.choose(train, size, seed) for seed in seeds]) for size in sizes
    }
    device = next(source.parameters()).device
    used = torch.cat([members.flatten() for members in chosen.values()]).unique()
    above, (below_train, below_test) = freeze_below(source, unfrozen_blocks, [(train, used), test])
    settings = {"epochs": epochs, "lr": lr, "batch_size": batch_size, "weight_decay": weight_decay}
    along, rows = {}, []

    def score(tail):
        with evaluating(tail):
            predicted = outputs(tail, below_test.split(BATCH)).argmax(1)
        return {"clean_accuracy": float((predicted.cpu() == test.y).double().mean())}

    def watch(which, epoch, tail):
        if epoch in evaluate_at:
            along[which, epoch] = {"epoch": epoch, **score(tail)}

    def measured(tail):
        whole = join(source, unfrozen_blocks, tail) if measures else None
        return {column: measure(whole) for column, measure in (measures or {}).items()}

    for size, members in chosen.items():
        start = time.perf_counter()
        y = train.y[members].to(device)
        below = (below_train[one] for one in torch.searchsorted(used, members))
        heed = {"seeds": seeds, "watch": watch if evaluate_at else None}
        found = [
            {**score(tail), "train_accuracy": fitted, **measured(tail)}
            for tail, fitted in tune(above, below, y, len(train.classes), **heed, **settings)
        ]
        seconds = (time.perf_counter() - start) / len(seeds)
        for which, seed in enumerate(seeds):
            row = {
                "target": name,
                "n_train": size,
                "unfrozen_blocks": unfrozen_blocks,
                "subset_seed": seed,
                **settings,
                **found[which],
                "seconds": seconds,
            }
            rows += [row | along[which, epoch] for epoch in evaluate_at] or [row]
    return pd.DataFrame(rows)


def transfer_all(plan, *, label, device="cpu"):
    """Run `transfer` for each entry of a plan, several at a time, and collect the rows.

    plan: pairs (columns, call): what to note of a source, as dict, and the keyword arguments of
    `transfer`. label, device: as in `lib.parallel.each`.

    Returns a DataFrame, one row per fine-tuned model. Raises as `transfer` does.
    """
    return collect(transfer, plan, label=label, device=device)


def freeze_below(source, unfrozen_blocks, sets):
    """Run what stays frozen of a source over sets of images, once an image.

    source, unfrozen_blocks: as in `transfer`. sets: several, each Images or a pair (Images, the
    positions, int64 (n,), of those to run); pixels are taken batch by batch.

    Returns (tail, outputs): what `lib.freezing.split` leaves above, and for each set the trunk's
    outputs (N, …).
    """
    device = next(source.parameters()).device
    with evaluating(source):  # and back in the modes it came in
        trunk, above = split(source, unfrozen_blocks)
        pairs = (s if isinstance(s, tuple) else (s, torch.arange(len(s))) for s in sets)
        return above, [
            outputs(trunk, (pixels(images.x[part].to(device)) for part in chosen.split(BATCH)))
            for images, chosen in pairs
        ]


def tune(above, below, y, classes, *, seeds, watch=None, **settings):
    """Train copies of a tail with new heads, each on features and labels of its own.

    above: the tail, left unchanged. below: the trunk's outputs, S times (N, …), taken one by one
    where they can be. y: int64 (S, N), of 0 to classes − 1. seeds: S numbers, of the new heads and
    the batches. watch: called after each epoch with the tail's number, 0 to S − 1, the number of
    epochs done and the tail, to look and not to touch; or None. settings: epochs, lr, batch_size
    and weight_decay, as in `transfer`.

    Yields (tail in eval mode, training accuracy of the last epoch), S times.
    """
    tails = [_new_tail(above, classes, seed) for seed in seeds]
    if len(above) == 1:  # the heads alone: all at once
        heads = [tail[-1] for tail in tails]

        def each_head(epoch, heads):
            for which, head in enumerate(heads):
                watch(which, epoch, nn.Sequential(head))

        heads, fitted = fit_heads(
            heads,
            torch.stack(list(below)),
            y,
            seeds=seeds,
            schedule=thirds,
            watch=watch and each_head,
            **settings,
        )
        yield from zip(map(nn.Sequential, heads), fitted.tolist(), strict=True)
        return
    for which, (tail, inputs, labels, seed) in enumerate(zip(tails, below, y, seeds, strict=True)):
        look = watch and partial(watch, which)
        yield tail, _descend_watched(tail, inputs, labels, look, seed=seed, **settings)


def _descend_watched(tail, inputs, y, look, *, batch_size, **settings):
    """Train a tail, look at it after each epoch, and return its last training accuracy."""
    steps = math.ceil(len(y) / batch_size)

    def look_back(batch, labels, step):
        if step and step % steps == 0:
            look(step // steps, tail)
        return batch

    prepare = look and look_back
    history = descend(
        tail, inputs, y, batch_size=batch_size, schedule=thirds, prepare=prepare, **settings
    )
    if look:
        look(len(history), tail)
    return history[-1]["accuracy"]


@torch.no_grad()
def outputs(module, batches):
    """Run a module over batches, in the mode it is in."""
    return torch.cat([module(batch) for batch in batches])


def named(target):
    """Return the name of a target, as in `transfer`, and its training and test images."""
    if not isinstance(target, tuple):
        return str(target), data.load(target, "train"), data.load(target, "test")
    train, test = target
    if train.classes != test.classes:
        raise ValueError(
            f"the target trains {', '.join(train.classes[:5])}, but tests "
            f"{', '.join(test.classes[:5])}; both must have the same classes"
        )
    return "images", train, test


def _new_tail(above, num_classes, seed):
    """Copy what is trained of the source, with a new head in PyTorch's default initialisation."""
    tail, old = copy.deepcopy(above).requires_grad_(True), above[-1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tail[-1] = nn.Linear(old.in_features, num_classes).to(old.weight.device)
    return tail
