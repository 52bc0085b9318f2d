import numpy as np
import pytest
import torch

from lib.studies.matching import same_class, share_found, two_rates

SCORES = torch.tensor([[0.1, 0.9, 0.5, -1.0], [2.0, 1.0, 3.0, 4.0]])
TRAIN_Y, TEST_Y = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1])


def test_matches_by_hand():
    # Image 0 ranks 1, 2, 0, 3: classes 0 1 0 1. Image 1 ranks 3, 2, 0, 1: classes 1 1 0 0.
    expected = [[True, False, True, False], [True, True, False, False]]
    assert same_class(SCORES, TEST_Y, TRAIN_Y, 4).tolist() == expected
    assert same_class(SCORES, TEST_Y, TRAIN_Y, 1).tolist() == [[True], [True]]


def test_matches_equal_a_loop():
    generator = np.random.default_rng(0)
    scores = generator.normal(size=(20, 30))
    test_y, train_y = generator.integers(0, 3, 20), generator.integers(0, 3, 30)
    same = same_class(scores, test_y, train_y, 30)
    for i in range(20):
        ranked = sorted(range(30), key=lambda j: -scores[i, j])
        assert same[i].tolist() == [train_y[j] == test_y[i] for j in ranked]


def test_the_two_rates_by_hand():
    same = np.array(
        [[1, 1, 1, 0, 0], [1, 1, 0, 0, 1], [1, 0, 0, 0, 1], [0, 0, 0, 0, 0]], dtype=bool
    )
    expected = {"match": 0.75, "three_of_five": 0.5}
    assert two_rates(same) == expected
    assert two_rates(np.hstack([same, np.ones((4, 3), dtype=bool)])) == expected


def test_found_by_hand():
    # Checked in the order 2, 0, 3, 1; wrong are 2 and 1.
    suspicion, wrong = [5, 1, 9, 2], [False, True, True, False]
    assert share_found(suspicion, wrong, [0, 0.25, 0.5, 0.75, 1]).tolist() == [0, 0.5, 0.5, 0.5, 1]
    assert share_found(suspicion, wrong, [0.125]).tolist() == [0.25]  # half of the first image


def test_a_random_order_finds_in_proportion():
    generator = np.random.default_rng(0)
    wrong = np.arange(200) < 40
    curves = [share_found(generator.random(200), wrong, [0.2, 0.5]) for _ in range(300)]
    assert np.mean(curves, axis=0) == pytest.approx([0.2, 0.5], abs=0.02)
