"""What is said of a recommendation: what to take, how sure that is, and what it cannot tell."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from lib.constraint import FROM_SCRATCH
from lib.figures.estimates import Estimate
from lib.figures.names import literal
from lib.figures.sentences import depth_in_words, listing
from lib.images import Images

FEW = 10
"""Images of a class with fewer of which nothing is told of it."""


def cautions(
    images: Images, sizes: Sequence[int], there: int, tested: int, n_labelled: int
) -> list[str]:
    """Say which images give the advice, and what so few cannot tell.

    sizes: of the training sets of the learning curve. there: number of all images. tested: how many
    of them are test images, which are left out. n_labelled: how many were asked for.
    """
    counts = images.y.bincount(minlength=len(images.classes)).tolist()
    known = binomtest(round(0.8 * len(images)), len(images)).proportion_ci(method="wilson")
    said = [
        f"{len(images)} labelled images give the advice, {100 * largest_share(images):.1f} % of "
        "them of the largest class. From so few, an accuracy of 80 % could as well be "
        f"{100 * known.low:.0f} or {100 * known.high:.0f} %."
    ]
    if there - tested > len(images) == n_labelled:  # and not for copies that are left out
        said.append(
            "They are chosen, as evenly over the classes as these reach, from "
            f"{there - tested:,}; with more of them the advice may be another: n_labelled sets how "
            "many."
        )
    pairs = zip(images.classes, counts, strict=True)
    if few := [f"{literal(name)} ({count})" for name, count in pairs if count < FEW]:
        said.append(f"Fewer than {FEW} images tell next to nothing of a class: {listing(few)}.")
    if len(sizes) < 3:
        said.append("They are too few to follow how the accuracy grows with their number.")
    if tested:
        said.append(f"{tested:,} test images are left out, to tell in the end what was reached.")
    return said


def largest_share(images: Images) -> float:
    """Return the share of images, 0 to 1, that are of the largest class."""
    return int(images.y.bincount().max()) / len(images)


def recommendation(best: object, ahead: pd.DataFrame) -> str:
    """Say in a sentence which source to start from, and how sure that is.

    best, ahead: as `lib.advisor.advice.leads` returns them, of constraints.
    """
    if ahead.empty:
        return f"Only {best} was measured, so there is nothing to choose."
    surely = ahead["low"] > 0
    tied = [*ahead.loc[~surely, "constraint"]]
    if not surely.any():
        return (
            f"No difference can be told between {best}, which {highest(ahead)}, and "
            f"{listing(tied, 'or')}."
        )
    next_ = ahead.loc[surely, "constraint"].iloc[0]
    numbers = 100 * ahead.loc[surely, ["mean", "low", "high"]].iloc[0]
    lead = "{:.1f} points ahead of {} (interval {:.1f} to {:.1f})"
    lead = lead.format(numbers["mean"], next_, numbers["low"], numbers["high"])
    if tied:
        rest = f"the other {len(tied)} of these" if len(tied) > 1 else "the other of these"
        return (
            f"Start from {listing([best, *tied], 'or')}: the first {highest(ahead)} and is "
            f"{lead}, but no difference can be told between it and {rest}."
        )
    more = ", and no less far ahead of the others" * (len(ahead) > 1)
    return f"Start from {best}, which is {lead}{more}."


def highest(ahead: pd.DataFrame) -> str:
    """Say that the best has the highest mean accuracy, alone or with how many others.

    ahead: as `lib.advisor.advice.leads` returns it.
    """
    equal = int(np.isclose(ahead["mean"], 0, rtol=0, atol=1e-9).sum())
    others = f"{equal} others" if equal > 1 else "one other"
    mean = "the highest mean accuracy"
    return f"shares {mean} with {others}" if equal else f"has {mean}"


def plan_in_words(plan: Any) -> str:
    """Say a `lib.advisor.advice.Plan`: ℓ2 0.5 with the head alone trained; from scratch."""
    if plan.constraint == FROM_SCRATCH:
        return f"random weights ({FROM_SCRATCH}) with everything trained"
    return f"{plan.constraint} with {depth_in_words(plan.unfrozen_blocks)} trained"


def beyond_naming_one(accuracy: Estimate, share: float, choices: int) -> str:
    """Say whether an accuracy, in %, is surely above what always naming the largest class gives.

    accuracy: of the best of so many choices, with an interval that counts the picking, as in
    `lib.advisor.advice.summary`. share: of that class, 0 to 1.
    """
    better = "surely better than" if accuracy.low > 100 * share else "not surely better than"
    picked = f"; this verdict counts that it was picked as the best of {choices}" * (choices > 1)
    return (
        f"that is {better} always naming the largest class, which is right for "
        f"{100 * share:.1f} %{picked}"
    )


def what_to_take(best: Any, ahead: pd.DataFrame) -> str:
    """Say which plan came out first, how sure that is, and what the random weights are worth.

    best, ahead: Plans, as `lib.advisor.advice.leads` returns them.
    """
    if ahead.empty:
        return f"Only one plan was measured, {plan_in_words(best)}, so there is nothing to choose."
    tied = [plan_in_words(plan) for plan in ahead.loc[~(ahead["low"] > 0), "plan"]]
    named = listing([*tied[:2], *[f"{len(tied) - 2} more"] * (len(tied) > 2)], "or")
    sure = "and is ahead of each other one"
    if tied:
        sure = f"but no difference can be told between it and {named}"
    said = (
        f"Take {plan_in_words(best)}: of {len(ahead) + 1} plans, each a source and what of it is "
        f"trained, this one {highest(ahead)}, {sure}."
    )
    scratch = ahead[[plan.constraint == FROM_SCRATCH for plan in ahead["plan"]]]
    for gap in scratch.itertuples():
        lead = Estimate.of((gap.mean, gap.low, gap.high), "points")
        told = lead.between("it", plan_in_words(gap.plan))
        said += (
            f" {told[0].upper()}{told[1:]}, by an interval that holds together with those of the "
            "other plans."
        )
    return said
