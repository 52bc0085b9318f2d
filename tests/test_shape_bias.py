import math
from collections import Counter

import numpy as np
import pytest
import torch

from lib.shape_bias import by_class, decided, decisions, shape_bias

ARRAYS = [lambda values: torch.tensor(values), lambda values: np.array(values), list]


@pytest.mark.parametrize("array", ARRAYS)
def test_by_hand(array):
    # For the shape, the texture, neither, the shape; the last image is no conflict.
    predictions, shape, texture = [0, 1, 2, 3, 5], [0, 0, 0, 3, 5], [1, 1, 1, 0, 5]
    found = [array(v) for v in (predictions, shape, texture)]
    assert shape_bias(*found) == pytest.approx(2 / 3)
    assert decided(*found) == pytest.approx(3 / 4)


def test_against_counting_one_by_one():
    generator = np.random.default_rng(0)
    predictions, shape, texture = generator.integers(0, 4, (3, 500))
    count = Counter()
    for answer, one, other in zip(predictions, shape, texture, strict=True):
        if one != other:
            count["shape" if answer == one else "texture" if answer == other else "neither"] += 1
    either = count["shape"] + count["texture"]
    assert shape_bias(predictions, shape, texture) == count["shape"] / either
    assert decided(predictions, shape, texture) == either / count.total()
    for_shape, for_texture = decisions(predictions, shape, texture)
    assert (for_shape.sum(), for_texture.sum()) == (count["shape"], count["texture"])


def test_the_two_cues_are_opposites():
    predictions, shape, texture = torch.randint(
        3, (3, 200), generator=torch.Generator().manual_seed(0)
    )
    swapped = shape_bias(predictions, texture, shape)
    assert shape_bias(predictions, shape, texture) + swapped == pytest.approx(1)


def test_by_class():
    predictions, shape, texture = [0, 1, 1, 0, 2], [0, 0, 1, 1, 2], [1, 1, 0, 0, 2]
    found = by_class(predictions, shape, texture, ("a", "b", "c"))
    assert found["a"] == 0.5 and found["b"] == 0.5 and math.isnan(found["c"])


def test_nothing_decided_is_no_number():
    assert math.isnan(shape_bias([2], [0], [1])) and decided([2], [0], [1]) == 0
    assert math.isnan(shape_bias([1], [1], [1])) and math.isnan(decided([1], [1], [1]))
    assert math.isnan(shape_bias([], [], []))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (([0, 1], [0], [1]), r"predictions \(2,\), shape \(1,\) and texture \(1,\)"),
        (([[0]], [[1]], [[2]]), "must be of one length"),
        (([0.5], [0], [1]), "predictions holds float64; allowed are class indices"),
        (([0], [True], [False]), "shape holds bool"),
    ],
)
def test_bad_input(given, message):
    with pytest.raises(ValueError, match=message) as error:
        shape_bias(*given)
    assert "\n" not in str(error.value)
