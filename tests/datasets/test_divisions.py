import pytest

from lib.datasets.divisions import split_of


@pytest.mark.parametrize(
    ("split", "names"),
    [
        ("train", "train Train TRAINING training_set train-images trainset seg_train Train2017"),
        ("validation", "val VAL valid Validation dev validate val_data development validation-set"),
        ("test", "test Testing TEST test_set tst images_test holdout Held-Out evaluation test1"),
    ],
)
def test_a_split_in_any_spelling(split, names):
    assert {name: split_of(name) for name in names.split()} == dict.fromkeys(names.split(), split)


NO_SPLITS = "trainer trains contest latest devil valley images data cat restrain 2024 é"


@pytest.mark.parametrize("name", NO_SPLITS.split(" "))
def test_what_is_no_split(name):
    assert split_of(name) is None
