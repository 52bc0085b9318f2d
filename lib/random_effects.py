"""What a difference is beyond the targets and the seeds it was measured on.

Each contrast is first made one number for each target and source seed: a mean over sizes, a slope,
an area. Of such a table the rows share a target and the columns the networks of a seed, both drawn
from more than are here: a two-way layout with crossed random effects,

    y[t, s] = μ + a[t] + b[s] + e[t, s].

Balanced, it needs no iteration: sums of squares give all there is to know of it (Searle, Casella
and McCulloch, 1992, chapter 4), and restricted maximum likelihood gives the same numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import t as student


@dataclass(frozen=True)
class Effect:
    """A mean over targets and seeds, and what it lets one expect.

    mean: of the table, in points: what it holds are differences of shares, and intervals are cut
    where these end. se, df: its standard error and degrees of freedom, for targets and seeds as
    draws. predicted_se, predicted_df: the same of the difference on one new target, as the networks
    of these seeds show it on average, NaN where there is but one. spread: variances {target, seed,
    rest}, in squared points, none below 0. same_sign: the number of seeds whose
    mean over the targets is on the side of 0 where the mean is. seeds, targets: how many there are.
    """

    mean: float
    se: float
    df: float
    predicted_se: float
    predicted_df: float
    spread: Mapping[str, float]
    same_sign: int
    seeds: int
    targets: int

    @property
    def p(self) -> float:
        """The two-sided p-value of a mean of 0."""
        if self.se == 0:  # all cells agree
            return float(self.mean == 0)
        return float(2 * student.sf(abs(self.mean) / self.se, self.df))

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Return (low, high) of the mean, for targets and seeds of this kind."""
        return _around(self.mean, self.se, self.df, level)

    def prediction(self, level: float = 0.95) -> tuple[float, float]:
        """Return (low, high) between which these networks' difference on a new target is expected.

        Networks of other seeds differ by a luck of their own, which is not counted.
        """
        return _around(self.mean, self.predicted_se, self.predicted_df, level)


def effect(rows: pd.DataFrame, value: str, *, seed: str = "source_seed") -> Effect:
    """Estimate the mean of a column over targets and source seeds, both random and crossed.

    rows: with the columns target and `seed`; several rows of one cell, as of subsets, are averaged.
    value: what is estimated, in points.

    The variance of the mean is the sum of those of its targets and of its seeds less what both
    count; its degrees of freedom are Satterthwaite's (1946). Where that is below the larger of the
    two, because a variance would be negative, the larger one is taken. Of one target the seeds
    alone are draws: the interval is for that target, and nothing is predicted of others.

    Raises ValueError for fewer than two seeds, for a cell without rows, and for values that are not
    finite.
    """
    cells = rows.groupby(["target", seed])[value]
    table = cells.agg(lambda cell: cell.mean(skipna=False)).unstack()
    y = table.to_numpy(float)
    targets, seeds = y.shape
    if targets < 1 or seeds < 2:
        raise ValueError(f"{targets} targets and {seeds} seeds; allowed are one and two, and more")
    if not np.isfinite(y).all():
        place = (~np.isfinite(table)).stack().idxmax()
        raise ValueError(f"no number for target {place[0]} and {seed} {place[1]}")
    mean, of_target, of_seed = y.mean(), y.mean(1), y.mean(0)
    same_sign = int((np.sign(of_seed) == np.sign(mean)).sum())
    if targets == 1:
        spread = {"target": np.nan, "seed": float(y.var(ddof=1)), "rest": np.nan}
        se = (spread["seed"] / seeds) ** 0.5
        return Effect(float(mean), se, seeds - 1, np.nan, np.nan, spread, same_sign, seeds, 1)
    rest = y - of_target[:, None] - of_seed + mean
    squares = {
        "target": seeds * of_target.var(ddof=1),
        "seed": targets * of_seed.var(ddof=1),
        "rest": (rest**2).sum() / ((targets - 1) * (seeds - 1)),
    }
    freedom = {"target": targets - 1, "seed": seeds - 1, "rest": (targets - 1) * (seeds - 1)}
    both = squares["target"] + squares["seed"] - squares["rest"]
    larger = max(("target", "seed"), key=squares.__getitem__)
    if both > squares[larger]:
        square = both
        df = both**2 / sum(squares[part] ** 2 / freedom[part] for part in squares)
    else:
        square, df = squares[larger], freedom[larger]
    return Effect(
        mean=float(mean),
        se=float((square / y.size) ** 0.5),
        df=float(df),
        predicted_se=float((of_target.var(ddof=1) * (1 + 1 / targets)) ** 0.5),
        predicted_df=targets - 1,
        spread={
            "target": max((squares["target"] - squares["rest"]) / seeds, 0.0),
            "seed": max((squares["seed"] - squares["rest"]) / targets, 0.0),
            "rest": float(squares["rest"]),
        },
        same_sign=same_sign,
        seeds=seeds,
        targets=targets,
    )


def _around(mean, se, df, level):
    """Return (low, high) of Student's t interval, as far as differences of shares go."""
    half = float(student.ppf((1 + level) / 2, df)) * se
    return max(mean - half, -100.0), min(mean + half, 100.0)
