"""Hidden classes: named by groups, found where features hold them, and not where they do not."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from lib.images import Images
from lib.networks import Network, Normalise
from lib.studies.hidden_classes import grouped, hidden_matches

CLASSES = ("000_cat", "001_dog", "002_ship", "003_truck", "004_oak", "005_elm")
GROUPS = {"animals": ("cat", "dog"), "vehicles": ("ship", "truck"), "trees": ("oak", "elm")}


def passing_on(inputs=12):
    """A network whose features are the pixels of images of 2 × 2 pixels."""
    return Network(Normalise(0.5, 0.25), [], nn.Flatten(), nn.Linear(inputs, 2)).eval()


def images_of(y, spread, seed, classes=CLASSES):
    """Images of 2 × 2 pixels: a point for each class, and noise around it."""
    centres = np.random.default_rng(5).uniform(60, 200, (len(classes), 12))
    noise = np.random.default_rng(seed).normal(size=(len(y), 12))
    x = 128 + noise * 40 if spread is None else centres[y] + spread * noise
    pixels = torch.from_numpy(x.round().clip(0, 255).astype(np.uint8)).view(len(y), 3, 2, 2)
    return Images(pixels, torch.as_tensor(y), classes)


def target(spread, n=240, asked=120):
    """Training and test images of six classes; a spread of None leaves nothing of the class."""
    return tuple(images_of(np.arange(k) % 6, spread, seed) for seed, k in enumerate((n, asked)))


# Names and groups.


@pytest.mark.parametrize(
    "classes",
    [
        ("cat", "ship", "dog"),
        ("000_cat", "008_ship", "5-dog"),
        ("cat", "12 ship", "0dog"),
        ("1", "2_2", "03"),
    ],
)
def test_classes_are_meant_by_name_or_by_what_follows_their_number(classes):
    groups = {"vehicles": ["ship", "2"], "animals": ["cat", "dog", "1", "03"]}
    images = images_of(np.array([0, 1, 2, 1]), 0, 0, classes)
    coarse = grouped(images, groups)
    assert coarse.classes == ("vehicles", "animals")
    assert coarse.y.tolist() == [1, 0, 1, 0]
    assert torch.equal(coarse.x, images.x)


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        ({"a": ["cat"], "b": ["dog"]}, "the class 2_ship is in 0 groups; it must be in one"),
        ({"a": ["cat", "ship"], "b": ["dog", "ship"]}, "the class 2_ship is in 2 groups"),
        ({"a": ["cat", "2_ship"], "b": ["dog", "ship"]}, "the class 2_ship is in 2 groups"),
    ],
)
def test_a_class_must_be_in_one_group(groups, said):
    with pytest.raises(ValueError, match=said):
        grouped(images_of(np.array([0, 1, 2]), 0, 0, ("cat", "dog", "2_ship")), groups)


# What is found.


@pytest.fixture(scope="module")
def clear():
    """Rows where hidden classes are clusters."""
    return hidden_matches(passing_on(), target(8), groups=GROUPS, n=120, seeds=[3, 8])


def test_what_rows_say(clear):
    assert list(clear) == ["subset_seed", "match", "three_of_five", "chance", "clean_accuracy"]
    assert clear["subset_seed"].tolist() == [3, 8]


def test_clusters_are_found_without_having_been_told(clear):
    assert (clear[["match", "three_of_five", "clean_accuracy"]] > 0.95).all(axis=None)
    assert clear["chance"].between(0.4, 0.6).all()


def test_where_features_know_nothing_the_match_is_near_chance():
    seeds = range(6)
    found = hidden_matches(passing_on(), target(None), groups=GROUPS, n=120, seeds=seeds).mean()
    assert found["chance"] == pytest.approx(0.5, abs=0.05)
    # Chance is among images of the group; an influential image may now and then be of another.
    assert found["match"] == pytest.approx(0.45, abs=0.15)
    assert found["three_of_five"] == pytest.approx(0.45, abs=0.15)
    assert found["clean_accuracy"] == pytest.approx(1 / 3, abs=0.12)


def test_groups_drawn_at_random_are_not_learned(clear):
    call = {"groups": GROUPS, "n": 60, "seeds": range(12)}
    true, drawn = (
        hidden_matches(passing_on(), target(30), **call, at_random=at).mean() for at in (0, 1)
    )
    assert true["clean_accuracy"] > 0.8
    assert drawn["clean_accuracy"] == pytest.approx(1 / 3, abs=0.12)
    assert drawn["chance"] == true["chance"]  # of the same images, whatever was learned


def test_chance_by_hand():
    # Training: two cats, four dogs, one ship, three trucks; a cat is one of six animals in three.
    two = {"animals": ("cat", "dog"), "vehicles": ("ship", "truck")}
    train = images_of(np.array([0, 0, 1, 1, 1, 1, 2, 3, 3, 3]), 8, 0, CLASSES[:4])
    shares = {0: 2 / 6, 1: 4 / 6, 2: 1 / 4, 3: 3 / 4}
    for asked in ([0], [1], [2, 3], [0, 0, 1, 2]):
        test = images_of(np.array(asked), 8, 1, CLASSES[:4])
        row = hidden_matches(passing_on(), (train, test), groups=two, n=10, seeds=[0]).loc[0]
        assert row["chance"] == pytest.approx(np.mean([shares[y] for y in asked]))


def test_no_more_test_images_are_asked_than_wanted():
    sets = target(30)
    call = {"groups": GROUPS, "n": 60, "seeds": [0]}
    few = hidden_matches(passing_on(), sets, **call, n_test=7)
    assert (few["match"] * 7 % 1).round(6).isin([0, 1]).all()
    every = hidden_matches(passing_on(), sets, **call, n_test=120)
    pd.testing.assert_frame_equal(hidden_matches(passing_on(), sets, **call), every)
