"""Which source to start from, by repeated splits of one's own labelled images alone."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from lib.advisor import scores
from lib.advisor.copies import stand_ins
from lib.constraint import FROM_SCRATCH, UNTRAINED, Constraint
from lib.images import Images, choose
from lib.stats import resampled
from lib.training import BATCH
from lib.tuning import Recipe, freeze_below, outputs, tune

FOLDS = 4
"""Parts that each round of splits divides the images into; each part is once kept for testing."""
TEST_SHARE = 1 / FOLDS


class Split(NamedTuple):
    """One division of the labelled images: its number, and positions, int64, on both sides."""

    number: int
    train: Tensor
    test: Tensor


@dataclass(frozen=True, order=True)
class Plan:
    """A source, and how much of it is trained: unfrozen_blocks as in `lib.transfer.transfer`."""

    constraint: Constraint
    unfrozen_blocks: int


def splits(images: Images, rounds: int, seed: int = 0) -> list[Split]:
    """Divide labelled images into FOLDS parts at random, several times.

    Each part holds the same share of each class, as far as that goes, and is the test side of one
    split: so every image is tested on once a round. Identical images stay on one side, whatever
    their labels: the one of the smallest class is divided, and the others go with it.

    images: at least two different ones of each class. rounds: how often. seed: of the divisions,
    the same for every source.

    Returns FOLDS × rounds Splits. Raises ValueError for a class with fewer than two different
    images, and for fewer than FOLDS images a class on average.
    """
    place, classes = stand_ins(images), len(images.classes)
    alone = place.unique()
    y = images.y[alone]
    _, labels = torch.stack([place, images.y]).unique(dim=1)
    counts = labels.bincount(minlength=classes).tolist()
    for name, count in zip(images.classes, counts, strict=True):
        if count < 2:
            raise ValueError(
                f"class {name!r} has {count} different labelled image(s); at least 2 are needed: "
                "label more, or leave the class out"
            )
    if len(labels) < FOLDS * classes or y.bincount().max() < FOLDS:
        raise ValueError(
            f"{len(y)} different images of {classes} classes are too few to split; at least "
            f"{FOLDS * classes} are needed"
        )
    from sklearn.model_selection import RepeatedStratifiedKFold  # slow to import

    folds = RepeatedStratifiedKFold(n_splits=FOLDS, n_repeats=rounds, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        tests = [alone[test] for _, test in folds.split(np.zeros(len(y)), y.numpy())]
    held = [torch.isin(place, test) for test in tests]
    sides = [[side.nonzero().flatten() for side in (~mask, mask)] for mask in held]
    return [Split(i, *pair) for i, pair in enumerate(sides)]


def sizes(images: Images, parts: Sequence[Split]) -> list[int]:
    """List the training-set sizes of a learning curve: 2 a class, doubling, up to a split's all."""
    largest, doubled = min(len(part.train) for part in parts), [2 * len(images.classes)]
    while doubled[-1] < 0.75 * largest:  # else it would tell little that the largest does not
        doubled.append(2 * doubled[-1])
    return [*doubled[:-1], largest]


def measure(
    source: nn.Module,
    images: Images,
    parts: Sequence[Split],
    *,
    unfrozen_blocks: int = 0,
    n: Sequence[int] | None = None,
    **recipe,
) -> pd.DataFrame:
    """Fine-tune a source to growing parts of each split's training side, and test on the other.

    source, unfrozen_blocks: as in `lib.transfer.transfer`. images: all that is labelled. parts:
    Splits of them. n: training-set sizes, or None for `sizes`; a smaller one lies within a larger
    one. recipe: as in `lib.tuning.Recipe`. The number of a split is the seed of the choice, of the
    new head and of the batches.

    Returns a DataFrame, one row per fine-tuned model: split, n_train, unfrozen_blocks, n_test, and
    of that split's test side, 0 to 1, clean_accuracy and balanced_accuracy, the mean over the
    classes. Raises ValueError as `transfer` does.
    """
    how = Recipe(**recipe)
    above, (below,) = freeze_below(source, unfrozen_blocks, [images])
    seeds, rows = [part.number for part in parts], []
    for size in n or sizes(images, parts):
        members = torch.stack(
            [part.train[choose(images[part.train], size, part.number)] for part in parts]
        )
        y, classes = images.y[members], len(images.classes)
        tails = tune(above, below, members, y, classes, how, seeds=seeds)
        for part, (tail, _) in zip(parts, tails, strict=True):
            answers = outputs(tail, below[part.test].split(BATCH)).argmax(1).cpu()
            truth = images.y[part.test]
            rows.append(
                {
                    "split": part.number,
                    "n_train": size,
                    "unfrozen_blocks": unfrozen_blocks,
                    "n_test": len(truth),
                    "clean_accuracy": float((answers == truth).double().mean()),
                    "balanced_accuracy": scores.balanced(answers, truth),
                }
            )
    return pd.DataFrame(rows)


