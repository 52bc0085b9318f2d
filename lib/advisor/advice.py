"""Which source to start from, by repeated splits of one's own labelled images alone."""

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

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


def splits(images: Images, rounds: int, seed: int = 0) -> list[Split]:
    """Divide labelled images into FOLDS parts at random, several times.

    Each part holds the same share of each class, as far as that goes, and is the test side of one
    split: so every image is tested on once a round.

    images: at least two of each class. rounds: how often. seed: of the divisions, the same
    for every source.

    Returns FOLDS × rounds Splits. Raises ValueError for a class with fewer than two images, and
    for fewer than FOLDS images a class on average.
    """
    counts = images.y.bincount(minlength=len(images.classes))
    for name, count in zip(images.classes, counts.tolist(), strict=True):
        if count < 2:
            raise ValueError(f"class {name!r} has {count} labelled image(s); at least 2 are needed")
    if len(images) < FOLDS * len(images.classes):
        raise ValueError(
            f"{len(images)} images of {len(images.classes)} classes are too few to split; at "
            f"least {FOLDS * len(images.classes)} are needed"
        )
    from sklearn.model_selection import RepeatedStratifiedKFold  # slow to import

    folds = RepeatedStratifiedKFold(n_splits=FOLDS, n_repeats=rounds, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        sides = list(folds.split(np.zeros(len(images)), images.y.numpy()))
    return [Split(i, *map(torch.from_numpy, pair)) for i, pair in enumerate(sides)]


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

    Returns a DataFrame, one row per fine-tuned model: split, n_train, unfrozen_blocks,
    clean_accuracy (0 to 1, on that split's test side). Raises ValueError as `transfer` does.
    """
    how = Recipe(**recipe)
    above, (below,) = freeze_below(source, unfrozen_blocks, [images])
    seeds, rows = [part.number for part in parts], []
    for size in n or sizes(images, parts):
        members = [part.train[choose(images[part.train], size, part.number)] for part in parts]
        y = images.y[torch.stack(members)].to(below.device)
        inputs = (below[chosen] for chosen in members)
        tails = tune(above, inputs, y, len(images.classes), how, seeds=seeds)
        for part, (tail, _) in zip(parts, tails, strict=True):
            answers = outputs(tail, below[part.test].split(BATCH)).argmax(1).cpu()
            rows.append(
                {
                    "split": part.number,
                    "n_train": size,
                    "unfrozen_blocks": unfrozen_blocks,
                    "clean_accuracy": float((answers == images.y[part.test]).double().mean()),
                }
            )
    return pd.DataFrame(rows)


def summary(rows: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Summarise accuracies over splits, for each combination of the columns `by`.

    rows: as `measure` returns them. Returns a DataFrame of the columns `by`, mean, low and high,
    with intervals as of `lib.stats.resampled`, cut at 0 and 1.
    """
    frame = _over_splits(rows, by)
    return frame.assign(low=frame["low"].clip(0, 1), high=frame["high"].clip(0, 1))


def leads(rows: pd.DataFrame, column: str = "constraint") -> tuple[Any, pd.DataFrame]:
    """Compare the best of several choices with each other one, split by split.

    The intervals hold together with 95 %: each is one of 1 − 0.05/k for k comparisons. That also
    allows for the best being chosen on the same numbers (Hsu, 1981).

    rows: as `measure` returns them, of one size, with the column that tells the choices apart.

    Returns (best, DataFrame): the choice of highest mean accuracy, and for each other one its
    name under `column` and by how much the best is ahead: mean, low, high (as in `summary`), the
    closest first. Raises ValueError where a choice lacks a split that another has.
    """
    wide = rows.pivot(index="split", columns=column, values="clean_accuracy")
    if wide.isna().any(axis=None):
        lacking = wide.columns[wide.isna().any()][0]
        raise ValueError(f"{lacking} lacks splits that others have; measure all on the same")
    best = wide.mean().idxmax()
    others = [name for name in wide if name != best]
    level = 1 - 0.05 / max(len(others), 1)
    gaps = {name: wide[best] - wide[name] for name in others}
    ahead = [(name, *resampled(gap, TEST_SHARE, level=level)) for name, gap in gaps.items()]
    frame = pd.DataFrame(ahead, columns=[column, "mean", "low", "high"])
    return best, frame.sort_values("mean", kind="stable").reset_index(drop=True)


def difference(
    rows: pd.DataFrame, first: Any, second: Any, by: Sequence[str], column: str = "constraint"
) -> pd.DataFrame:
    """Compare two choices split by split, for each combination of the columns `by`.

    rows: as `measure` returns them, with the column that tells the choices apart.

    Returns a DataFrame of the columns `by` and by how much the first is ahead of the second: mean,
    low, high (as in `summary`, not cut).
    """
    one, other = (
        rows[rows[column] == choice].set_index(["split", *by])["clean_accuracy"]
        for choice in (first, second)
    )
    return _over_splits((one - other).dropna().reset_index(), by)


def change(
    rows: pd.DataFrame, first: Any, second: Any, few: int, many: int, column: str = "constraint"
) -> pd.DataFrame:
    """Compare the lead of one choice over another at two sizes, split by split.

    rows: as `measure` returns them. few, many: training-set sizes. Returns a DataFrame of one row,
    by how much the lead is larger with few images: mean, low, high (as in `summary`, not cut).
    """
    wide = rows.pivot(index="split", columns=[column, "n_train"], values="clean_accuracy")
    lead = wide[first] - wide[second]
    values = resampled(lead[few] - lead[many], TEST_SHARE)
    return pd.DataFrame([values], columns=["mean", "low", "high"])


def _over_splits(rows, by):
    """Return mean, low and high of the accuracies over splits, for each combination of `by`."""
    grouped = rows.groupby(list(by), sort=False)["clean_accuracy"]
    values = [(*key, *resampled(group, TEST_SHARE)) for key, group in grouped]
    return pd.DataFrame(values, columns=[*by, "mean", "low", "high"])
