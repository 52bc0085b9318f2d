"""Numbers with their intervals, which write themselves, and the rows they are found in."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

Words = tuple[str, str, str]
"""What the 95 % interval of a difference tells above 0, below 0, and where it holds 0."""
NOTHING = "no difference can be told"
AHEAD: Words = ("ahead", "behind", NOTHING)
HIGHER: Words = ("higher", "lower", NOTHING)
LEADS = ("ahead of", "behind")
"""What stands before the other one of two that differ."""
RISES: Words = ("rises", "falls", "no change can be told")


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval, which writes itself.

    mean, low, high: in `unit`; low and high are NaN where there is one draw. unit: "points", "%"
    or "". signed: whether it is a difference. digits: after the point; of a difference up to
    two where an end of the interval would round to 0, and is not.

    As text: +4.2 points (95 % interval +1.0 to +7.4). With the format `short`: +4.2 [+1.0, +7.4];
    with `mean`: +4.2 points.
    """

    mean: float
    low: float
    high: float
    unit: str = "points"
    signed: bool = True
    digits: int = 1

    @classmethod
    def of(cls, values: Iterable[float], unit: str, **how) -> "Estimate":
        """Make one of mean, low and high, where "points" and "%" mean that they are shares.

        how: signed and digits, if not as is usual for the unit.
        """
        scale, digits = (100, 1) if unit else (1, 2)
        usual: dict = {"unit": unit, "signed": unit == "points", "digits": digits}
        mean, low, high = (scale * value for value in values)
        return cls(mean, low, high, **usual | how)

    @property
    def verdict(self) -> str:
        """What the interval of a difference tells: ahead, behind, or that nothing can be told."""
        return verdict(self.low, self.high)

    def between(
        self, one: object, other: object = "natural sources", words: tuple[str, str] = LEADS
    ) -> str:
        """Say a difference in words: a is 4.2 points behind b (95 % interval 1.0 to 7.4).

        one, other: what it lies between, `one` less `other`. words: for differences above and below
        0. Where the interval holds 0, or there is none: no difference between a and b can be told
        (-0.4 points, 95 % interval -1.0 to +0.2).
        """
        mean, low, high = self._texts(self.mean, self.low, self.high, signed=True)
        if self.verdict == NOTHING:
            told = f"{mean} {self.unit}, {self._interval(low, high)}"
            return f"no difference between {one} and {other} can be told ({told})"
        low, mean, high = self._texts(*sorted(map(abs, (self.low, self.mean, self.high))))
        word = words[0] if self.mean > 0 else words[1]
        return f"{one} is {mean} {self.unit} {word} {other} ({self._interval(low, high)})"

    def __str__(self) -> str:
        return format(self, "")

    def __format__(self, spec: str) -> str:
        if spec not in ("", "mean", "short"):
            raise ValueError(f"the format is {spec!r}; allowed are mean and short, or none")
        if np.isnan(self.mean):
            return "unknown"
        mean, low, high = self._texts(self.mean, self.low, self.high, signed=self.signed)
        unit = f" {self.unit}" * bool(self.unit)
        if spec == "mean":
            return mean + unit
        if spec == "short":
            return mean if np.isnan(self.low) else f"{mean} [{low}, {high}]"
        return f"{mean}{unit} ({self._interval(low, high)})"

    def _texts(self, *values, signed=False):
        """Write numbers with as many digits as the estimate has."""
        digits = self._digits()
        rounded = (round(float(value), digits) + 0 for value in values)  # + 0: no −0.0
        return [format(value, f"{'+' * signed}.{digits}f") for value in rounded]

    def _interval(self, low, high):
        """Write what is known of the interval, by its ends as texts."""
        known = not np.isnan(self.low)
        return f"95 % interval {low} to {high}" if known else "without an interval"

    def _digits(self):
        """Return how many digits tell on which side of 0 the ends of the interval lie."""
        ends = [end for end in (self.low, self.high) if end and not np.isnan(end)]
        for digits in range(self.digits, 3) if self.signed else ():
            if all(round(float(end), digits) for end in ends):
                return digits
        return self.digits


def row(frame: pd.DataFrame, **key) -> pd.Series:
    """Return the one row of a frame whose columns have these values.

    Raises KeyError, naming the key, where there is none, or more than one.
    """
    chosen = where(frame, **key)
    if len(chosen) != 1:
        named = ", ".join(f"{column} {value}" for column, value in key.items())
        raise KeyError(f"{len(chosen)} rows with {named}; a sentence needs one")
    return chosen.iloc[0]


def where(frame: pd.DataFrame, **key) -> pd.DataFrame:
    """Choose the rows whose columns have these values; a frame without rows may lack columns."""
    for column, value in key.items() if len(frame) else ():
        frame = frame[np.array([v == value for v in frame[column]], dtype=bool)]
    return frame


def points(frame: pd.DataFrame, *, otherwise: str | None = None, **key) -> Estimate | str:
    """Return a difference of shares in points of percent, of a row as `lib.stats.paired` has it.

    key: as in `row`. otherwise: what to say where that row is missing; without it a KeyError.
    """
    return _estimate(frame, otherwise, key, "points")


def percent(frame: pd.DataFrame, *, otherwise: str | None = None, **key) -> Estimate | str:
    """Return a share in percent, of a row as `lib.stats.summary` has it; else as `points`."""
    return _estimate(frame, otherwise, key, "%")


def of_seeds(frame: pd.DataFrame, *constraints: object) -> str:
    """Say the single values of each source, in percent and in order: natural: 2, 3; ℓ2 0.5: 2, 96.

    What a mean with its interval would hide: whether some seeds are near one end and some near the
    other. frame: as `lib.stats.summary` has it, one row a constraint; of what it lacks, nothing is
    known.
    """
    told = []
    for constraint in constraints:
        rows = where(frame, constraint=constraint)
        values = sorted(row(rows)["of_seeds"]) if len(rows) else []
        known = ", ".join(f"{round(100 * value)}" for value in values)
        told.append(f"{constraint}: {known or 'not known'}")
    return "; ".join(told)


def plain(
    frame: pd.DataFrame,
    *,
    otherwise: str | None = None,
    digits: int = 2,
    signed: bool = False,
    **key,
) -> Estimate | str:
    """Return a number without a unit, as a correlation. The rest: as in `points`."""
    return _estimate(frame, otherwise, key, "", signed=signed, digits=digits)


def _estimate(frame, otherwise, key, unit, **how):
    if otherwise is not None and not len(where(frame, **key)):
        return otherwise
    return Estimate.of(row(frame, **key)[["mean", "low", "high"]], unit, **how)


def verdict(low: float, high: float, words: Words = AHEAD) -> str:
    """Say what a 95 % interval of a difference tells: ahead, behind, or nothing.

    words: for differences above and below 0, such as higher and lower, and for others.
    """
    above, below, neither = words
    if np.isnan(low) or low <= 0 <= high:
        return neither
    return above if low > 0 else below
