"""Means with intervals that respect the two levels: subsets within source seeds.

One source network is one draw of the luck of training; the subsets of a target it is fine-tuned
on are draws within it. Averaging over the subsets of each source seed first, and taking
Student's t interval over the seeds' means, counts both: the spread of these means holds the
luck of the subsets as well as that of the source. It needs the subsets of different source seeds
to be different ones. Of one network a source, as a checkpoint is, the subsets alone are draws: the
interval is over them, and says nothing of the luck of training.
"""

import numpy as np
import pandas as pd
from scipy.stats import t as student


def interval(values, level=0.95):
    """Return (mean, low, high): Student's t interval of the mean of independent values.

    values: numbers, 1-d. level: 0 to 1. With fewer than two values low and high are NaN: one
    draw says nothing of the spread. Raises ValueError where there are no values.
    """
    values = np.asarray(values, dtype=float)
    if values.size == 0:
        raise ValueError("no values to take a mean of")
    mean = values.mean()
    if values.size == 1:
        return mean, np.nan, np.nan
    half = student.ppf((1 + level) / 2, values.size - 1) * values.std(ddof=1) / values.size**0.5
    return mean, mean - half, mean + half


def resampled(values, test_share, level=0.95):
    """Return (mean, low, high) over repeated random splits of the same images.

    Such splits overlap, so their spread understates the luck of the images: the variance of the
    mean is enlarged as Nadeau and Bengio (2003) propose, from s²/R to (1/R + q/(1 − q))·s² with R
    splits and the share q kept for testing.

    values: one number for each split, 1-d. test_share: q, between 0 and 1. level: 0 to 1. With
    fewer than two values low and high are NaN. Raises ValueError where there are no values.
    """
    values = np.asarray(values, dtype=float)
    mean, low, _ = interval(values, level)
    widened = (mean - low) * (1 + values.size * test_share / (1 - test_share)) ** 0.5
    return mean, mean - widened, mean + widened


def verdict(low, high):
    """Say in words what a 95 % interval of a difference tells: higher, lower, or nothing."""
    if np.isnan(low) or low <= 0 <= high:
        return "no difference can be told"
    return "higher" if low > 0 else "lower"


def tally(differences):
    """Count at how many rows of differences the interval leaves zero out, and on which side."""
    if differences.empty:
        return "not measured in this run"
    found = [verdict(*row) for row in differences[["low", "high"]].itertuples(index=False)]
    return ", ".join(
        f"{word} at {found.count(word)} of {len(found)} sizes" for word in ("higher", "lower")
    )


def triple(summaries, key):
    """Return (mean, low, high) of one row of summaries that are indexed by key.

    What a run has left out is NaN.
    """
    if key not in summaries.index:
        return np.nan, np.nan, np.nan
    return tuple(summaries.loc[key, ["mean", "low", "high"]])


def percent(summaries, key):
    """Return what `triple` does, in percent."""
    return tuple(100 * value for value in triple(summaries, key))


def in_percent(row):
    """Write a share with its interval in percent: 42 [30, 54]."""
    return "{:.0f} [{:.0f}, {:.0f}]".format(*(100 * row[["mean", "low", "high"]]))


def in_points(row):
    """Write a difference in points of percent, with half its interval's width: +4.2 ± 3.2."""
    return f"{100 * row['mean']:+.1f} ± {100 * (row['high'] - row['mean']):.1f}"


def summary(rows, value, by, *, seed="source_seed", limits=(-np.inf, np.inf)):
    """Summarise a column over source seeds, for each combination of the columns `by`.

    rows: DataFrame, one row per model. value: the column to average, first within each `seed`;
    where all rows share one, within each subset_seed.
    limits: what the value cannot leave, as (0, 1) for a share near one of its ends; Student's
    intervals, which do not know that, are cut there.

    Returns a DataFrame of the columns `by`, mean, low, high (95 %) and seeds, their number.
    """
    if "subset_seed" in rows and rows[seed].nunique() == 1:
        seed = "subset_seed"
    means = rows.groupby([*by, seed], sort=False, observed=True)[value].mean().reset_index()
    found = _over_seeds(means, value, by)
    return found.assign(**{side: found[side].clip(*limits) for side in ("low", "high")})


def paired(rows, value, by, *, source="source", reference="natural", seed="source_seed"):
    """Summarise the differences of each source to a reference source, pair by pair.

    A pair shares all that is drawn: target, size, source seed and subset. rows: DataFrame, one
    row per model, with the columns `source`, `seed`, "subset_seed" and those of `by`.

    Returns a DataFrame of the columns `by` and `source`, mean difference, low, high (95 %, over
    source seeds) and seeds, their number. Raises ValueError where a source has no partner in
    the reference, and where one of the two has several rows for the same draw.
    """
    keys = [*by, seed, "subset_seed"]
    twice = rows.duplicated([source, *keys])
    if twice.any():
        name = rows.loc[twice, source].iloc[0]
        raise ValueError(f"{name} has two rows for the same {', '.join(keys)}")
    others, base = rows[rows[source] != reference], rows[rows[source] == reference]
    pairs = others.merge(base[[*keys, value]], on=keys, how="left", suffixes=("", "_reference"))
    difference = pairs[value] - pairs[f"{value}_reference"]
    if difference.isna().any():
        alone = pairs.loc[difference.isna(), [source, *keys]].iloc[0].to_dict()
        raise ValueError(f"no {reference} row to pair with {alone}")
    pairs = pairs.assign(difference=difference)
    return summary(pairs, "difference", [*by, source], seed=seed)


def best(rows, value, by, *, source="source", seed="source_seed"):
    """Name the best source of each combination of `by`, and those that cannot be told from it.

    A source cannot be told from the best where the 95 % interval of their paired difference
    holds 0. The best is chosen on the same numbers, so its lead is, if anything, overstated.

    Returns a DataFrame of the columns `by`, best, mean (of the best) and ties (a tuple).
    """
    found = []
    for key, group in rows.groupby(by, sort=False, observed=True):
        means = summary(group, value, [source], seed=seed).set_index(source)["mean"]
        leader = means.idxmax()
        gaps = paired(group, value, by, source=source, reference=leader, seed=seed)
        ties = gaps.loc[~(gaps["high"] < 0), source]
        found.append((*key, leader, means[leader], tuple(ties)))
    return pd.DataFrame(found, columns=[*by, "best", "mean", "ties"])


def _over_seeds(means, value, by):
    """Take the interval over the seeds' means of each combination of the columns `by`."""
    found = [
        (*(key if isinstance(key, tuple) else (key,)), *interval(group), len(group))
        for key, group in means.groupby(by, sort=False, observed=True)[value]
    ]
    return pd.DataFrame(found, columns=[*by, "mean", "low", "high", "seeds"])
