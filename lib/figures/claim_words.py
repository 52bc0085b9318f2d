"""What is said of the claims, of their controls, and of what was foretold."""

from collections.abc import Mapping, Sequence

import pandas as pd

from lib.figures.claim_tables import estimate
from lib.figures.estimates import RISES, verdict
from lib.figures.sentences import listing, sides
from lib.random_effects import Effect

ZERO = ("above zero", "below zero", "not to be told from zero")


def judgements(judged: pd.DataFrame, *names: str) -> str:
    """Say the verdicts on some claims, each with its contrast: “a” is undecided (+0.8 points, …).

    judged: as of `lib.studies.claims.judge`. names: of claims that were run, in this order.
    """
    told = []
    for row in judged.set_index("claim").loc[[*names]].itertuples():
        mean, low, high = (f"{value:+.1f}" for value in (row.mean, row.low, row.high))
        claim = row.paper.rstrip(".")
        told.append(f"“{claim}” is {row.verdict} ({mean} {row.unit}, {low} to {high})")
    return (
        "by contrasts fixed beforehand and with 95 % intervals for all claims at once, "
        f"{'; '.join(told)}"
    )


def beside_controls(controls: Mapping[str, Effect]) -> str:
    """Say for which controls what an effect has over them is above zero, and for which not.

    controls: of one claim, by what they are called, as of `lib.studies.controls.effects`. As
    text: above zero (untrained) and not to be told from zero (noise 0.1).
    """
    found: dict[str, list[str]] = {word: [] for word in ZERO}
    for called, effect in controls.items():
        found[verdict(*effect.interval(), ZERO)].append(called)
    return listing(f"{word} ({listing(names)})" for word, names in found.items() if names)


def outcomes(called: Mapping[str, str], judged: pd.DataFrame) -> list[str]:
    """Say which claims were found as the paper leads one to expect, and which were not.

    called: a claim in a word or two, by name. judged: of one world, as of `overview`.

    Returns sentences: what was not found first, and last what was not run, where there is any.
    """
    named = judged["claim"].map(called) + " (" + judged["verdict"] + ")"
    as_expected = judged["verdict"] == judged["expected"]
    others = [called[name] for name in called if name not in set(judged["claim"])]
    return [
        f"What the paper leads one to expect is *not* borne out for {_named(named[~as_expected])}.",
        f"It is borne out for {_named(named[as_expected])}.",
        *([f"Nothing was run for {_named(others)}."] if others else []),
    ]


def _named(claims):
    """Count claims, and name them."""
    count = f"{len(claims) or 'none'} of the claims"
    return f"{count}: {listing(claims)}" if len(claims) else count


def predicted(found: pd.DataFrame) -> list[str]:
    """Say of each version of the targets what was expected, and on how many it came so.

    found: as of `lib.studies.predictions.of_cues`.
    """
    return [
        f"For the version “{row.version}” it was expected that the difference {row.expected}; this "
        f"is borne out on {row.borne_out} of {row.targets} targets, and the contrary on "
        f"{row.contrary}."
        for row in found.itertuples()
    ]


def as_resolution_falls(rises: pd.DataFrame, turned: Sequence[object]) -> str:
    """Say on which targets the difference rises as resolution falls, beside what was expected.

    rises: as of `lib.studies.breakdowns.resolution_by_target`. turned: as of `turned` there.
    """
    rose = (rises["low"] > 0).sum()
    return (
        "As the resolution falls, the difference to natural sources changes as follows: "
        f"{sides(rises, 'target', RISES, link='on')}. A rise was expected on all targets, and is "
        f"seen on {rose} of {len(rises)}. A change from below zero to above was expected on "
        f"CIFAR-10; by intervals at both ends, it is seen on {listing(turned)}."
    )


def changed(effect: Effect) -> str:
    """Say an effect that is a change, with its interval: whether it rises or falls."""
    change = estimate(effect)
    return f"{change}, {verdict(change.low, change.high, RISES)}"


def of_controls(found: pd.DataFrame) -> list[str]:
    """Say by how much each difference to natural sources changes, beside what was expected of it.

    found: as of `lib.studies.predictions.of_controls`.
    """
    return [
        f"{row.source} − natural: {changed(row.change)}; expected was that it {row.expected}, "
        f"which is {'not ' * (not row.borne_out)}borne out"
        for row in found.itertuples()
    ]


def borne_out(predicted: pd.DataFrame) -> str:
    """Say how many of the differences that were expected to be above zero are.

    predicted: as of `lib.studies.inverted.predicted`.
    """
    above = (predicted["low"] > 0).sum()
    return (
        f"Of the {len(predicted)} differences that were expected to be above zero, {above} are, by "
        f"intervals that hold together; the lowest begins at {100 * predicted['low'].min():+.1f} "
        "points."
    )
