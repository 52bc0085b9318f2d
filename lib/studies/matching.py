"""What a matrix of influence says in one number: do images that matter look alike?"""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike


def same_class(scores: ArrayLike, test_y: ArrayLike, train_y: ArrayLike, ranks: int) -> np.ndarray:
    """Tell whether the most influential training images have the class of the test image.

    scores: (N_test, N_train), as `lib.influence.head_influence` returns them. test_y, train_y:
    classes. ranks: how many of the most influential images, 1 and more.

    Returns bool (N_test, ranks), the most influential first. Raises ValueError for shapes that do
    not fit, and for more ranks than there are training images.
    """
    scores, test_y, train_y = (np.asarray(v) for v in (scores, test_y, train_y))
    if scores.shape != (len(test_y), len(train_y)):
        raise ValueError(
            f"scores are {scores.shape}; expected ({len(test_y)}, {len(train_y)}), a row for each "
            "test image and a column for each training image"
        )
    if not 1 <= ranks <= len(train_y):
        raise ValueError(f"ranks is {ranks}; allowed are 1 to {len(train_y)}, all training images")
    order = np.argsort(-scores, axis=1, kind="stable")[:, :ranks]
    return train_y[order] == test_y[:, None]


def at_least(matches: np.ndarray, k: int, of: int) -> float:
    """Return the share of test images of whose first `of` training images at least k match.

    matches: bool (N_test, ranks), as `same_class` returns them. Raises ValueError where there are
    fewer ranks than `of`.
    """
    if not 0 < k <= of <= matches.shape[1]:
        raise ValueError(f"{k} of {of} asked, of {matches.shape[1]} ranks; allowed is 1 ≤ k ≤ of")
    return float((matches[:, :of].sum(1) >= k).mean())


def found(suspicion: ArrayLike, wrong: ArrayLike, checked: ArrayLike) -> np.ndarray:
    """Return the share of wrong labels found by checking the most suspicious images first.

    suspicion: (N,), larger is checked earlier. wrong: bool (N,). checked: shares of the images
    that are checked, 0 to 1; of an image that is checked in part, that part counts.

    Returns the share found for each, (len(checked),). Raises ValueError where no label is wrong.
    """
    suspicion, wrong = np.asarray(suspicion), np.asarray(wrong)
    if not wrong.any():
        raise ValueError("no label is wrong, so there is nothing to find")
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
