"""Whether it matters where the grids end by which models are tuned."""

import pandas as pd

from lib.constraint import Constraint
from lib.random_effects import Effect, effect
from lib.studies.contrasts import DRAWN, gap


def fewest(rows: pd.DataFrame) -> pd.DataFrame:
    """Keep the models that each target has with the fewest training images."""
    return rows[rows["n_train"] == rows.groupby("target")["n_train"].transform("min")]


def at_the_end(rows: pd.DataFrame, column: str, end: float | None = None) -> pd.Series:
    """Return the share of the models, 0 to 1, for which the largest value was chosen, by source.

    rows: one for each model. column: weight_decay of heads, lr of what is fine-tuned. end: the
    largest that was tried, or None for the largest that any model has.
    """
    reached = rows[column] == (rows[column].max() if end is None else end)
    return reached.groupby(rows["constraint"]).mean().sort_index()


def moved(wide: pd.DataFrame, narrow: pd.DataFrame, value: str) -> pd.Series:
    """Return by how many points a value is higher with the wider grid, mean by source.

    wide, narrow, value: as in `effects`. Raises as it does.
    """
    models = ["constraint", *_draws(wide)]
    after, before = (part.set_index(models)[value] for part in _same(wide, narrow))
    return 100 * (after - before).groupby("constraint").mean()


def effects(
    wide: pd.DataFrame, narrow: pd.DataFrame, value: str, first: Constraint
) -> dict[str, Effect]:
    """Return robust − natural in points with either grid, and how much the wider one changes it.

    wide: models tuned by the wider grid, with the fewest images of each target. narrow: those of
    the narrower one, of which the same draws count. value: a share, as clean_accuracy or area.
    first: the robust source.

    Returns effects by wide, narrow and change, which is wide − narrow of each target, seed and
    subset. Raises ValueError where a model of `wide` has no partner, and as `gap` does.
    """
    keys = _draws(wide)
    sides = [gap(part, value, first).set_index(keys)["gap"] for part in _same(wide, narrow)]
    found = {"wide": sides[0], "narrow": sides[1], "change": sides[0] - sides[1]}
    return {name: effect(side.reset_index(), "gap") for name, side in found.items()}


def _draws(rows):
    """Return the columns that tell the draws of a source apart."""
    return [column for column in DRAWN if column in rows]


def _same(wide, narrow):
    """Return the models of the wider grid, and their partners of the narrower one."""
    models = ["constraint", *_draws(wide)]
    partners = wide[models].merge(fewest(narrow), on=models)
    if len(partners) != len(wide):
        raise ValueError(f"{len(wide)} models of the wider grid have {len(partners)} partners")
    return wide, partners
