"""What a matrix of influence says in one number: do images that matter look alike?"""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

OF = 5
"""Most influential images among which several are counted."""


def same_class(scores: ArrayLike, test_y: ArrayLike, train_y: ArrayLike, ranks: int) -> np.ndarray:
    """Tell whether the most influential training images have the class of the test image.

    scores: (N_test, N_train), as `lib.influence.head_influence` returns them. test_y, train_y:
    classes. ranks: how many of the most influential images, 1 to N_train.

    Returns bool (N_test, ranks), the most influential first.
    """
    scores, test_y, train_y = (np.asarray(v) for v in (scores, test_y, train_y))
    order = np.argsort(-scores, axis=1, kind="stable")[:, :ranks]
    return train_y[order] == test_y[:, None]


def two_rates(same: np.ndarray) -> dict[str, float]:
    """Return the paper's two numbers, shares of the test images, 0 to 1.

    same: bool (N_test, ranks), as `same_class` returns it, of 5 ranks and more.

    Returns match, of those whose most influential image has their class, and three_of_five, of
    those of whose first five at least three have it.
    """
    three = same[:, :OF].sum(1) >= 3
    return {"match": float(same[:, 0].mean()), "three_of_five": float(three.mean())}


def share_found(suspicion: ArrayLike, wrong: ArrayLike, checked: ArrayLike) -> np.ndarray:
    """Return the share of wrong labels found by checking the most suspicious images first.

    suspicion: (N,), larger is checked earlier. wrong: bool (N,), of one label at least. checked:
    shares of the images that are checked, 0 to 1; of one that is checked in part, that part counts.

    Returns the share found for each, (len(checked),).
    """
    suspicion, wrong = np.asarray(suspicion), np.asarray(wrong)
    order = np.argsort(-suspicion, kind="stable")
    shares = np.concatenate([[0], np.cumsum(wrong[order]) / wrong.sum()])
    return np.interp(np.asarray(checked), np.arange(len(shares)) / len(wrong), shares)


def by_rank(rows: pd.DataFrame) -> pd.DataFrame:
    """Make of rows of `lib.studies.attribution.matches` one for each rank, from 1, and share."""
    rows = rows.reset_index(drop=True).explode("by_rank").rename(columns={"by_rank": "share"})
    return rows.assign(rank=rows.groupby(level=0).cumcount() + 1, share=rows["share"].astype(float))


def rates(
    matches: pd.DataFrame,
    retrained: pd.DataFrame,
    at_random: pd.DataFrame,
    *,
    epochs: int,
    damping: float,
    cutoff: float,
) -> pd.DataFrame:
    """Line up the match rates under several definitions of influence, as rows of one form.

    matches, retrained: rows of these functions of `lib.studies.attribution`, with the columns
    constraint, source_seed and epochs. at_random: rows of `matches` with labels drawn at random.
    epochs, damping, cutoff: which of the rows.

    Returns a row for each network, subset and definition: the columns given, definition and share;
    "accuracy" is that of the network. Where no count is named, the rate is that of the first image.
    """
    usual = matches[matches["epochs"] == epochs]
    cut = usual[usual["cutoff"] == cutoff]
    damped = usual[usual["damping"] == damping]
    parts = {
        "accuracy": (damped, "clean_accuracy"),
        "cut-off": (cut, "match"),
        "cut-off, 3 of 5": (cut, "three_of_five"),
        "damping": (damped, "match"),
        "damping, 3 of 5": (damped, "three_of_five"),
        "retraining": (retrained[retrained["damping"] == damping], "match"),
        "random labels": (at_random, "match"),
    }
    return pd.concat(
        [part.assign(definition=name, share=part[value]) for name, (part, value) in parts.items()],
        ignore_index=True,
    )
