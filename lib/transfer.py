"""Fine-tuning a source network to a target with few labelled images."""

import copy
import time
from numbers import Integral

import pandas as pd
import torch
from torch import nn

from lib import data
from lib.attacks import evaluating
from lib.freezing import split
from lib.heads import fit_heads
from lib.parallel import each
from lib.training import descend, pixels, thirds


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
):
    """Fine-tune a source to n images of a target, once for each size and seed.

    The protocol is the paper's (Utrera et al., 2021): a new linear head, all frozen but the last
    blocks, SGD with momentum 0.9, weight decay 5e-4, batches of 128, 150 epochs, the learning
    rate divided by 10 after each third. No epoch is chosen: the test set is read once, at the
    end. The frozen trunk runs once an image that is trained on or tested, and its output is kept,
    as float32 on the source's device.

    source: Network, left unchanged; its device is used. target: name or folder as in
    `lib.data.load`, or a pair of Images (train, test). n: number of training images, or several.
    unfrozen_blocks: 0 (head only), k (the last k blocks too) or −1 (everything). seeds: each
    chooses a subset of the target (the same for every source), the head's initial weights and
    the batches; one number or several. epochs, lr, batch_size, weight_decay: of the fine-tuning.

    Returns a DataFrame, one row per fine-tuned model: every parameter, the clean_accuracy on the
    test images and the train_accuracy of the last epoch (both 0 to 1), seconds.
    Raises ValueError for an n the target does not hold, epochs < 1, training and test images of
    different classes, and as `split` and `load` do.
    """
    if epochs < 1:
        raise ValueError(f"epochs is {epochs}; fine-tuning needs at least 1")
    name, train, test = _target(target)
    sizes, seeds = ([v] if isinstance(v, Integral) else list(v) for v in (n, seeds))
    chosen = {
        size: torch.stack([data.choose(train, size, seed) for seed in seeds]) for size in sizes
    }
    device = next(source.parameters()).device
    with evaluating(source):  # and back in the modes it came in
        trunk, above = split(source, unfrozen_blocks)
        used = torch.cat([members.flatten() for members in chosen.values()]).unique()
        below_train, below_test = (
            _outputs(trunk, (pixels(x.to(device)) for x in batches))
            for batches in ((train.x[part] for part in used.split(500)), test.x.split(500))
        )
    settings = {"epochs": epochs, "lr": lr, "batch_size": batch_size, "weight_decay": weight_decay}
    fit_all = _fit_heads if unfrozen_blocks == 0 else _fit_tails
    rows = []
    for size, members in chosen.items():
        start = time.perf_counter()
        tails = [_new_tail(above, len(train.classes), seed) for seed in seeds]
        y = train.y[members].to(device)
        place = torch.searchsorted(used, members)  # `used` is sorted
        found = list(fit_all(tails, below_train, place, y, below_test, seeds, settings))
        seconds = (time.perf_counter() - start) / len(seeds)
        for seed, (predicted, fitted) in zip(seeds, found, strict=True):
            rows.append(
                {
                    "target": name,
                    "n_train": size,
                    "unfrozen_blocks": unfrozen_blocks,
                    "subset_seed": seed,
                    **settings,
                    "clean_accuracy": float((predicted.cpu() == test.y).double().mean()),
                    "train_accuracy": fitted,
                    "seconds": seconds,
                }
            )
    return pd.DataFrame(rows)


def transfer_all(plan, *, label, device="cpu"):
    """Run `transfer` for each entry of a plan, several at a time, and collect the rows.

    plan: pairs (columns, call): what to note of a source, as dict, and the keyword arguments of
    `transfer`. label, device: as in `lib.parallel.each`.

    Returns a DataFrame, one row per fine-tuned model. Raises as `transfer` does.
    """
    found = each(transfer, [call for _, call in plan], label=label, device=device)
    return pd.concat(
        [rows.assign(**columns) for (columns, _), rows in zip(plan, found, strict=True)],
        ignore_index=True,
    )


def _fit_tails(tails, below_train, members, y, below_test, seeds, settings):
    """Train tails one after another; yield of each (predicted, training accuracy)."""
    for tail, chosen, labels, seed in zip(tails, members, y, seeds, strict=True):
        history = descend(tail, below_train[chosen], labels, seed=seed, schedule=thirds, **settings)
        yield _outputs(tail, below_test.split(500)).argmax(1), history[-1]["accuracy"]


def _fit_heads(tails, below_train, members, y, below_test, seeds, settings):
    """Train tails that are only heads, all at once; yield as `_fit_tails` does."""
    heads = [tail[-1] for tail in tails]
    model, fitted = fit_heads(
        heads, below_train[members], y, seeds=seeds, schedule=thirds, **settings
    )
    yield from zip(_outputs(model, [below_test]).argmax(2), fitted.tolist(), strict=True)


def _target(target):
    """Return a target's name and its training and test images."""
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


@torch.no_grad()
def _outputs(module, batches):
    """Run a module over batches, in the mode it is in."""
    return torch.cat([module(batch) for batch in batches])
