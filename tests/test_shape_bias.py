import math
from collections import Counter

import numpy as np
import pytest
import torch
from torch import nn

from lib import cue_conflict
from lib.attacks import evaluating
from lib.cue_conflict import Conflicts
from lib.shape_bias import answers, bias, decide, decided, decisions, shape_bias

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


def test_decide_averages():
    # Three source classes belong to 0, one to 1, and the last to none.
    belongs = torch.tensor([0, 0, 1, 0, -1])
    probabilities = torch.tensor([[0.2, 0.2, 0.3, 0.2, 0.1], [0.3, 0.1, 0.1, 0.1, 0.4]])
    means = [[0.2, 0.3], [0.5 / 3, 0.1]]
    expected = [row.index(max(row)) for row in means]
    assert decide(probabilities, belongs).tolist() == expected == [1, 0]


class Table(nn.Module):
    """Answers, for an image of one grey, the class that stands in a table of greys."""

    def __init__(self, table, classes):
        super().__init__()
        self.table, self.classes = table, classes
        self.weight = nn.Parameter(torch.zeros(1))  # it has a device

    def forward(self, x):
        greys = (x[:, 0, 0, 0] * 255).round().long().tolist()
        found = torch.tensor([self.table[grey] for grey in greys])
        return 5 * nn.functional.one_hot(found, self.classes).float() + self.weight


def grey(*values):
    return torch.tensor(values, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 4, 4)


SIX = Conflicts(
    x=grey(10, 11, 12, 13, 14, 15),
    shape=torch.tensor([0, 0, 0, 1, 1, 1]),
    texture=torch.tensor([1, 1, 1, 0, 0, 0]),
    classes=("a", "b", "c"),
    shape_alone=grey(20, 21, 22, 23, 24, 25),
    texture_alone=grey(30, 31, 32, 33, 34, 35),
)
# Shape, shape, texture, texture, neither, shape; the 2nd shape and the 3rd texture are not known.
TABLE = {10: 0, 11: 0, 12: 1, 13: 0, 14: 2, 15: 1}
TABLE |= {20: 0, 21: 2, 22: 0, 23: 1, 24: 1, 25: 1}
TABLE |= {30: 1, 31: 1, 32: 2, 33: 0, 34: 0, 35: 0}


def test_only_conflicts_of_known_cues_count():
    row = bias(Table(TABLE, 3), SIX)
    assert row["conflicts"] == 6 and row["counted"] == 4  # without the 2nd and the 3rd
    assert row["shape_bias"] == pytest.approx(2 / 3) and row["decided"] == 3 / 4
    assert row["shape_bias_of_all"] == pytest.approx(3 / 5)
    assert row["decided_of_all"] == pytest.approx(5 / 6)
    assert row["shape_known"] == row["texture_known"] == pytest.approx(5 / 6)


def test_without_the_cues_alone_all_count():
    row = bias(Table(TABLE, 3), Conflicts(SIX.x, SIX.shape, SIX.texture, SIX.classes))
    assert row["counted"] == 6 and row["shape_bias"] == row["shape_bias_of_all"]
    assert math.isnan(row["shape_known"])


def test_a_mapping_translates():
    # The model knows five classes; 3 and 4 are the stimuli's 0, 2 its 1, and 0 and 1 nothing.
    swapped = {grey: {0: 3, 1: 2, 2: 2}[answer] for grey, answer in TABLE.items()}
    mapping = torch.tensor([-1, -1, 1, 0, 0])
    found = answers(Table(swapped, 5), SIX.x, mapping=mapping)
    assert found.tolist() == [0, 0, 1, 0, 1, 1]


def test_answers_are_those_of_the_model_in_eval_mode(natural, world):
    images = world[1][:150]
    with torch.no_grad(), evaluating(natural):
        expected = natural(images.x / 255).argmax(1)
    # The last bits of a logit hang on the size of the batch, and two may be that near.
    assert (answers(natural, images.x) != expected).sum() <= 1


def test_a_trained_network_knows_one_cue_at_least(natural):
    row = bias(natural, cue_conflict.drawn(180, 3))
    # Over training seeds 0.68 ± 0.15 (chance 0.1) and 0.73 ± 0.11 (chance 0.2).
    assert max(row["shape_known"], row["texture_known"]) > 0.2 and row["decided_of_all"] > 0.35
