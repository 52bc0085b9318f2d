"""The one contrast of each claim, as data/claims.yaml fixes it, from measured rows."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from lib.constraint import NATURAL, Constraint
from lib.random_effects import Effect, effect
from lib.stats import by_doubling, check_balance, check_draws, interval, slopes
from lib.studies.claims import judge, rules, rung
from lib.studies.measured import RESULTS, evidence, has, paper, paper_influence

CELL = ["target", "source_seed"]
DRAWN = [*CELL, "resolution", "version", "n_train", "unfrozen_blocks", "subset_seed", "labels"]
"""What a pair of sources shares."""
BLOCKS = 5
"""Of the small residual network, for which data/claims.yaml says what a block may change."""
LINF = "linf"
STRONG = Constraint("l2", 3.0)
"""The rung of the paper's own tables that is held against its natural source."""


def robust(world: str) -> Constraint:
    """Return the rung that stands for all robust sources of a protocol.

    By the rule it is fixed by the own task of the sources that learned photographs; it stands for
    those of any other protocol as well. Of the microcosm's ladder it is the middle one, which was
    fixed before there were rules.
    """
    return Constraint("l2", 0.25) if world == "microcosm" else rung()


def gap(
    rows: pd.DataFrame, value: str, first: Constraint, second: Constraint = NATURAL
) -> pd.DataFrame:
    """Subtract what two sources of one seed reach on the same images, in points.

    rows: with the columns constraint, value (0 to 1), and those of DRAWN that tell draws apart. A
    draw that only one of the two has gives no row.

    Returns those columns of DRAWN, and gap. Raises ValueError for a value that is not a number, and
    for two rows of one source and draw.
    """
    keys = [column for column in DRAWN if column in rows]
    asked = rows[rows["constraint"].isin([first, second])]
    check_draws(asked, value, ["constraint", *keys])
    sides = [asked[asked["constraint"] == one].set_index(keys)[value] for one in (first, second)]
    return (100 * (sides[0] - sides[1])).dropna().rename("gap").reset_index()


def better(rows: pd.DataFrame, first: Constraint, second: Constraint = NATURAL) -> Effect:
    """Return the difference in accuracy, mean over the sizes of a target, in points."""
    return effect(over_sizes(gap(rows, "clean_accuracy", first, second)), "gap")


def over_sizes(pairs: pd.DataFrame, *by: str) -> pd.DataFrame:
    """Average gaps over the subsets, then over the sizes of a target, in each of further columns.

    pairs: as of `gap`. Returns the columns target, source_seed, `by` and gap. Raises ValueError
    where a seed lacks a size that another of its target has.
    """
    cells = [*CELL, *by]
    means = pairs.groupby(list(dict.fromkeys([*cells, "n_train"])))["gap"].mean().reset_index()
    check_balance(means, ["target", *by], [] if "n_train" in by else ["n_train"])
    return means.groupby(cells)["gap"].mean().reset_index()


def over_slopes(pairs: pd.DataFrame, over: str) -> Effect:
    """Return the slope of gaps by a column of numbers, in points for one of it.

    pairs: as of `gap`, with that column. Raises ValueError for a target that has but one place.
    """
    return _over_lines(slopes(pairs, "gap", CELL, over=over), pairs, over)


def _over_lines(lines, pairs, over):
    """Return the effect of the slopes of gaps, one for each source seed of a target."""
    check_balance(pairs, ["target"], [over])
    if missing := sorted(set(pairs["target"]) - set(lines["target"])):
        raise ValueError(f"{missing[0]} has one place along {over}; a slope needs two")
    return effect(lines, "slope")


def most_with_few(rows: pd.DataFrame, first: Constraint, second: Constraint = NATURAL) -> Effect:
    """Return the slope of the difference by doubling of the images, in points a doubling."""
    pairs = gap(rows, "clean_accuracy", first, second)
    return _over_lines(by_doubling(pairs, "gap", CELL), pairs, "n_train")


def faster(rows: pd.DataFrame, first: Constraint, second: Constraint = NATURAL) -> Effect:
    """Return the difference in the area under the learning curve, in points.

    Where all targets have a size that data/claims.yaml fixes, such sizes alone count.
    """
    return effect(gap(_of_the_claim(rows), "area", first, second), "gap")


def _of_the_claim(rows):
    """Keep the learning curves of the sizes that the claim is about, if no target is lost by it."""
    fixed = rows[rows["n_train"].isin(rules()["claims"]["faster"]["sizes"])]
    return fixed if set(fixed["target"]) == set(rows["target"]) else rows


def any_depth(rows: pd.DataFrame, first: Constraint, second: Constraint = NATURAL) -> Effect:
    """Return the slope of the difference by unfrozen block, in points a block.

    A network of more blocks than BLOCKS is taken for one of as many: what the whole of it changes
    is what the smallest effect is about.
    """
    pairs = gap(rows, "clean_accuracy", first, second)
    pairs["unfrozen"] = BLOCKS * pairs["unfrozen_blocks"] / pairs["unfrozen_blocks"].max()
    return over_slopes(over_sizes(pairs, "unfrozen"), "unfrozen")


