"""What lies beneath a contrast: the differences by size, by target and by how it is shown."""

from itertools import count

import numpy as np
import pandas as pd
from scipy.stats import t as student
from scipy.stats import trim_mean

from lib.constraint import NATURAL, UNTRAINED, Constraint
from lib.random_effects import Effect, effect
from lib.stats import slopes, summary
from lib.studies import claims
from lib.studies.contrasts import CELL, gap, of_kind, over_sizes, over_slopes
from lib.studies.controls import CONTROLS

AS_IT_IS = "as it is"
"""The version of images that nothing is taken from."""
CUT_AWAY = {
    AS_IT_IS: "as they are",
    "low-pass": "without high frequencies",
    "high-pass": "without low frequencies",
    "silhouettes": "of silhouettes",
    "edges": "of edges",
}
"""What images are that lack a cue, by the version or the filter."""


def along(rows: pd.DataFrame, first: Constraint, column: str) -> dict[int, Effect]:
    """Return robust − natural for each value of a column that several targets have, in points.

    column: of whole numbers, as n_train and unfrozen_blocks. Several sizes of a value are averaged.
    """
    pairs = over_sizes(gap(rows, "clean_accuracy", first), column)
    known = pairs.groupby(column)["target"].nunique()
    several = known.index[known >= min(2, pairs["target"].nunique())]
    return {int(n): effect(pairs[pairs[column] == n], "gap") for n in several}


def peaks(rows: pd.DataFrame, first: Constraint) -> pd.Series:
    """Return by target with how many training images robust − natural is the largest.

    rows: as of `lib.studies.measured.paper`.
    """
    lead = gap(rows.assign(source_seed=0), "mean", first)
    return lead.pivot(index="target", columns="n_train", values="gap").idxmax(axis=1)


def of_subsets(rows: pd.DataFrame, first: Constraint) -> float:
    """Return the standard deviation of robust − natural over the subsets of one seed, in points.

    Mean over the sizes; the variances are averaged over targets and seeds. NaN of single subsets.
    """
    pairs = gap(rows, "clean_accuracy", first)
    means = pairs.groupby([*CELL, "subset_seed"])["gap"].mean()
    return float(means.groupby(CELL).var().mean() ** 0.5)


def by_target(
    rows: pd.DataFrame,
    first: Constraint,
    *by: str,
    second: Constraint = NATURAL,
    level: float = 0.95,
) -> pd.DataFrame:
    """Return what one source has over another by target and further columns.

    level: of the intervals, as of `lib.studies.claims.simultaneous`.

    Returns of the differences, as shares, what `lib.stats.summary` does; of one source seed with
    several subsets the interval is over these, as there.
    """
    pairs = gap(rows, "clean_accuracy", first, second)
    return _of_points(pairs, "gap", ["target", *by], level=level)


def judged_by_target(rows: pd.DataFrame, first: Constraint) -> pd.DataFrame:
    """Return `by_target` with the column verdict, as of `lib.studies.claims.verdict`.

    The intervals hold for all targets at once, and it is they that reject 0.
    """
    found = by_target(rows, first, level=claims.simultaneous(rows["target"].nunique()))
    smallest = claims.rules()["statistics"]["smallest_effect"]
    points = 100 * found[["mean", "low", "high"]]
    rejected = (points["low"] > 0) | (points["high"] < 0)
    p = (~rejected).astype(float)
    each = zip(points["mean"], points["low"], points["high"], p, strict=True)
    return found.assign(verdict=[claims.verdict(*values, smallest) for values in each])


def _of_points(pairs, value, by, **how):
    """Summarise a value that is given in points over the seeds: as shares."""
    return summary(pairs.assign(**{value: pairs[value] / 100}), value, by, **how)


def over_natural(rows: pd.DataFrame, first: Constraint) -> pd.DataFrame:
    """Return `by_target` of a robust source and of each control that was trained without a ball.

    Returns the columns of `by_target` and source, a Constraint; the robust one first.
    """
    kinds = [control.kind for control in CONTROLS["better"] if control.kind != UNTRAINED.name]
    others = [one for kind in kinds for one in of_kind(rows, kind)]
    return pd.concat([by_target(rows, one).assign(source=one) for one in (first, *others)])


def at_all_sizes(rows: pd.DataFrame) -> pd.DataFrame:
    """Return what each source has over natural ones by target and number of training images.

    The intervals of a source on a target hold for all sizes of that target at once.

    rows: as of `gap`. Returns the columns target, n_train and constraint, and of the differences,
    as shares, what `lib.stats.summary` does; the intervals are cut at −1 and 1.
    """
    found = []
    for _, part in rows.groupby("target", sort=False):
        how = {"level": claims.simultaneous(part["n_train"].nunique()), "limits": (-1, 1)}
        for one in sorted({*part["constraint"]} - {NATURAL}):
            over = _of_points(gap(part, "clean_accuracy", one), "gap", ["target", "n_train"], **how)
            found.append(over.assign(constraint=one))
    return pd.concat(found, ignore_index=True)


