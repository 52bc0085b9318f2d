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
    training on the others; of equal ones the smallest. Where training diverges, the largest rates
    are left out until it does not, or one is left. Where there is but one image of a class, nothing
    can be held out: the middle one is taken. With it the source is fine-tuned to all images of the
    subset. The test images are read once.

    rates: first learning rates, from the smallest. chosen_at: how many images of each subset the
    rate is chosen with, for all sizes from there on, which spares trying each rate with them all;
    None for all images. The rest: as in `transfers`, whose rows it yields, a DataFrame for each
    size. Raises as it does.
    """
    tune = partial(transfer, source, target, evaluate_at=evaluate_at, measures=measures, **protocol)
    best = cache(partial(_best, source, target[0], rates, protocol))
    for size in n:
        rows = [
            tune(n=size, seeds=[seed], lr=best(min(size, chosen_at or size), seed))
            for seed in seeds
        ]
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
    try:
        tried = transfer(source, parts, n=len(parts[0]), seeds=[seed], rates=rates, **how)
    except NotFinite:  # the largest diverges first
        return _best(source, train, rates[:-1], how, size, seed)
    return rates[tried["clean_accuracy"].idxmax()]
