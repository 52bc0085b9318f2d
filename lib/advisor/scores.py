"""Shares of right answers: by class, by what is stated, and how well so few images tell them."""

from typing import NamedTuple

import numpy as np
from scipy.stats import binomtest, norm
from torch import Tensor

Interval = tuple[float, float, float]


class Scores(NamedTuple):
    """How a network does on images that it has not seen.

    images: their number. accuracy, low, high: the share that it gets right, 0 to 1, with its 95 %
    interval (Wilson, 1927). balanced: as `balanced` returns it. largest: the share of the largest
    class, which always naming that class would reach. stated: the mean probability, 0 to 1, that
    it states for its answers; a well calibrated network states what it gets right.
    """

    images: int
    accuracy: float
    low: float
    high: float
    balanced: float
    largest: float
    stated: float


def of(probs: Tensor, y: Tensor) -> Scores:
    """Score probabilities (N, C) of images against their labels, int64 (N,)."""
    sure, answers = probs.max(1)
    right, count = int((answers == y).sum()), len(y)
    known = binomtest(right, count).proportion_ci(method="wilson")
    largest = int(y.bincount().max()) / count
    shares = right / count, float(known.low), float(known.high), balanced(answers, y), largest
    return Scores(count, *shares, float(sure.mean()))


def balanced(answers: Tensor, y: Tensor) -> float:
    """Return the mean over the classes of the share, 0 to 1, of their images that are right.

    answers, y: int64 (N,). A class without images does not count.
    """
    right = (answers == y).double()
    counts, hits = y.bincount(), y.bincount(weights=right)
    return float((hits / counts)[counts > 0].mean())


def share(interval: Interval, images: int, level: float = 0.95) -> Interval:
    """Widen an interval of a share to what so many images allow at best (Wilson, 1927).

    Splits of few images may all agree, and their spread then claims to know what it cannot.

    interval: mean, low, high; NaN where unknown. images: that were tested on, each counted once.
    level: of confidence.
    """
    mean, low, high = interval
    known = binomtest(round(mean * images), images).proportion_ci(level, method="wilson")
    return mean, float(np.fmin(low, known.low)), float(np.fmax(high, known.high))


def difference(interval: Interval, images: int, level: float = 0.95) -> Interval:
    """Widen an interval of a difference of two shares of the same images, as `share` does.

    It ends at −1 and 1, beyond which no difference lies.

    At best the two differ on no more images than the difference needs; to these half an image each
    way is added (Agresti and Min, 2005), so that none is without a width. level: of confidence.
    """
    mean, low, high = interval
    apart = images * abs(mean)
    variance = (apart + 1 - apart**2 / (images + 2)) / (images + 2) ** 2
    half = float(norm.ppf((1 + level) / 2)) * variance**0.5
    low, high = np.fmin(low, mean - half), np.fmax(high, mean + half)
    return mean, max(float(low), -1.0), min(float(high), 1.0)