def head_over_scratch(rows: pd.DataFrame, first: Constraint) -> pd.DataFrame:
    """Return what a head on frozen features has over the whole network trained from random weights.

    rows: of models of several depths, random weights among them. Returns the columns of `by_target`
    and n_train.
    """
    blocks = rows["unfrozen_blocks"]
    head = rows[(rows["constraint"] == first) & (blocks == 0)]
    scratch = rows[(rows["constraint"] == UNTRAINED) & (blocks == blocks.max())]
    both = pd.concat([head, scratch]).drop(columns="unfrozen_blocks")
    return by_target(both, first, "n_train", second=UNTRAINED)


def without_controls(rows: pd.DataFrame) -> pd.DataFrame:
    """Keep only the rows of natural sources and of those that were trained against an adversary."""
    return rows[[one == NATURAL or one.ball is not None for one in rows["constraint"]]]


def cut_away(rows: pd.DataFrame, at: float) -> pd.DataFrame:
    """Keep the versions that tell coarse from fine and outlines from all else, and name them.

    rows: of `lib.studies.cue_use.accuracies`. at: of the filters, in cycles per pixel.

    Returns rows with the column images, what their images are.
    """
    images = rows["filter"].fillna(rows["version"]).map(CUT_AWAY)
    kept = images.notna() & (rows["filter"].isna() | (rows["at"] == at))
    return rows[kept].assign(images=images)


def resolution(rows: pd.DataFrame, first: Constraint, second: Constraint = NATURAL) -> Effect:
    """Return by how many points first − second changes as the resolution is halved."""
    return over_slopes(_halved(rows, first, second), "halvings")


def resolution_by_target(rows: pd.DataFrame, first: Constraint) -> pd.DataFrame:
    """Return `resolution`, against natural, by target; else as `by_target`."""
    lines = slopes(_halved(rows, first, NATURAL), "gap", CELL, over="halvings")
    return _of_points(lines, "slope", ["target"])


def resolution_of_each(
    rows: pd.DataFrame, controls: pd.DataFrame, first: Constraint
) -> dict[Constraint, tuple[Effect, Effect]]:
    """Return `resolution` of each control, and that of the robust source over it.

    rows: as of `resolution`. controls: of the controls alone, with fewer sizes: only these count.
    """
    both = pd.concat([rows[rows["n_train"].isin(controls["n_train"])], controls])
    kinds = controls["constraint"].unique()
    return {one: (resolution(both, one), resolution(both, first, one)) for one in kinds}


def shifts(rows: pd.DataFrame, first: Constraint) -> pd.DataFrame:
    """Return by how much robust − natural is higher in other versions of a target than as it is.

    rows: of heads, with the column version.

    Returns a row for each target and version, mean over the sizes; else as `by_target`.
    """
    pairs = gap(rows, "clean_accuracy", first)
    means = pairs.groupby([*CELL, "version"], sort=False)["gap"].mean().unstack()
    more = means.drop(columns=AS_IT_IS).sub(means[AS_IT_IS], axis=0).stack().rename("gap")
    return _of_points(more.reset_index(), "gap", ["target", "version"])


def turned(at: pd.DataFrame) -> list[str]:
    """List the targets that are below 0 at the finest resolution and above at the coarsest.

    Both by their intervals. at: of `by_target`, by resolution.
    """
    ends = at.sort_values("resolution").groupby("target", sort=False)
    both = (ends["low"].first() > 0) & (ends["high"].last() < 0)
    return [str(target) for target in both.index[both]]


def _halved(rows, first, second):
    """Return the gaps of two sources, and how often the resolution was halved, from 1 pixel."""
    pairs = gap(rows, "clean_accuracy", first, second)
    return pairs.assign(halvings=-np.log2(pairs["resolution"]))


def hidden_shares(rows: pd.DataFrame) -> pd.DataFrame:
    """Return percent by what the head learned (true or random groups) and source.

    rows: of `lib.studies.hidden_classes.hidden_matches`. Columns match, three of five, chance and
    accuracy in telling the groups apart, mean over seeds and subsets.
    """
    columns = {"match": "first image", "three_of_five": "three of five", "chance": "chance"}
    columns["clean_accuracy"] = "groups told apart"
    return _percent(rows, ["labels", "constraint"], columns)


def shape_shares(rows: pd.DataFrame) -> pd.DataFrame:
    """Return percent by source: the shape bias of all conflicts, and what it rests on.

    rows: of `lib.shape_bias.bias`. Mean over seeds: shape bias, share of the images decided for
    either cue, and accuracy on what the shape and the texture were taken from.
    """
    columns = {"shape_bias_of_all": "shape bias", "decided_of_all": "decided for either"}
    columns |= {"shape_known": "image of the phase", "texture_known": "image of the amplitude"}
    return _percent(rows, ["constraint"], columns)


def _percent(rows, by, columns):
    """Return the means of shares in percent, by source, under the names that pages give them."""
    means = 100 * rows.groupby(by, sort=False)[list(columns)].mean()
    return means.rename(columns=columns).rename_axis(index=[*by[:-1], "source"])


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


def targets_needed(found: Effect, half: float, level: float) -> int:
    """Return of how many targets the interval of a mean reaches no further than `half` points.

    found: of several targets; their spread, with what its seeds do not average out, is taken for
    that of more of their kind. half: above 0. level: of the interval, 0 to 1.
    """
    spread = found.predicted_se / (1 + 1 / found.targets) ** 0.5
    reach = ((n, student.ppf((1 + level) / 2, n - 1) * spread / n**0.5) for n in count(2))
    return next(n for n, far in reach if far <= half)
