"""Fine-tuning at the learning rate that suits a source, chosen by validation."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial

import pandas as pd
from torch import nn

from lib.images import Images, choose
from lib.studies.held_out import held_out
from lib.training import NotFinite
from lib.transfer import transfer

RATES = (0.01, 0.03, 0.1, 0.3)
"""First learning rates that are tried, from the smallest."""


def transfers_at_best_rate(
    source: nn.Module,
    target: tuple[Images, Images],
    *,
    n: Sequence[int],
    seeds: Sequence[int] = (0,),
    rates: Sequence[float] = RATES,
    chosen_at: int | None = None,
    evaluate_at: Sequence[int] = (),
    measures: Mapping[str, Callable[[nn.Module], float]] | None = None,
    **protocol,
) -> Iterator[pd.DataFrame]:
    """Fine-tune a source as `lib.transfer.transfers` does, at the best of several learning rates.

    For each subset the rate is taken that is right most often on HELD_OUT of its images, after
    training on the others; of equal ones the smallest. Where there is but one image of a class,
    nothing can be held out: the middle one is taken. With it the source is fine-tuned to all images
    of the subset. The test images are read once.

    rates: first learning rates. chosen_at: how many images of each subset the rate is chosen with,
    for all sizes from there on, which spares trying each rate with them all; None for all images.
    The rest: as in `transfers`, whose rows it yields, a DataFrame for each size. Raises as it does.
    """
    looked_at: dict = {"evaluate_at": evaluate_at, "measures": measures}
    best = cache(partial(_best, source, target[0], rates, protocol))
    for size in n:
        rows = []
        for seed in seeds:
            rate = best(min(size, chosen_at or size), seed)
            call = {"n": size, "seeds": [seed], "lr": rate}
            rows.append(transfer(source, target, **call, **looked_at, **protocol))
        yield pd.concat(rows, ignore_index=True)


def _best(source, train, rates, how, size, seed):
    """Choose a learning rate on a part of a subset that is held out."""
    if len(rates) == 1:
        return rates[0]
    some = train[choose(train, size, seed)]
    held = held_out(some.y, seed)
    if held is None:
        return rates[len(rates) // 2]
    parts = some[~held], some[held]
    call = {"n": len(parts[0]), "seeds": [seed], **how}
    try:
        right = transfer(source, parts, rates=rates, **call)["clean_accuracy"].tolist()
    except NotFinite:  # at one of them
        right = [_right(source, parts, lr=rate, **call) for rate in rates]
    return rates[right.index(max(right))]


def _right(source, parts, **call):
    """Return the accuracy on the held-out images, 0 where the training diverges."""
    try:
        return transfer(source, parts, **call)["clean_accuracy"].iloc[0]
    except NotFinite:
        return 0.0
