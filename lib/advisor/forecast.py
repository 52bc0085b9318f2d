"""Learning curves, and where they go: what labelling more images would gain."""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from lib.advisor import scores

RATES = np.geomspace(0.02, 3, 400)
"""Exponents that a learning curve may have."""


def forecast(
    rows: pd.DataFrame, now: int, *, test_share: float, draws: int = 400, seed: int = 0
) -> pd.DataFrame:
    """Predict for each source what labelling twice as many images would gain.

    The error is followed as a power law (Hestness et al., 2017), a + b·n^(−c) with a, b ≥ 0. Its
    trial: followed from the sizes up to 0.6 of the largest, by how much does it miss the accuracy
    that was measured at the largest? The interval comes from drawing the splits again with
    replacement, widened for their overlap as in `lib.stats.resampled`, and is no narrower than
    `now` images allow (`scores.difference`), for splits that all agree have no spread; on each side
    the largest miss among the sources is added, since the luck of the images is the smaller part of
    the error.

    rows: as `lib.advisor.advice.measure` returns them, of several sizes, with a column constraint.
    now: number of images labelled, each of which is tested on. test_share: of the images, on the
    test side of a split. draws, seed: of the splits.

    Returns a DataFrame with a row for each source: constraint, mean, low, high of the gain in
    accuracy between `now` and twice that, and miss. With fewer than three sizes the curve cannot be
    followed: then mean, low and high are NaN, and with fewer than three in the trial, low, high
    and miss.
    """
    gains = []
    for source, part in rows.groupby("constraint", sort=False):
        wide = part.pivot(index="split", columns="n_train", values="clean_accuracy")
        wide = wide.sort_index(axis=1)
        sizes = wide.columns.to_numpy(dtype=float)
        gains.append((source, *_forecast(sizes, wide.to_numpy(), now, test_share, draws, seed)))
    frame = pd.DataFrame(gains, columns=["constraint", "mean", "low", "high", "miss"])
    worst = frame["miss"].abs().max()
    return frame.assign(low=frame["low"] - worst, high=frame["high"] + worst)


def _forecast(n, accuracy, now, test_share, draws, seed):
    """Return mean, low, high of the gain by the luck of the images alone, and the trial's miss.

    n: (K,) sizes. accuracy: (splits, K).
    """
    early = n <= 0.6 * n[-1]
    if len(n) < 3:
        return (np.nan,) * 4
    generator, count = np.random.default_rng(seed), len(accuracy)
    drawn = accuracy[generator.integers(count, size=(draws, count))].mean(1)
    curves = np.vstack([accuracy.mean(0), drawn])
    before, after = followed(n, curves, [now, 2 * now]).T
    gain, *others = after - before
    widened = (1 + count * test_share / (1 - test_share)) ** 0.5
    low, high = gain + widened * (np.quantile(others, [0.025, 0.975]) - gain)
    _, low, high = scores.difference((gain, low, high), now)
    if early.sum() < 3:
        return gain, low, high, np.nan
    return gain, low, high, followed(n[early], curves[:1, early], n[-1:])[0, 0] - curves[0, -1]


def followed(n: ArrayLike, curves: ArrayLike, where: ArrayLike) -> np.ndarray:
    """Fit 1 − accuracy = a + b·n^(−c), a and b ≥ 0, and return the accuracy elsewhere.

    By least squares: for each exponent c among RATES the best a and b in closed form, then the
    best c.

    n: (K,) sizes. curves: (M, K) accuracies. where: (J,) sizes. Returns (M, J).
    """
    n, where = np.asarray(n, dtype=float), np.asarray(where, dtype=float)
    error = 1 - np.asarray(curves, dtype=float)
    power = (n / n[0]) ** -RATES[:, None]  # (R, K)
    centred = power - power.mean(1, keepdims=True)
    slope = error @ centred.T / (centred**2).sum(1)  # (M, R)
    floor = error.mean(1, keepdims=True) - slope * power.mean(1)
    # Where the best line leaves the allowed quarter, the best on its edges is meant.
    through_zero = error @ power.T / (power**2).sum(1)
    slope = np.where(floor < 0, through_zero, slope)
    floor = np.maximum(floor, 0)
    flat = slope < 0
    slope = np.where(flat, 0, slope)
    floor = np.where(flat, error.mean(1, keepdims=True), floor)
    misfit = ((error[:, None] - floor[..., None] - slope[..., None] * power) ** 2).sum(2)
    chosen = misfit.argmin(1)
    row = np.arange(len(error))
    scaled = (where / n[0]) ** -RATES[chosen][:, None]
    return 1 - floor[row, chosen][:, None] - slope[row, chosen][:, None] * scaled
