import numpy as np
import pytest
import torch
from scipy.stats import binom, norm
from sklearn.metrics import balanced_accuracy_score

from lib.advisor import scores
from lib.stats import resampled


def test_scores_are_those_of_scikit_learn_and_of_wilson():
    generator = torch.Generator().manual_seed(0)
    y = torch.tensor([0] * 30 + [1] * 8 + [3] * 2)
    probs = torch.rand(40, 4, generator=generator).softmax(1)
    found, answers = scores.of(probs, y), probs.argmax(1)
    p, n, z = float((answers == y).double().mean()), 40, norm.ppf(0.975)
    assert found.images == 40 and found.accuracy == pytest.approx(p)
    middle = (p + z**2 / 80) / (1 + z**2 / n)
    half = z * (p * (1 - p) / n + z**2 / 6400) ** 0.5 / (1 + z**2 / n)
    assert (found.low, found.high) == pytest.approx((middle - half, middle + half))
    assert found.largest == 0.75
    assert found.stated == pytest.approx(float(probs.amax(1).mean()))
    known = answers.clone()
    known[answers == 2] = 0  # which no image is; scikit-learn would warn
    expected = balanced_accuracy_score(y.numpy(), known.numpy())
    assert scores.balanced(known, y) == pytest.approx(expected)


def test_naming_the_largest_class_is_right_as_often_as_it_is_large_and_no_better():
    y = torch.tensor([0] * 96 + [1] * 4)
    always = torch.tensor([[0.9, 0.1]]).expand(100, 2)
    found = scores.of(always, y)
    assert (found.accuracy, found.balanced, found.largest) == (0.96, 0.5, 0.96)


def test_splits_that_agree_know_no_more_than_so_many_images():
    mean, low, high = scores.share(resampled([0.96] * 20, 0.25), 100)
    assert mean == pytest.approx(0.96) and 0.89 < low < 0.91 and 0.98 < high < 0.99
    # Of a wide interval nothing is taken away, and where there is none, there is one now.
    wide = (0.5, 0.1, 0.9)
    assert scores.share(wide, 1000) == wide
    assert np.isfinite(scores.share((0.5, np.nan, np.nan), 10)).all()
    mean, low, high = scores.difference(resampled([0.0] * 20, 0.25), 100)
    assert mean == 0 and -0.03 < low < -0.01 and 0.01 < high < 0.03


def test_the_floor_of_a_difference_is_the_interval_of_the_fewest_images_that_differ():
    """Agresti and Min's, from counts of images on which one of two networks alone is right."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        n = int(rng.integers(2, 200))
        first, second, _ = rng.multinomial(n, [0.3, 0.2, 0.5])
        gap = (first - second) / n
        _, low, high = scores.difference((gap, np.nan, np.nan), n)
        added = first + 0.5, second + 0.5
        spread = sum(added) - (added[0] - added[1]) ** 2 / (n + 2)
        half = norm.ppf(0.975) * spread**0.5 / (n + 2)
        assert -1 <= low <= gap <= high <= 1
        assert gap - low == pytest.approx(high - gap) or low == -1 or high == 1
        assert max(gap - low, high - gap) <= half + 1e-12
        if not min(first, second):
            assert max(gap - low, high - gap) == pytest.approx(half)
        _, less, _ = scores.difference((gap, np.nan, np.nan), n, level=0.99)
        assert less < low or less == low == -1


def test_a_share_of_few_images_is_held_by_its_interval():
    for n, p in ((8, 0.9), (30, 0.96), (100, 0.5)):
        chances = [
            binom.pmf(k, n, p)
            for k in range(n + 1)
            if (wilson := scores.share((k / n, np.nan, np.nan), n))[1] <= p <= wilson[2]
        ]
        assert sum(chances) > 0.92
