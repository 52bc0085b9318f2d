"""Means with intervals that respect the two levels: subsets within source seeds.

One source network is one draw of the luck of training; the subsets of a target it is fine-tuned
on are draws within it. Averaging over the subsets of each source seed first, and taking
Student's t interval over the seeds' means, counts both: the spread of these means holds the
luck of the subsets as well as that of the source. It needs the subsets of different source seeds
to be different ones: what all seeds share would move all means together, and no spread would tell.
Subsets that take in most of the images there are share most of them: then the interval counts
little of the luck of the images, and is one for these.
Of one network a source, as a checkpoint is, the subsets alone are draws: the
interval is over them, and says nothing of the luck of training.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import t as student

from lib.constraint import NATURAL

Limits = tuple[float, float]
NONE = (-np.inf, np.inf)
EQUAL = 1e-12
"""Values no further apart are the same: what is left is rounding."""


def interval(
    values: ArrayLike, *, level: float = 0.95, limits: Limits = NONE
) -> tuple[float, float, float]:
    """Return (mean, low, high): Student's t interval of the mean of independent values.

    values: 1-d. level: of confidence, 0 to 1. limits: what the mean cannot leave, as (0, 1) for a
    share near one of its ends; Student's interval, which does not know that, is cut there. With
    fewer than two values, and where all are the same, low and high are NaN: that tells nothing of
    the spread. Raises ValueError where there are no values.
    """
    values = np.asarray(values, dtype=float)
    if values.size == 0:
        raise ValueError("no values to take a mean of")
    mean = values.mean()
    if np.ptp(values) < EQUAL:
        return mean, np.nan, np.nan
    half = _half_width(values, level)
    low, high = np.clip([mean - half, mean + half], *limits)
    return mean, low, high


def resampled(
    values: ArrayLike, test_share: float, *, level: float = 0.95
) -> tuple[float, float, float]:
    """Return (mean, low, high) over repeated random splits of the same images.

    Such splits overlap, so their spread understates the luck of the images: the variance of the
    mean is enlarged as Nadeau and Bengio (2003) propose, from s²/R to (1/R + q/(1 − q))·s² with R
    splits and the share q kept for testing.

    values: one for each split. test_share: q, between 0 and 1. level: as in `interval`. With fewer
    than two values low and high are NaN; where all are the same they are the mean. Raises
    ValueError where there are no values.
    """
    values = np.asarray(values, dtype=float)
    mean, *_ = interval(values, level=level)
    widening = (1 + values.size * test_share / (1 - test_share)) ** 0.5
    widened = widening * _half_width(values, level) if values.size > 1 else np.nan
    return mean, mean - widened, mean + widened


def _half_width(values, level):
    """Return half of the width of Student's t interval."""
    return student.ppf((1 + level) / 2, values.size - 1) * values.std(ddof=1) / values.size**0.5


def summary(
    rows: pd.DataFrame,
    value: str,
    by: Sequence[str],
    *,
    seed: str = "source_seed",
    level: float = 0.95,
    limits: Limits = NONE,
) -> pd.DataFrame:
    """Summarise a column over source seeds, for each combination of the columns `by`.

    rows: one row per model. value: the column to average, first within each `seed`; where all rows
    share one, within each subset_seed, if there is such a column. level, limits: as in `interval`.

    Returns the columns `by`, mean, low, high, seeds, their number, and of_seeds, a tuple of
    what was averaged, in the order in which the combinations first occur. Raises ValueError for a
    value that is not a number, and for a subset_seed that several seeds share.
    """
    check_numbers(rows, value, [*by, seed])
    _check_subsets(rows, by, seed)
    if "subset_seed" in rows and rows[seed].nunique() == 1:
        seed = "subset_seed"
    means = _groups(rows, [*by, seed])[value].mean().reset_index()
    summaries = [
        (*key, *interval(group[value], level=level, limits=limits), len(group), tuple(group[value]))
        for key, group in _groups(means, by)
    ]
    return pd.DataFrame(summaries, columns=[*by, "mean", "low", "high", "seeds", "of_seeds"])


def paired(
    rows: pd.DataFrame,
    value: str,
    by: Sequence[str],
    *,
    over: Sequence[str] = (),
    compared: str = "constraint",
    reference: object = NATURAL,
    seed: str = "source_seed",
    limits: Limits | None = None,
) -> pd.DataFrame:
    """Summarise the differences of all that is compared to a reference, pair by pair.

    A pair shares all that is drawn: target, size, source seed and subset. rows: one row per model,
    with the columns `compared`, `seed`, those of `by` and `over` and, where there are several
    subsets of a seed, subset_seed. over: columns whose cells share networks, as sizes do: they are
    one experiment, and their differences are averaged within each seed. reference: one of the
    values of the column `compared`. limits: of the differences, as in `interval`, or None: then
    where all values lie from 0 to 1, as shares do, −1 and 1, and else none.

    Returns the columns `by` and `compared`, and of the differences what `summary` does, in the
    order in which the combinations first occur. Raises ValueError where a row has no partner in the
    reference, where there are several for the same draw, where a seed lacks a cell of `over` that
    another has, and as `summary` does.
    """
    keys = [*by, *over, seed, *(["subset_seed"] if "subset_seed" in rows else [])]
    check_draws(rows, value, [compared, *keys])
    others, base = rows[rows[compared] != reference], rows[rows[compared] == reference]
    pairs = others.merge(base[[*keys, value]], on=keys, how="left", suffixes=("", "_reference"))
    pairs["difference"] = pairs[value] - pairs[f"{value}_reference"]
    alone = pairs.loc[pairs["difference"].isna(), [compared, *keys]]
    if len(alone):
        raise ValueError(f"no {reference} row to pair with {_cell(alone)}")
    check_balance(pairs, [*by, compared], over, seed=seed)
    if limits is None:
        limits = (-1, 1) if rows[value].between(0, 1).all() else NONE
    return summary(pairs, "difference", [*by, compared], seed=seed, limits=limits)


