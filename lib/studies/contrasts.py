"""The one contrast of each claim, as data/claims.yaml fixes it, from measured rows."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import trim_mean

from lib.constraint import MIXED_TEXTURES, NATURAL, UNTRAINED, Constraint
from lib.random_effects import Effect, effect, slope
from lib.stats import interval
from lib.studies.claims import rung
from lib.studies.measured import RESULTS, evidence, has, paper, paper_influence

CELL = ["target", "source_seed"]
DRAWN = [*CELL, "resolution", "version", "n_train", "unfrozen_blocks", "subset_seed", "labels"]
"""What a pair of sources shares."""
BLOCKS = 5
"""Of the small residual network."""
LINF = "linf"


def robust(world: str) -> Constraint:
    """Return the rung that stands for all robust sources: fixed by the sources' own task.

    Of the microcosm's ladder it is the middle one, which was fixed before there were rules.
    """
    return rung() if world == "photographs" else Constraint("l2", 0.25)


def gap(
    rows: pd.DataFrame, value: str, first: Constraint, second: Constraint = NATURAL
) -> pd.DataFrame:
    """Subtract what two sources of one seed reach on the same images, in points.

    rows: with the columns constraint, value (0 to 1), and those of DRAWN that tell draws apart. A
    draw that only one of the two has gives no row.

    Returns those columns of DRAWN, and gap.
    """
    keys = [column for column in DRAWN if column in rows]
    sides = [rows[rows["constraint"] == one].set_index(keys)[value] for one in (first, second)]
    return (100 * (sides[0] - sides[1])).dropna().rename("gap").reset_index()


def better(rows: pd.DataFrame, first: Constraint, second: Constraint = NATURAL) -> Effect:
    """Return the difference in accuracy, mean over the sizes of a target, in points."""
    pairs = gap(rows, "clean_accuracy", first, second)
    means = pairs.groupby([*CELL, "n_train"])["gap"].mean().groupby(CELL).mean()
    return effect(means.reset_index(), "gap")


def most_with_few(rows: pd.DataFrame, first: Constraint, second: Constraint = NATURAL) -> Effect:
    """Return the slope of the difference by doubling of the images, in points a doubling."""
    pairs = gap(rows, "clean_accuracy", first, second)
    pairs["doublings"] = np.log2(pairs["n_train"])
    return effect(slope(pairs, "gap", over="doublings"), "slope")


def faster(rows: pd.DataFrame, first: Constraint, second: Constraint = NATURAL) -> Effect:
    """Return the difference in the area under the learning curve, in points."""
    return effect(gap(rows, "area", first, second), "gap")


def head_start(rows: pd.DataFrame, first: Constraint, second: Constraint = NATURAL) -> Effect:
    """Return `faster` less the difference after the last epoch, in points: earliness alone."""
    early = rows.assign(early=rows["area"] - rows["clean_accuracy"])
    return effect(gap(early, "early", first, second), "gap")


def any_depth(rows: pd.DataFrame, first: Constraint, second: Constraint = NATURAL) -> Effect:
    """Return the slope of the difference by unfrozen block, in points a block."""
    pairs = gap(rows, "clean_accuracy", first, second)
    pairs["unfrozen"] = pairs["unfrozen_blocks"].replace(-1, BLOCKS)
    means = pairs.groupby([*CELL, "n_train", "unfrozen"])["gap"].mean()
    means = means.groupby([*CELL, "unfrozen"]).mean().reset_index()
    return effect(slope(means, "gap", over="unfrozen"), "slope")


def which_constraint(rows: pd.DataFrame, first: Constraint) -> Effect:
    """Return ℓ2 − ℓ∞ in accuracy on the target at one accuracy of the sources, in points.

    What ℓ2 would reach at the accuracy that an ℓ∞ source has on its own task lies on a line through
    the natural and the ℓ2 sources of its seed, on the same images of the target; beyond its ends it
    stays as there. Mean over the sizes of a target, and over the ℓ∞ sources.

    rows: as for `better`, with the column source_accuracy, 0 to 1. first: one of the ℓ2 sources.
    """
    keys = [column for column in DRAWN if column in rows]
    kind = rows["constraint"].map(lambda constraint: constraint.name)
    columns = ["source_accuracy", "clean_accuracy"]
    lines = rows[kind.isin([NATURAL.name, first.name])].sort_values(columns[0]).groupby(keys)
    rivals = rows[kind == LINF].groupby(keys)
    gaps = []
    for key, line in lines:
        if key in rivals.groups:
            rival = rivals.get_group(key)
            expected = np.interp(rival[columns[0]], *(line[column] for column in columns))
            apart = 100 * (expected - rival[columns[1]]).mean()
            gaps.append({**dict(zip(keys, key, strict=True)), "gap": apart})
    means = pd.DataFrame(gaps).groupby([*CELL, "n_train"])["gap"].mean().groupby(CELL).mean()
    return effect(means.reset_index(), "gap")


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
CONTROLS: dict[str, tuple[str, Callable[..., Effect], Constraint]] = {
    "better": ("random weights", better, UNTRAINED),
    "faster": ("without the lead at the end", head_start, NATURAL),
    "shape": ("natural, textures mixed", shape, MIXED_TEXTURES),
    "influence": ("random weights", influence, UNTRAINED),
}
"""Of a claim what its effect must beat besides: a name, the contrast, and against which source."""


def effects(world: str, folder: str | Path = RESULTS) -> dict[str, Effect]:
    """Return the effect of each claim that was measured in a world.

    world: photographs or microcosm. folder: of the tables, as in `lib.studies.measured.evidence`.
    """
    found = {}
    for name, (table, function, needs) in CONTRASTS.items():
        if has(world, table, folder):
            rows = evidence(world, table, folder)
            if any(constraint.name == needs for constraint in rows["constraint"].unique()):
                found[name] = function(rows, robust(world))
    return found


def controls(world: str, folder: str | Path = RESULTS) -> dict[str, tuple[str, Effect]]:
    """Return of each claim that has one the control that was measured: its name, and the effect."""
    found = {}
    for name, (called, contrast, reference) in CONTROLS.items():
        table = CONTRASTS[name].table
        if has(world, table, folder):
            rows = evidence(world, table, folder)
            if (rows["constraint"] == reference).any():
                found[name] = called, contrast(rows, robust(world), reference)
    return found


def by_size(rows: pd.DataFrame, first: Constraint) -> dict[int, Effect]:
    """Return robust − natural of heads for each size that every target has, in points."""
    pairs = gap(rows, "clean_accuracy", first)
    known = pairs.groupby("n_train")["target"].nunique()
    full = known.index[known == pairs["target"].nunique()]
    return {int(n): effect(pairs[pairs["n_train"] == n], "gap") for n in full}


def by_target(rows: pd.DataFrame, first: Constraint, *by: str) -> pd.DataFrame:
    """Return the differences to natural by target and further columns, and each seed's own.

    Returns a row for each: target, the columns, mean, low and high (95 %, over seeds), in points,
    and seeds, a list of their means.
    """
    pairs = gap(rows, "clean_accuracy", first)
    rows_of = []
    for key, part in pairs.groupby(["target", *by], sort=False):
        found = effect(part.assign(target="one"), "gap")
        low, high = found.interval()
        own = part.groupby("source_seed")["gap"].mean().tolist()
        columns = dict(zip(["target", *by], key, strict=True))
        rows_of.append({**columns, "mean": found.mean, "low": low, "high": high, "seeds": own})
    return pd.DataFrame(rows_of)


def resolution(rows: pd.DataFrame, first: Constraint) -> Effect:
    """Return by how many points the difference to natural changes as the resolution is halved."""
    return effect(_by_halving(rows, first), "slope")


def resolution_by_target(rows: pd.DataFrame, first: Constraint) -> dict[str, float]:
    """Return `resolution` of each target, mean over the seeds."""
    found = _by_halving(rows, first).groupby("target", sort=False)["slope"].mean()
    return {str(target): float(value) for target, value in found.items()}


def shifts(rows: pd.DataFrame, first: Constraint, usual: str) -> pd.DataFrame:
    """Return by how much robust − natural is higher in each other version of a target.

    rows: of heads, with the column version. usual: the version that the others are compared with.

    Returns a row for each target and version: target, version, mean, low and high (95 %, over
    seeds), in points, mean over the sizes.
    """
    pairs = gap(rows, "clean_accuracy", first)
    means = pairs.groupby([*CELL, "version"], sort=False)["gap"].mean().unstack()
    more = means.drop(columns=usual).sub(means[usual], axis=0).stack().rename("more")
    found = []
    for key, part in more.reset_index().groupby(["target", "version"], sort=False):
        over_seeds = effect(part, "more")
        found.append((*key, over_seeds.mean, *over_seeds.interval()))
    return pd.DataFrame(found, columns=["target", "version", "mean", "low", "high"])


def turned(at: pd.DataFrame) -> list[str]:
    """List the targets whose mean is below 0 at the finest resolution, and above at the coarsest.

    at: of `by_target`, by resolution.
    """
    ends = at.sort_values("resolution").groupby("target", sort=False)["mean"].agg(["first", "last"])
    return [str(target) for target in ends.index[(ends["last"] < 0) & (ends["first"] > 0)]]


def _by_halving(rows, first):
    """Return slopes by target and seed, in points for each halving of the resolution."""
    pairs = gap(rows, "clean_accuracy", first)
    pairs["halvings"] = -np.log2(pairs["resolution"])
    return slope(pairs, "gap", over="halvings")


def hidden_shares(rows: pd.DataFrame) -> pd.DataFrame:
    """Return percent by what the head learned (true or random groups) and source.

    rows: of `lib.studies.hidden_classes.hidden_matches`. Columns match, three of five, chance and
    accuracy in telling the groups apart, mean over seeds and subsets.
    """
    columns = {"match": "first image", "three_of_five": "three of five", "chance": "chance"}
    columns["clean_accuracy"] = "groups told apart"
    found = 100 * rows.groupby(["labels", "constraint"], sort=False)[list(columns)].mean()
    return found.rename(columns=columns).rename_axis(index=["labels", "source"])


def shape_shares(rows: pd.DataFrame) -> pd.DataFrame:
    """Return percent by source: the shape bias of all conflicts, and what it rests on.

    rows: of `lib.shape_bias.bias`. Mean over seeds: shape bias, share of the images decided for
    either cue, and accuracy on what the shape and the texture were taken from.
    """
    columns = {"shape_bias_of_all": "shape bias", "decided_of_all": "decided for either"}
    columns |= {"shape_known": "image of the phase", "texture_known": "image of the amplitude"}
    found = 100 * rows.groupby("constraint", sort=False)[list(columns)].mean()
    return found.rename(columns=columns).rename_axis(index="source")


def interquartile(rows: pd.DataFrame, first: Constraint) -> float:
    """Return the interquartile mean of the differences to natural, in points.

    Over all targets, sizes and seeds: the mean of the middle half (Agarwal et al., 2021).
    """
    return float(trim_mean(gap(rows, "clean_accuracy", first)["gap"], 0.25))


def improvement(rows: pd.DataFrame, first: Constraint, second: Constraint = NATURAL) -> float:
    """Return the probability that the first source is the better on one more target, 0 to 1.

    The share of all pairs of runs, whatever their seeds, ties counting half; mean over the targets
    and sizes (Agarwal et al., 2021, section 4).
    """
    shares = []
    for _, cell in rows.groupby(["target", "n_train"]):
        sides = [cell.loc[cell["constraint"] == one, "clean_accuracy"] for one in (first, second)]
        apart = sides[0].to_numpy()[:, None] - sides[1].to_numpy()
        shares.append(((apart > 0) + (apart == 0) / 2).mean())
    return float(np.mean(shares))


def printed() -> dict[str, tuple[float, float, float]]:
    """Return what the paper's own tables say of the claims: (mean, low, high), in points.

    Of the transfer ℓ2 3 − natural up to 3,200 images, of which_constraint ℓ2 3 − ℓ∞ 4/255, with
    Student's intervals over its targets; of the influence one network each, so without an interval.
    """
    rows = paper().query("n_train <= 3200").rename(columns={"mean": "clean_accuracy"})
    rows, strong = rows.assign(source_seed=0), Constraint("l2", 3.0)
    over_natural = gap(rows, "clean_accuracy", strong)
    over_natural["doublings"] = np.log2(over_natural["n_train"])
    over_linf = gap(rows, "clean_accuracy", strong, Constraint("linf", 4 / 255))
    match = paper_influence()["match"]
    return {
        "better": interval(over_natural.groupby("target")["gap"].mean()),
        "most_with_few": interval(slope(over_natural, "gap", over="doublings")["slope"]),
        "which_constraint": interval(over_linf.groupby("target")["gap"].mean()),
        "influence": interval([match["robust"] - match["natural"]]),
    }
