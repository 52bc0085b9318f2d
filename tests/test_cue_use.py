import math

import pytest
import torch
from PIL import Image
from torch import nn

from lib import conflicts, data, training
from lib.attacks import evaluating
from lib.conflicts import Conflicts
from lib.cue_use import accuracies, answers, bias, pulled_apart
from lib.images import Images


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
    assert row["by_class"]["a"] == pytest.approx(2 / 3) and row["by_class"]["b"] == 1 / 2
    assert math.isnan(row["by_class"]["c"])


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
    images = world[1][:50]
    with torch.no_grad(), evaluating(natural):
        expected = natural(images.x / 255).argmax(1)
    assert torch.equal(answers(natural, images.x, batch_size=7), expected)


def test_a_trained_network_knows_one_cue_at_least(natural):
    row = bias(natural, conflicts.drawn(180, 3))
    assert max(row["shape_known"], row["texture_known"]) > 0.5 and row["decided_of_all"] > 0.5


def test_accuracies_of_each_version(natural, world):
    images = world[1][:100]
    blank = Images(torch.full_like(images.x, 127), images.y, images.classes)
    rows = accuracies(natural, {"same": images, ("blank", 0): blank})
    assert [row["version"] for row in rows] == ["same", ("blank", 0)]
    assert rows[0]["accuracy"] == training.accuracy(natural, images)
    (answer,) = answers(natural, blank.x[:1])
    assert rows[1]["accuracy"] == pytest.approx(float((images.y == answer).double().mean()))


@pytest.mark.parametrize("kind", ["drawn", "phase"])
def test_conflicts_by_name(kind, world):
    found, mapping = pulled_apart(kind, world[1], 20, seed=2)
    made = {
        "drawn": lambda: conflicts.drawn(20, 2),
        "phase": lambda: conflicts.phase_against_amplitude(world[1], 20, 2),
    }[kind]()
    assert torch.equal(found.x, made.x) and mapping is None


def test_conflicts_have_the_size_of_the_images(tmp_path):
    images = data.load("microcosm", n=20, size=40)
    assert pulled_apart("drawn", images, 20)[0].x.shape == (20, 3, 40, 40)
    assert pulled_apart("phase", images, 20)[0].x.shape == (20, 3, 40, 40)
    (tmp_path / "star").mkdir()
    Image.new("RGB", (32, 32)).save(tmp_path / "star" / "star1-disc2.png")
    assert pulled_apart(str(tmp_path), images, 20)[0].x.shape == (1, 3, 40, 40)


def test_published_conflicts_by_folder(tmp_path, world):
    (tmp_path / "star").mkdir()
    Image.new("RGB", (32, 32)).save(tmp_path / "star" / "star1-disc2.png")
    found, mapping = pulled_apart(str(tmp_path), world[1], 20)
    assert found.classes == ("disc", "star") and len(found) == 1
    assert mapping.tolist() == [0, -1, -1, -1, -1, 1, -1, -1, -1, -1]


def test_drawn_conflicts_of_other_classes_are_refused():
    with pytest.raises(ValueError, match="only be drawn of the microcosm's classes, not of 0, 1"):
        pulled_apart("drawn", data.load("digits", "test"), 20)


def test_photographs_give_conflicts_too():
    faces = data.load("faces", "test")
    found = conflicts.phase_against_amplitude(faces, 12, 0)
    assert sorted(zip(found.shape.tolist(), found.texture.tolist(), strict=True)) == [
        *[(0, 1)] * 6,
        *[(1, 0)] * 6,
    ]
