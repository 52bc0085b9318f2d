import pytest
import torch
from torchvision import transforms

from lib import augmentation, datasets, microcosm


@pytest.fixture(scope="module")
def x():
    return microcosm.draw(20, 3).x


def test_a_view_depends_on_its_image_its_place_its_number_and_the_seed_alone(x):
    places = torch.arange(20) + 7
    whole = augmentation.one_view(x, places, 2, seed=5)
    part = augmentation.one_view(x[[3, 11]], places[[3, 11]], 2, seed=5)
    assert torch.equal(part, whole[[3, 11]])
    for other in (
        augmentation.one_view(x, places, 3, seed=5),
        augmentation.one_view(x, places, 2, seed=6),
        augmentation.one_view(x, places + 1, 2, seed=5),
    ):
        assert (other != whole).flatten(1).any(1).all()


def test_drawing_leaves_the_random_numbers_of_others_alone(x):
    before = torch.random.get_rng_state()
    augmentation.one_view(x, range(20), 0)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_view_is_what_the_steps_of_the_paper_make_of_an_image():
    # A white image says where it was padded, and how dark it was made: nothing can be brighter.
    white = torch.full((300, 3, 32, 32), 255, dtype=torch.uint8)
    seen = augmentation.one_view(white, range(300), 0)
    assert seen.shape == white.shape and seen.dtype == white.dtype
    inside = seen[:, 0, 8:-8, 8:-8] / 255  # neither crop nor turn reaches it
    level = inside.mean((1, 2))
    assert (inside.amax((1, 2)) - inside.amin((1, 2))).max() <= 0.01
    assert 0.7 < level.min() < 0.8 and level.max() == 1
    rows = (seen[:, 0, :, 16] == 0).sum(1)  # black rows at the top or bottom
    assert set(rows.tolist()) == set(range(5))
    halves = torch.zeros(300, 3, 32, 32, dtype=torch.uint8)
    halves[:, :, :, :16] = 200
    left = augmentation.one_view(halves, range(300), 0)[:, 0, 16, 8].float()
    assert 0.4 < (left > 100).float().mean() < 0.6


def test_a_view_by_crops_is_the_image_shifted_and_perhaps_turned_round(x):
    seen = augmentation.one_view(x, range(20), 1, policy="crops")
    padded = transforms.functional.pad(x, 4)
    for image, whole in zip(seen, padded, strict=True):
        places = [(i, j) for i in range(9) for j in range(9)]
        crops = torch.stack([whole[:, i : i + 32, j : j + 32] for i, j in places])
        found = [(crops == one).flatten(1).all(1).any() for one in (image, image.flip(2))]
        assert any(found)
    assert torch.equal(seen, augmentation.one_view(x, range(20), 1, policy="crops"))
    assert not torch.equal(seen, augmentation.one_view(x, range(20), 1))


def test_all_views_come_in_batches_view_by_view(x, monkeypatch):
    monkeypatch.setattr(augmentation, "BATCH", 8)
    positions = torch.tensor([1, 4, 5, 9, 10, 11, 15, 16, 17, 18])
    batches = list(augmentation.all_views(x, positions, 3, seed=1, policy="crops"))
    assert [len(batch) for batch in batches] == [8, 2] * 3
    how = {"seed": 1, "policy": "crops"}
    expected = [augmentation.one_view(x[positions], positions, k, **how) for k in range(3)]
    assert torch.equal(torch.cat(batches), torch.cat(expected))


def test_grey_is_told_from_colour(x):
    assert augmentation.is_grey(datasets.load("digits", n=20).x) and not augmentation.is_grey(x)
    almost = transforms.functional.rgb_to_grayscale(x, 3).clone()
    assert augmentation.is_grey(almost)
    almost[13, 2, 5, 5] += 1
    assert not augmentation.is_grey(almost)


@pytest.mark.parametrize(
    ("policy", "views", "said"),
    [
        ("colour", 1, "augment is 'colour'; allowed are none, crops, paper"),
        ("none", 2, "views is 2 with augment none; allowed are 1 without augmentation"),
        ("none", 0, "views is 0 with augment none; allowed are 1 without augmentation"),
        ("paper", -1, "views is -1 with augment paper; allowed are"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(policy, views, said):
    with pytest.raises(ValueError, match=said):
        augmentation.check_policy(policy, views)
