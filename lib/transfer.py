"""Fine-tuning a source network to a target with few labelled images."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from numbers import Integral

import pandas as pd
import torch
from torch import nn

from lib.attacks import evaluating
from lib.augmentation import all_views, check_policy, is_grey
from lib.freezing import join
from lib.images import Images, choose
from lib.training import BATCH, check_finite, steps_per_epoch
from lib.tuning import Recipe, freeze_below, fresh_views, outputs, tune


def transfer(
    source: nn.Module, target: tuple[Images, Images], *, n: int | Sequence[int], **protocol
) -> pd.DataFrame:
    """Fine-tune a source network to n images of a target, once for each size, rate and seed.

    n: number of training images, or several. The rest: as in `transfers`.

    Returns the rows of all sizes in one DataFrame. Raises as `transfers` does.
    """
    return pd.concat(transfers(source, target, n=_as_list(n), **protocol), ignore_index=True)


def transfers(
    source: nn.Module,
    target: tuple[Images, Images],
    *,
    n: Sequence[int],
    unfrozen_blocks: int = 0,
    seeds: int | Sequence[int] = (0,),
    rates: Sequence[float] = (),
    augment: str = "none",
    views: int = 1,
    evaluate_at: Sequence[int] = (),
    measures: Mapping[str, Callable[[nn.Module], float]] | None = None,
    **recipe,
) -> Iterator[pd.DataFrame]:
    """Fine-tune a source network to n images of a target, once for each size, rate and seed.

    The protocol follows the paper's (Utrera et al., 2021): a new linear head, all frozen but the
    last blocks, SGD with momentum 0.9, weight decay 5e-4, batches of 128, 150 epochs, the learning
    rate divided by 10 after each third. No epoch is chosen: what is recorded on the way decides
    nothing. The frozen trunk runs once an image that is trained on or tested, and its output is
    kept, as float32 on the source's device.

    source: left unchanged; its device is used. target: training and test images. n: numbers of
    training images. unfrozen_blocks: 0 (head only), k (the last k blocks too) or −1 (everything).
    seeds: each chooses a subset of the target (the same for every source), the head's initial
    weights and the batches; one number or several. rates: first learning rates, in place of the
    recipe's lr, each for all subsets; the trunk runs once for all of them. augment: "none", "crops"
    or "paper", how training shows images, as in `lib.augmentation`; grey targets are shown as they
    are, as in the paper. views: so many random views of each image are drawn once, the trunk runs
    once for each of them, and every epoch shows the next; as many as epochs are never shown twice,
    fewer cost less, and the head may learn them by heart. 0 draws new ones in each epoch and keeps
    none: the trunk runs each time, in the memory of a batch. evaluate_at: epochs, 1 to all, after
    which to record the accuracy, or none for the last alone. measures: by column, functions of the
    whole fine-tuned network in eval mode. recipe: as in `lib.tuning.Recipe`.

    Yields a DataFrame for each size, in the order of n, as soon as it is there: one row per
    fine-tuned model and epoch recorded, with every parameter, the epoch, the clean_accuracy on the
    test images after it, the train_accuracy of the last epoch (both 0 to 1), seconds, the measures.
    Where the largest size is the same, the trunk sees the same batches: other sizes beside it then
    change no bit. Raises ValueError for an n the target does not hold, others than its epochs in
    evaluate_at, training and test images of different classes, and as `Recipe`,
    `lib.freezing.split` and `lib.training.descend` do; NotFinite, which is one, where the source's
    weights or outputs are not finite, and what is trained no longer is.
    """
    how = Recipe(**recipe)
    train, test = target
    recorded = tuple(evaluate_at) or (how.epochs,)
    _check(train, test, recorded, how)
    check_policy(augment, views)
    if augment != "none" and is_grey(train.x):
        augment, views = "none", 1
    draws = _as_list(seeds)
    models = [(rate, seed) for rate in rates or [how.lr] for seed in draws]
    chosen = {k: torch.stack([choose(train, k, seed) for seed in draws]) for k in n}
    used = torch.cat([members.flatten() for members in chosen.values()]).unique()
    parts = _run_trunk(source, unfrozen_blocks, target, used, augment, views)
    measure = partial(_measure, source, unfrozen_blocks, measures or {})
    for size, members in chosen.items():
        start = time.perf_counter()
        shown: dict = {"views": views or 1}
        members = members.repeat(len(models) // len(draws), 1)  # at each rate
        if not views:
            steps = steps_per_epoch(size, how.batch_size)
            shown["prepare"] = fresh_views(source, unfrozen_blocks, train, steps, augment)
        places = _places(members, used, views)
        rows = _fit_size(
            models, parts, places, train.y[members], test, how, recorded, measure, shown
        )
        settings = {"n_train": size, "unfrozen_blocks": unfrozen_blocks, **asdict(how)}
        settings |= {"augment": augment, "views": views}
        settings["seconds"] = (time.perf_counter() - start) / len(models)
        yield pd.DataFrame([{**settings, **row} for row in rows])


def _as_list(value):
    """Return one number, or several, as a list."""
    return [value] if isinstance(value, Integral) else list(value)


def _run_trunk(network, unfrozen_blocks, target, used, augment, views):
    """Run the frozen trunk over the test images, and over the views of the images used.

    Returns the tail above the trunk, the trunk's outputs for the test images, and those for the
    views (views · M, …) or, where views is 0, the positions of all training images.
    """
    train, test = target
    if not views:
        above, (below_test,) = freeze_below(network, unfrozen_blocks, [test])
        return above, below_test, torch.arange(len(train), device=below_test.device)
    plain = (train.x[part] for part in used.split(BATCH))
    shown = plain if augment == "none" else all_views(train.x, used, views, policy=augment)
    above, (below_test, below) = freeze_below(network, unfrozen_blocks, [test, shown])
    return above, below_test, below


def _places(members, used, views):
    """Tell where in the trunk's outputs the images of subsets (S, N) lie, (S, views · N)."""
    if not views:
        return members
    first = len(used) * torch.arange(views)[:, None]  # of each view
    return (torch.searchsorted(used, members)[:, None] + first).flatten(1)


