import pytest

from lib import datasets
from lib.datasets.surveys import Survey


def test_what_is_said_first_of_all():
    said = Survey("mine", ("cat", "dog"), {"train": (30, 10), "test": (10, 10)}, ("a note",))
    assert said.totals == (40, 20)
    assert said.lines() == [
        "mine: 40 training and 20 test images of 2 classes; chance is 50 %, the largest class, "
        "cat, has 66.7 %",
        "images of each class: cat 40, dog 20",
        "a note",
    ]


def test_of_many_classes_the_largest_and_the_smallest():
    counts = tuple(range(1, 101))
    said = Survey("many", tuple(f"c{i}" for i in counts), {"train": counts, "test": (0,) * 100})
    assert said.lines()[1] == (
        "images of each class: c100 100, c99 99, c98 98, c97 97, c96 96, c95 95, …, "
        "c6 6, c5 5, c4 4, c3 3, c2 2, c1 1"
    )


@pytest.mark.parametrize("name", ["faces", "shapes"])
def test_of_a_set_by_its_name(name):
    said, (train, test) = datasets.survey(name), datasets.pair(name)
    assert said.classes == train.classes and said.notes == () and said.depth is None
    assert {split: sum(counts) for split, counts in said.counts.items()} == {
        "train": len(train), "test": len(test)
    }  # fmt: skip