def slopes(rows: pd.DataFrame, value: str, by: Sequence[str], *, over: str) -> pd.DataFrame:
    """Fit a line to a column against another, in each combination of the columns `by`.

    rows: those of one place are averaged first. over: a column of numbers. Least squares.

    Returns the columns `by` and slope, in units of value for one of `over`, in the order in which
    the combinations first occur; what has fewer than two places is left out. Raises ValueError for
    a value that is not a number.
    """
    check_numbers(rows, value, [*by, over])
    places = _groups(rows, [*by, over])[value].mean().reset_index()
    fitted = [
        (*key, np.polyfit(line[over].astype(float), line[value], 1)[0])
        for key, line in _groups(places, by)
        if len(line) > 1
    ]
    return pd.DataFrame(fitted, columns=[*by, "slope"])


def by_doubling(rows: pd.DataFrame, value: str, by: Sequence[str]) -> pd.DataFrame:
    """Return `slopes` along log2 of the column n_train, in units of value for each doubling."""
    doubled = rows.assign(doublings=np.log2(rows["n_train"]))
    return slopes(doubled, value, by, over="doublings")


def rank_correlation(
    rows: pd.DataFrame, first: str, second: str, by: Sequence[str] = ()
) -> pd.DataFrame:
    """Summarise Spearman's rank correlation of two columns within each source seed.

    rows: one row per network. Where a column does not vary there is no correlation; such seeds are
    left out.

    Returns what `summary` does; the intervals are cut at −1 and 1.
    """
    found = [
        (*key, part[[first, second]].corr("spearman").iloc[0, 1])
        for key, part in _groups(rows, [*by, "source_seed"])
    ]
    ranks = pd.DataFrame(found, columns=[*by, "source_seed", "correlation"]).dropna()
    return summary(ranks.assign(all=0), "correlation", by or ["all"], limits=(-1, 1))


def best(
    rows: pd.DataFrame,
    value: str,
    by: Sequence[str],
    *,
    compared: str = "constraint",
    seed: str = "source_seed",
) -> pd.DataFrame:
    """Name the best of what is compared at each combination of `by`, and what may be as good.

    That cannot be told from the best whose 95 % interval of the paired difference to it holds 0.
    The best is chosen on the same numbers, so its lead is, if anything, overstated.

    Returns the columns `by`, best, mean (of the best) and ties (a tuple).
    """
    winners = []
    for key, group in _groups(rows, by):
        means = summary(group, value, [compared], seed=seed)
        leader, mean = means.loc[means["mean"].idxmax(), [compared, "mean"]]
        gaps = paired(group, value, by, compared=compared, reference=leader, seed=seed)
        winners.append((*key, leader, mean, tuple(gaps.loc[~(gaps["high"] < 0), compared])))
    return pd.DataFrame(winners, columns=[*by, "best", "mean", "ties"])


def check_numbers(rows: pd.DataFrame, value: str, keys: Sequence[str]) -> None:
    """Raise ValueError, naming the first cell, where a value is not a number."""
    empty = rows.loc[rows[value].isna(), keys]
    if len(empty):
        raise ValueError(
            f"{value} is not a number at {_cell(empty)}, one of {len(empty)} such rows; "
            "measure them again, or leave out such rows knowingly, by dropna"
        )


def check_draws(rows: pd.DataFrame, value: str, keys: Sequence[str]) -> None:
    """Raise ValueError where a value is not a number, and where two rows have the same keys."""
    check_numbers(rows, value, keys)
    twice = rows.loc[rows.duplicated(keys), keys]
    if len(twice):
        raise ValueError(f"there are two rows for {_cell(twice)}; each draw has one")


def check_balance(
    rows: pd.DataFrame, by: Sequence[str], over: Sequence[str], *, seed: str = "source_seed"
) -> None:
    """Raise ValueError where a seed lacks a cell of the columns `over` that another seed has.

    That is looked for in each combination of the columns `by`: a mean over other cells would be
    another experiment, and its difference to the rest would count as luck of the seed.
    """
    if not over:
        return
    cells = [*by, *over]
    seeds = _groups(rows, cells)[seed].nunique().reset_index(name="seeds")
    of_all = _groups(rows, by)[seed].nunique().reset_index(name="of_all")
    lacking = seeds.merge(of_all, on=list(by)).query("seeds < of_all")
    if len(lacking):
        raise ValueError(
            f"{_cell(lacking[cells])} is there of {lacking['seeds'].iloc[0]} of "
            f"{lacking['of_all'].iloc[0]} values of {seed}; measure it of all, or leave it out"
        )


def _check_subsets(rows, by, seed):
    """Raise ValueError, naming the first cell, where several seeds were measured on one subset."""
    if "subset_seed" not in rows or seed == "subset_seed":
        return
    keys = [*by, "subset_seed"]
    seeds = _groups(rows, keys)[seed].nunique().reset_index()
    shared = seeds.loc[seeds[seed] > 1, keys]
    if len(shared):
        raise ValueError(
            f"several of {seed} share {_cell(shared)}; an interval needs subsets of each one's "
            "own, as Ladder.subsets gives"
        )


def _cell(rows):
    """Name the first of some rows by all of its columns."""
    return ", ".join(f"{key} {of}" for key, of in rows.iloc[0].items())


def _groups(rows, by):
    """Group rows by columns, in the order in which their combinations first occur."""
    return rows.groupby(list(by), sort=False, observed=True, dropna=False)
