"""Which source to start from, by repeated splits of one's own labelled images alone."""

import warnings
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from lib import data
from lib.kept import collect
from lib.stats import resampled
from lib.tails import freeze_below, outputs, tune
from lib.training import BATCH

FOLDS = 4
"""Parts that each round of splits divides the images into; each part is once kept for testing."""
TEST_SHARE = 1 / FOLDS


class Split(NamedTuple):
    """One division of the labelled images: its number, and positions, int64, on both sides."""

    number: int
    train: torch.Tensor
    test: torch.Tensor


def splits(images, rounds, seed=0):
    """Divide labelled images into FOLDS parts at random, several times.

    Each part holds the same share of each class, as far as that goes, and is the test side of one
    split: so every image is tested on once a round.

    images: Images, at least two of each class. rounds: how often. seed: of the divisions, the same
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


def sizes(images, parts):
    """List the training-set sizes of a learning curve: 2 a class, doubling, up to a split's all."""
    largest, size, found = min(len(part.train) for part in parts), 2 * len(images.classes), []
    while size < 0.75 * largest:  # else it would tell little that the largest does not
        found.append(size)
        size *= 2
    return [*found, largest]


def measure(
    source, images, parts, *, unfrozen_blocks=0, n=None, epochs=150, lr=0.1, batch_size=128,
    weight_decay=5e-4,
):  # fmt: skip
    """Fine-tune a source to growing parts of each split's training side, and test on the other.

    source, unfrozen_blocks, epochs, lr, batch_size, weight_decay: as in
    `lib.transfer.transfer`. images: Images, all that is labelled. parts: Splits of them. n:
    training-set sizes, or None for `sizes`; a smaller one lies within a larger one. The number of
    a split is the seed of the choice, of the new head and of the batches.

    Returns a DataFrame, one row per fine-tuned model: split, n_train, unfrozen_blocks,
    clean_accuracy (0 to 1, on that split's test side). Raises ValueError as `transfer` does.
    """
    settings = {"epochs": epochs, "lr": lr, "batch_size": batch_size, "weight_decay": weight_decay}
    above, (below,) = freeze_below(source, unfrozen_blocks, [images])
    seeds, rows = [part.number for part in parts], []
    for size in n or sizes(images, parts):
        members = [part.train[data.choose(images[part.train], size, part.number)] for part in parts]
        y = images.y[torch.stack(members)].to(below.device)
        inputs = (below[chosen] for chosen in members)
        tuned = tune(above, inputs, y, len(images.classes), seeds=seeds, **settings)
        for part, (tail, _) in zip(parts, tuned, strict=True):
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


def measure_all(plan, *, label, device="cpu"):
    """Run `measure` for each entry of a plan, several at a time, and collect the rows.

    plan: pairs (columns, call): what to note, as dict, and the keyword arguments of `measure`.
    label, device: as in `lib.parallel.each`. Returns a DataFrame, one row per fine-tuned model.
    """
    return collect(measure, plan, label=label, device=device)


def summary(rows, by):
    """Summarise accuracies over splits, for each combination of the columns `by`.

    rows: as `measure` returns them. Returns a DataFrame of the columns `by`, mean, low and high,
    with intervals as of `lib.stats.resampled`, cut at 0 and 1.
    """
    found = [
        (*(key if isinstance(key, tuple) else (key,)), *resampled(values, TEST_SHARE))
        for key, values in rows.groupby(by, sort=False)["clean_accuracy"]
    ]
    frame = pd.DataFrame(found, columns=[*by, "mean", "low", "high"])
    return frame.assign(low=frame["low"].clip(0, 1), high=frame["high"].clip(0, 1))


def leads(rows, column="source"):
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
    ahead = [(name, *resampled(wide[best] - wide[name], TEST_SHARE, level)) for name in others]
    frame = pd.DataFrame(ahead, columns=[column, "mean", "low", "high"])
    return best, frame.sort_values("mean", kind="stable").reset_index(drop=True)


def difference(rows, first, second, by, column="source"):
    """Compare two choices split by split, for each combination of the columns `by`.

    rows: as `measure` returns them, with the column that tells the choices apart.

    Returns a DataFrame of the columns `by` and by how much the first is ahead of the second: mean,
    low, high (as in `summary`).
    """
    one, other = (
        rows[rows[column] == choice].set_index(["split", *by])["clean_accuracy"]
        for choice in (first, second)
    )
    gaps = (one - other).dropna().reset_index()
    found = [
        (*(key if isinstance(key, tuple) else (key,)), *resampled(values, TEST_SHARE))
        for key, values in gaps.groupby(by, sort=False)["clean_accuracy"]
    ]
    return pd.DataFrame(found, columns=[*by, "mean", "low", "high"])


def recommendation(best, ahead, *, verb="Start from", say=str):
    """Say in a sentence or two what to choose, and how sure that is.

    best, ahead: as `leads` returns them. verb: what to do with it. say: maps a choice to
    words.
    """
    if ahead.empty:
        return f"Only {say(best)} was measured, so there is nothing to choose."
    column, surely = ahead.columns[0], ahead["low"] > 0
    tied = [say(choice) for choice in ahead.loc[~surely, column]]
    if not surely.any():
        others = _listed([say(best), *tied], "and")
        return f"No difference can be told between {others}; {say(best)} has the highest mean."
    next_ = ahead.loc[surely, column].iloc[0]
    points = 100 * ahead.loc[surely, ["mean", "low", "high"]].iloc[0]
    lead = "ahead of {} by {:.1f} points ({:.1f} to {:.1f})".format(say(next_), *points)
    if tied:
        others = _listed([say(best), *tied], "or")
        return (
            f"{verb} {others}: no difference can be told between them, but {say(best)}, with the "
            f"highest mean, is {lead}."
        )
    more = ", and of the others by more" * (len(ahead) > 1)
    return f"{verb} {say(best)}: it is {lead}{more}."


def _listed(words, last):
    """List words: a, b and c."""
    return f" {last} ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def depth_in_words(unfrozen_blocks):
    """Say what is trained: the head alone, the head and the last block, everything."""
    if unfrozen_blocks < 0:
        return "everything"
    if unfrozen_blocks < 2:
        return ("the head alone", "the head and the last block")[unfrozen_blocks]
    return f"the head and the last {unfrozen_blocks} blocks"