def _fit_size(models, parts, places, y, test, recipe, recorded, measure, shown):
    """Fine-tune a tail to each subset of one size, and score it on the test images.

    models: (rate, seed) of each of S. parts: as `_run_trunk` returns. places, y: (S, …) of the
    training images. recorded: epochs. measure: of the tail. shown: more of `lib.tuning.Lessons`.

    Returns a dict for each model and epoch recorded, of what differs between them.
    """
    above, below_test, below = parts
    accuracies: dict[tuple[int, int], float] = {}  # by the tail's number and the epoch
    tails = tune(
        above,
        below,
        places,
        y,
        len(test.classes),
        recipe,
        seeds=[seed for _, seed in models],
        rates=[rate for rate, _ in models],
        evaluate=partial(_score, accuracies, below_test, test.y),
        evaluate_at=recorded,
        **shown,
    )
    ended = [{"train_accuracy": accuracy, **measure(tail)} for tail, accuracy in tails]
    return [
        {"lr": rate, "subset_seed": seed, "epoch": epoch}
        | {"clean_accuracy": accuracies[which, epoch], **ended[which]}
        for which, (rate, seed) in enumerate(models)
        for epoch in recorded
    ]


def _score(accuracies, below_test, y, which, epoch, tail):
    """Note a tail's accuracy on the test images, 0 to 1."""
    with evaluating(tail):
        logits = outputs(tail, below_test.split(BATCH))
    check_finite([logits], "the logits of the test images", "lower lr")
    accuracies[which, epoch] = float((logits.argmax(1).cpu() == y).double().mean())


def _measure(source, unfrozen_blocks, measures, tail):
    """Return what is measured of the whole network with a fine-tuned tail, by column."""
    whole = join(source, unfrozen_blocks, tail) if measures else None
    return {column: measure(whole) for column, measure in measures.items()}


def _check(train, test, recorded, how):
    """Raise ValueError for different classes in training and test images, and for other epochs."""
    if train.classes != test.classes:
        raise ValueError(
            f"the target trains {', '.join(train.classes[:5])}, but tests "
            f"{', '.join(test.classes[:5])}; both must have the same classes"
        )
    for epoch in recorded:
        if epoch not in range(1, how.epochs + 1):
            raise ValueError(f"evaluate_at holds {epoch}; allowed are the epochs 1 to {how.epochs}")