def plans(rows: pd.DataFrame) -> pd.DataFrame:
    """Give each row of `measure` its Plan as a column plan.

    Random weights that are all trained are called from scratch, as a constraint too.
    """
    whole = (rows["constraint"] == UNTRAINED) & (rows["unfrozen_blocks"] == -1)
    called = [FROM_SCRATCH if w else c for c, w in zip(rows["constraint"], whole, strict=True)]
    plan = [Plan(c, int(k)) for c, k in zip(called, rows["unfrozen_blocks"], strict=True)]
    return rows.assign(constraint=called, plan=plan)


def summary(rows: pd.DataFrame, by: Sequence[str], choices: int = 1) -> pd.DataFrame:
    """Summarise accuracies over splits, for each combination of the columns `by`.

    rows: as `measure` returns them. choices: from how many the one that is looked at was picked by
    its mean: each interval is one of 1 − 0.05/choices (Bonferroni).

    Returns a DataFrame of the columns `by`, mean, low, high and balanced, the mean balanced
    accuracy; intervals as of `lib.stats.resampled`, no narrower than so many images allow
    (`scores.share`), cut at 0 and 1.
    """
    found, level = [], 1 - 0.05 / choices
    for key, group in rows.groupby(list(by), sort=False):
        interval = resampled(group["clean_accuracy"], TEST_SHARE, level=level)
        values = scores.share(interval, _tested(group), level)
        found.append((*key, *np.clip(values, 0, 1), group["balanced_accuracy"].mean()))
    return pd.DataFrame(found, columns=[*by, "mean", "low", "high", "balanced"])


def leads(rows: pd.DataFrame, column: str = "constraint") -> tuple[Any, pd.DataFrame]:
    """Compare the best of several choices with each other one, split by split.

    The intervals hold together with 95 %: each is one of 1 − 0.05/k for the k pairs that there are
    (Bonferroni), since any of the choices could have come out as the best.

    rows: as `measure` returns them, of one size, with the column that tells the choices apart.

    Returns (best, DataFrame): the choice of highest mean accuracy, of several that share it the one
    that asks least (trained sources before random weights, fewer blocks before more), and for each
    other one its name under `column` and by how much the best is ahead: mean, low, high (as in
    `difference`), the closest first. Raises ValueError where a choice lacks a split that another
    has.
    """
    wide = rows.pivot(index="split", columns=column, values="clean_accuracy")
    if wide.isna().any(axis=None):
        lacking = wide.columns[wide.isna().any()][0]
        raise ValueError(f"{lacking} lacks splits that others have; measure all on the same")
    means, images = wide.mean(), _tested(rows)
    best = min(means.index[np.isclose(means, means.max(), rtol=0, atol=1e-9)], key=_asked)
    others = [name for name in wide if name != best]
    level = 1 - 0.05 / max(math.comb(len(wide.columns), 2), 1)
    ahead = [(name, *_apart(wide[best] - wide[name], images, level)) for name in others]
    frame = pd.DataFrame(ahead, columns=[column, "mean", "low", "high"])
    return best, frame.sort_values("mean", kind="stable").reset_index(drop=True)


def _asked(choice):
    """Return what puts choices in order that are equally good."""
    depth = getattr(choice, "unfrozen_blocks", 0)
    by_chance = getattr(choice, "constraint", choice) in (UNTRAINED, FROM_SCRATCH)
    return by_chance, depth < 0, depth


def difference(rows: pd.DataFrame, first: Constraint, second: Constraint) -> pd.DataFrame:
    """Compare two sources split by split, at each training-set size.

    rows: as `measure` returns them, with a column constraint.

    Returns a DataFrame of n_train, rising, and by how much the first is ahead of the second: mean,
    low, high, with intervals as of `lib.stats.resampled`, no narrower than so many images allow
    (`scores.difference`).
    """
    images = _tested(rows)
    found = [(n, *_apart(gap.dropna(), images)) for n, gap in _lead(rows, first, second).items()]
    return pd.DataFrame(found, columns=["n_train", "mean", "low", "high"])


def change(
    rows: pd.DataFrame, first: Constraint, second: Constraint, few: int, many: int
) -> pd.DataFrame:
    """Compare the lead of one source over another at two sizes, split by split.

    rows: as in `difference`. few, many: training-set sizes. Returns a DataFrame of one row, by how
    much the lead is larger with few images: mean, low, high (as in `difference`).
    """
    lead = _lead(rows, first, second)
    values = _apart(lead[few] - lead[many], _tested(rows))
    return pd.DataFrame([values], columns=["mean", "low", "high"])


def _lead(rows, first, second):
    """Return by how much one source is ahead of another: a row a split, a column a size."""
    wide = rows.pivot(index="split", columns=["constraint", "n_train"], values="clean_accuracy")
    return wide[first] - wide[second]


def _apart(gaps, images, level=0.95):
    """Return mean, low and high of differences over splits of so many images."""
    return scores.difference(resampled(gaps, TEST_SHARE, level=level), images, level)


def _tested(rows):
    """Count the images that the splits of rows test on, each once: those of a round at most."""
    sides = rows.groupby("split")["n_test"].first()
    return round(sides.mean() * min(len(sides), FOLDS))
