"""Fine-tuning a source network to a target with few labelled images."""

import math
import time
from numbers import Integral

import pandas as pd
import torch

from lib import data
from lib.attacks import evaluating
from lib.augment import all_views, check_policy, is_grey
from lib.freezing import join
from lib.kept import collect
from lib.tails import freeze_below, fresh_views, outputs, tune
from lib.training import BATCH


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
    augment="none",
    views=1,
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
    augment: "none" or "paper", how training shows images, as in `lib.augment`; grey targets are
    shown as they are, as in the paper. views: so many random views of each image are drawn once,
    the trunk runs once for each of them, and every epoch shows the next; as many as epochs are
    never shown twice, fewer cost less, and the head may learn them by heart. 0 draws new ones in
    each epoch and keeps none: the trunk runs each time, in the memory of a batch. evaluate_at:
    epochs, 1 to `epochs`, after which to record the accuracy on the way. measures:
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
    check_policy(augment, views)
    name, train, test = named(target)
    if augment != "none" and is_grey(train.x):
        augment, views = "none", 1
    sizes, seeds = ([v] if isinstance(v, Integral) else list(v) for v in (n, seeds))
    chosen = {
        size: torch.stack([data.choose(train, size, seed) for seed in seeds]) for size in sizes
    }
    device = next(source.parameters()).device
    used = torch.cat([members.flatten() for members in chosen.values()]).unique()
    shown = (train, used) if augment == "none" else all_views(train.x, used, views)
    above, (below_test, *below_train) = freeze_below(
        source, unfrozen_blocks, [test, shown] if views else [test]
    )
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
        heed = {"seeds": seeds, "watch": watch if evaluate_at else None}
        if views:
            first = len(used) * torch.arange(views)[:, None]
            places = torch.searchsorted(used, members)[:, None] + first  # (S, V, N)
            below = (below_train[0][one] for one in places.flatten(1))
        else:
            below = iter(members)
            heed["prepare"] = fresh_views(
                source, unfrozen_blocks, train, math.ceil(size / batch_size)
            )
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
                "augment": augment,
                "views": views,
                **found[which],
                "seconds": seconds,
            }
            rows += [row | along[which, epoch] for epoch in evaluate_at] or [row]
    return pd.DataFrame(rows)


def transfer_all(plan, *, label, device="cpu", **keep):
    """Run `transfer` for each entry of a plan, several at a time, and collect the rows.

    plan: pairs (columns, call): what to note of a source, as dict, and the keyword arguments of
    `transfer`. label, device: as in `lib.parallel.each`. keep: `file` and `noted`, to keep the rows
    and to spare what is kept, as in `lib.kept.collect`.

    Returns a DataFrame, one row per fine-tuned model. Raises as `transfer` and `collect` do.
    """
    return collect(transfer, plan, label=label, device=device, **keep)


def named(target):
    """Return the name of a target, as in `transfer`, and its training and test images."""
    if not isinstance(target, tuple):
        return str(target), *data.pair(target)
    train, test = target
    if train.classes != test.classes:
        raise ValueError(
            f"the target trains {', '.join(train.classes[:5])}, but tests "
            f"{', '.join(test.classes[:5])}; both must have the same classes"
        )
    return "images", train, test
