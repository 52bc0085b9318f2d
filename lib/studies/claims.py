"""The claims that the book tests, as data/claims.yaml fixed them before they were measured."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from statistics import mean

import numpy as np
import pandas as pd
import yaml

from lib.constraint import NATURAL, Constraint
from lib.random_effects import Effect
from lib.runtime.files import DATA
from lib.zoo import shipped

READS = ("claims.yaml",)
VERDICTS = ("higher", "lower", "equivalent", "undecided")

JUDGED = [
    "claim", "paper", "mean", "low", "high", "unit", "p", "verdict", "expected", "same_sign",
    "seeds", "targets",
]  # fmt: skip
"""The columns of what `judge` returns."""
UNITS = {"most_with_few": "points a doubling", "any_depth": "points a block"}
"""Of the contrasts that are slopes; all others are in points."""
MARGIN = 0.2
"""Share of images by which the rung withstands more attacks at its own radius than natural does."""


@cache
def rules() -> dict:
    """Return the file as it stands: sources, targets, statistics, verdicts, claims, predictions."""
    return yaml.safe_load((DATA / "claims.yaml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, and how its one contrast is judged.

    paper: what the paper says. expected: the verdict that would bear the claim out.
    smallest_effect: what counts as none, in the contrast's unit. chapter: the notebook that
    measures it.
    """

    name: str
    paper: str
    expected: str
    smallest_effect: float
    chapter: str

    @property
    def unit(self) -> str:
        """The unit of the contrast."""
        return UNITS.get(self.name, "points")

    @property
    def short(self) -> str:
        """The claim in a word or two."""
        return self.name.replace("_", " ")


def rung() -> Constraint:
    """Return the robust source that stands for all of them, as data/claims.yaml fixes it.

    It is the one of the smallest ℓ2 radius that keeps, under attack at that radius, at least MARGIN
    more of its accuracy on the validation part than the natural one, mean over seeds; where none
    keeps so much more, the one that keeps most more. Raises ValueError where there is none.
    """
    more = kept_more()
    enough = (constraint for constraint, share in more.items() if share >= MARGIN)
    return next(enough, max(more, key=lambda constraint: more[constraint]))


def kept_more() -> dict[Constraint, float]:
    """Return by ℓ2 source, in order, how much more it withstands than the natural one of its seed.

    The share of images of the validation part, under attack at its own radius, mean over seeds.
    Raises ValueError where there is no such source.
    """
    kept: dict[Constraint, list[float]] = {}
    there = {key: shipped.record(path)["validation"] for key, path in shipped.available().items()}
    for (constraint, seed), found in there.items():
        if constraint.name == "l2" and (NATURAL, seed) in there:
            ball, natural = shipped.spelt(constraint), there[NATURAL, seed]
            more = found["robust_accuracy"][ball] - natural["robust_accuracy"][ball]
            kept.setdefault(constraint, []).append(more)
    if not kept:
        raise ValueError("there is no ℓ2 source beside a natural one of its seed; train them first")
    return {constraint: mean(values) for constraint, values in sorted(kept.items())}


def claims() -> list[Claim]:
    """Return the claims, in the order of the paper's."""
    usual = rules()["statistics"]["smallest_effect"]
    return [
        Claim(
            name,
            said["paper"],
            said["expected"],
            said.get("smallest_effect", usual),
            said["chapter"],
        )
        for name, said in rules()["claims"].items()
    ]


def simultaneous(intervals: int = 1) -> float:
    """Return the level of each of several intervals that hold together, 0 to 1 (Bonferroni)."""
    return 1 - (1 - rules()["statistics"]["level"]) / intervals


def judge(effects: Mapping[str, Effect]) -> pd.DataFrame:
    """Hold measured effects against their claims, corrected for there being several claims.

    effects: by the claim's name, in the unit of its contrast; what is missing was not run.

    The p-values are adjusted by Holm (1979), the intervals made simultaneous by Bonferroni: both
    over all claims, run or not, so that measuring another claim takes no verdict back.

    Returns a row for each effect: claim, what the paper says, mean, low, high, unit, p (adjusted),
    verdict, expected, same_sign (seeds on the side of 0 where the mean is), seeds, targets.
    """
    known = {claim.name: claim for claim in claims()}
    adjusted = holm({name: effect.p for name, effect in effects.items()}, of=len(known))
    rows = []
    for name, effect in effects.items():
        claim, p = known[name], adjusted[name]
        low, high = effect.interval(simultaneous(len(known)))
        word = verdict(effect.mean, low, high, p, claim.smallest_effect)
        counts = effect.same_sign, effect.seeds, effect.targets
        found = effect.mean, low, high, claim.unit, p, word
        rows.append((name, claim.paper, *found, claim.expected, *counts))
    return pd.DataFrame(rows, columns=JUDGED)


def holm(p: Mapping[str, float], *, of: int) -> pd.Series:
    """Adjust p-values for being several, by Holm's step-down procedure (1979).

    of: size of the family, at least as many as there are; those that are missing count as the
    largest. Returns the adjusted ones by name, from the smallest.
    """
    rising = pd.Series(p, dtype=float).sort_values()
    not_smaller = of - np.arange(len(rising))
    return (not_smaller * rising).clip(upper=1).cummax()


def verdict(mean: float, low: float, high: float, p: float, smallest_effect: float) -> str:
    """Return one of VERDICTS, as data/claims.yaml defines them.

    mean, low, high: the estimate with its simultaneous interval. p: adjusted, of a mean of 0.
    """
    if -smallest_effect <= low and high <= smallest_effect:
        return "equivalent"
    if p < 1 - simultaneous():
        return "higher" if mean > 0 else "lower"
    return "undecided"