def which_constraint(rows: pd.DataFrame, first: Constraint) -> Effect:
    """Return ℓ2 − ℓ∞ in accuracy on the target at one accuracy of the sources, in points.

    What ℓ2 would reach at the accuracy that an ℓ∞ source has on its own task lies on a line through
    the natural and the ℓ2 sources of its seed, on the same images of the target; beyond its ends,
    of which `off_the_line` tells, it stays as there. Sources of one accuracy are one place. Mean
    over the sizes of a target, and over the ℓ∞ sources.

    rows: as for `better`, with the column source_accuracy, 0 to 1. first: one of the ℓ2 sources.
    """
    keys = [column for column in DRAWN if column in rows]
    columns = ["source_accuracy", "clean_accuracy"]
    along, others = _line_and_rivals(rows, first)
    places = along.groupby([*keys, columns[0]])[columns[1]].mean().reset_index()
    lines, rivals = places.groupby(keys), others.groupby(keys)
    gaps = []
    for key, line in lines:
        if key in rivals.groups:
            rival = rivals.get_group(key)
            expected = np.interp(rival[columns[0]], *(line[column] for column in columns))
            apart = 100 * (expected - rival[columns[1]]).mean()
            gaps.append({**dict(zip(keys, key, strict=True)), "gap": apart})
    return effect(over_sizes(pd.DataFrame(gaps)), "gap")


def off_the_line(rows: pd.DataFrame, first: Constraint) -> tuple[int, int]:
    """Count the seeds with an ℓ∞ source beyond the line of `which_constraint`, and all seeds.

    rows, first: as there.
    """
    line, rivals = (
        part.groupby("source_seed")["source_accuracy"].agg(["min", "max"])
        for part in _line_and_rivals(rows, first)
    )
    beyond = (rivals["min"] < line["min"]) | (rivals["max"] > line["max"])
    return int(beyond.sum()), len(beyond)


def _line_and_rivals(rows, first):
    """Return the rows of the sources on the line of `which_constraint`, and of those beside it."""
    kind = rows["constraint"].map(lambda constraint: constraint.name)
    return rows[kind.isin([NATURAL.name, first.name])], rows[kind == LINF]


def shape(rows: pd.DataFrame, first: Constraint, second: Constraint = NATURAL) -> Effect:
    """Return the difference in shape bias, of all images whose cues disagree, in points."""
    return effect(gap(rows.assign(target="conflicts"), "shape_bias_of_all", first, second), "gap")


def influence(rows: pd.DataFrame, first: Constraint, second: Constraint = NATURAL) -> Effect:
    """Return the difference in the share of first images of the hidden class, in points."""
    return effect(gap(rows[rows["labels"] == "true"], "match", first, second), "gap")


class Contrast(NamedTuple):
    """What a claim is judged by: a table, a function of it, and the kind of source it needs."""

    table: str
    function: Callable[..., Effect]
    needs: str = NATURAL.name


CONTRASTS = {
    "better": Contrast("heads", better),
    "most_with_few": Contrast("heads", most_with_few),
    "faster": Contrast("curves", faster),
    "any_depth": Contrast("depths", any_depth),
    "which_constraint": Contrast("heads", which_constraint, LINF),
    "shape": Contrast("shape", shape),
    "influence": Contrast("hidden", influence),
}
"""The contrast of each claim, by its name."""


def effects(world: str, folder: str | Path = RESULTS) -> dict[str, Effect]:
    """Return the effect of each claim that was measured in a world.

    world: the name of a protocol. folder: of the tables, as in `lib.studies.measured.evidence`.
    """
    found = {}
    for name, (table, function, needs) in CONTRASTS.items():
        if has(world, table, folder):
            rows = evidence(world, table, folder)
            if of_kind(rows, needs) and robust(world) in set(rows["constraint"]):
                found[name] = function(rows, robust(world))
    return found


def judged(world: str, folder: str | Path = RESULTS) -> pd.DataFrame:
    """Return the verdicts on the claims that were measured in a world, as of `claims.judge`.

    world, folder: as in `effects`.
    """
    return judge(effects(world, folder))


def of_kind(rows: pd.DataFrame, kind: str) -> list[Constraint]:
    """List the sources of a kind among rows, by the kind's name, in order."""
    return sorted(one for one in rows["constraint"].unique() if one.name == kind)


def printed() -> dict[str, tuple[float, float, float]]:
    """Return what the paper's own tables say of the claims: (mean, low, high), in points.

    Of the transfer ℓ2 3 − natural up to 3,200 images, of which_constraint ℓ2 3 − ℓ∞ 4/255, with
    Student's intervals over its targets; of the influence one network each, so without an interval.
    """
    rows = paper().query("n_train <= 3200").rename(columns={"mean": "clean_accuracy"})
    rows = rows.assign(source_seed=0)
    over_natural = gap(rows, "clean_accuracy", STRONG)
    over_linf = gap(rows, "clean_accuracy", STRONG, Constraint("linf", 4 / 255))
    match = paper_influence()["match"]
    return {
        "better": interval(over_natural.groupby("target")["gap"].mean()),
        "most_with_few": interval(by_doubling(over_natural, "gap", CELL)["slope"]),
        "which_constraint": interval(over_linf.groupby("target")["gap"].mean()),
        "influence": interval([match["robust"] - match["natural"]]),
    }
