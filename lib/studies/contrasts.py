"""The one contrast of each claim, as data/claims.yaml fixes it, from the rows that were measured."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from lib.constraint import MIXED_TEXTURES, NATURAL, UNTRAINED, Constraint
from lib.studies.random_effects import Effect, effect, slope

KEY = ["target", "source_seed"]


def gap(
    rows: pd.DataFrame, value: str, first: Constraint, second: Constraint = NATURAL
) -> pd.DataFrame:
    """Subtract what two sources of one seed reach on the same images, in points.

    rows: with the columns constraint, source_seed, value (0 to 1) and whatever else tells draws
    apart. Of those that only one of the two has, none is returned.

    Returns the other columns, and gap.
    """
    keys = [c for c in PAIRED if c in rows]
    sides = [rows[rows["constraint"] == one].set_index(keys)[value] for one in (first, second)]
    difference = 100 * (sides[0] - sides[1])
    return difference.dropna().rename("gap").reset_index()


PAIRED = [
    "target",
    "resolution",
    "n_train",
    "unfrozen_blocks",
    "source_seed",
    "subset_seed",
    "labels",
]
"""Columns whose values a pair shares."""


def by_size(rows: pd.DataFrame, robust: Constraint) -> dict[int, Effect]:
    """Return robust − natural of heads for each size that every target has, in points.

    rows: of `lib.studies.evidence.heads`. The prediction of each is for a new target.
    """
    pairs = gap(rows, "clean_accuracy", robust)
    targets = pairs["target"].nunique()
    full = pairs.groupby("n_train")["target"].nunique()
    return {
        int(n): effect(pairs[pairs["n_train"] == n], "gap") for n in full[full == targets].index
    }


def better(rows: pd.DataFrame, robust: Constraint, reference: Constraint = NATURAL) -> Effect:
    """Return robust − natural, mean over the sizes that a target has, over targets, in points."""
    pairs = gap(rows, "clean_accuracy", robust, reference)
    means = pairs.groupby([*KEY, "n_train"])["gap"].mean().groupby(KEY).mean()
    return effect(means.reset_index(), "gap")


def most_with_few(rows: pd.DataFrame, robust: Constraint) -> Effect:
    """Return the slope of robust − natural by doubling of the images, in points a doubling."""
    pairs = gap(rows, "clean_accuracy", robust)
    pairs["doublings"] = np.log2(pairs["n_train"])
    return effect(slope(pairs, "gap", over="doublings"), "slope")


def faster(rows: pd.DataFrame, robust: Constraint, *, head_start: bool = False) -> Effect:
    """Return robust − natural in the area under the learning curve, in points.

    head_start: take the difference after the last epoch off, so that what is left is earliness.
    """
    pairs = gap(rows, "area", robust)
    if head_start:
        pairs["gap"] -= gap(rows, "clean_accuracy", robust)["gap"]
    return effect(pairs, "gap")


def any_depth(rows: pd.DataFrame, robust: Constraint, blocks: int) -> Effect:
    """Return the slope of robust − natural by unfrozen block, in points a block.

    blocks: how many −1 stands for.
    """
    pairs = gap(rows, "clean_accuracy", robust)
    pairs["unfrozen"] = pairs["unfrozen_blocks"].replace(-1, blocks)
    means = pairs.groupby([*KEY, "n_train", "unfrozen"])["gap"].mean().groupby([*KEY, "unfrozen"])
    return effect(slope(means.mean().reset_index(), "gap", over="unfrozen"), "slope")


def shape(rows: pd.DataFrame, robust: Constraint, reference: Constraint = NATURAL) -> Effect:
    """Return robust − natural in shape bias, of all images whose cues disagree, in points."""
    return effect(gap(rows.assign(target="all"), "shape_bias_of_all", robust, reference), "gap")


def influence(
    rows: pd.DataFrame, robust: Constraint, reference: Constraint = NATURAL, labels: str = "true"
) -> Effect:
    """Return robust − natural in the share of influential images of the hidden class, in points."""
    return effect(gap(rows[rows["labels"] == labels], "match", robust, reference), "gap")
