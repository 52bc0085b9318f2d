"""What the contrast of a claim has to beat besides: its controls, from measured rows."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from lib.constraint import MIXED_TEXTURES, NATURAL, UNTRAINED, Constraint
from lib.random_effects import Effect, effect
from lib.studies.contrasts import (
    CONTRASTS,
    better,
    faster,
    gap,
    influence,
    of_kind,
    robust,
    shape,
)
from lib.studies.measured import RESULTS, evidence, has


def head_start(rows: pd.DataFrame, first: Constraint, second: Constraint = NATURAL) -> Effect:
    """Return `faster` less the difference after the last epoch, in points: earliness alone."""
    return faster(rows.assign(area=rows["area"] - rows["clean_accuracy"]), first, second)


def everything(rows: pd.DataFrame, first: Constraint, second: Constraint) -> Effect:
    """Return the difference where every block is trained, mean over the sizes, in points."""
    return better(rows[rows["unfrozen_blocks"] == rows["unfrozen_blocks"].max()], first, second)


def beyond_labels(rows: pd.DataFrame, first: Constraint, second: Constraint) -> Effect:
    """Return the same share of a source less that of its heads on labels drawn at random.

    second: what these stand in the place of, for both sides are of the first.
    """
    mine = rows[rows["constraint"] == first]
    sides = mine["labels"].map({"true": first, "random": second})
    return effect(
        gap(mine.drop(columns="labels").assign(constraint=sides), "match", first, second), "gap"
    )


class Control(NamedTuple):
    """What an effect must beat besides: a contrast, the kind of source it is to, and its name.

    called: what pages say, or "" for the name of the source. needs: a column and a value, where
    rows of that value have to be there.
    """

    function: Callable[..., Effect]
    kind: str
    called: str = ""
    needs: tuple[str, str] | None = None


CONTROLS = {
    "better": [Control(better, kind) for kind in ("noise", "low-pass", "natural until")]
    + [Control(better, UNTRAINED.name)],
    "faster": [Control(head_start, NATURAL.name, "without the lead at the end")],
    "any_depth": [Control(everything, UNTRAINED.name, "everything trained, from scratch")],
    "shape": [Control(shape, MIXED_TEXTURES.name)],
    "influence": [
        Control(influence, UNTRAINED.name),
        Control(
            beyond_labels, NATURAL.name, "its heads on random labels", needs=("labels", "random")
        ),
    ],
}
"""The controls of each claim that has some, by its name."""


def effects(world: str, folder: str | Path = RESULTS) -> dict[str, dict[str, Effect]]:
    """Return of each claim the controls that were measured: the effects, by what they are called.

    world, folder: as in `lib.studies.contrasts.effects`.
    """
    found: dict[str, dict[str, Effect]] = {}
    for name, several in CONTROLS.items():
        table = CONTRASTS[name].table
        rows = evidence(world, table, folder) if has(world, table, folder) else None
        if rows is None or robust(world) not in set(rows["constraint"]):
            continue
        for function, kind, called, needs in several:
            if needs and needs[1] not in set(rows[needs[0]]):
                continue
            for reference in of_kind(rows, kind):
                measured = function(rows, robust(world), reference)
                found.setdefault(name, {})[called or str(reference)] = measured
    return found
