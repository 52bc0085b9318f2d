import pytest
import torch

from lib import datasets
from lib.images import Images, choose, doubling, fine_detail, sample, subset


def images(n=4):
    x = torch.arange(n * 3 * 2 * 2, dtype=torch.uint8).reshape(n, 3, 2, 2)
    return Images(x, torch.arange(n) % 2, ("a", "b"))


@pytest.mark.parametrize(
    "index", [slice(1, 3), [2, 0], torch.tensor([1, 2]), torch.tensor([False, True, True, False])]
)
def test_a_part_keeps_pixels_labels_and_classes(index):
    whole = images()
    part = whole[index]
    assert torch.equal(part.x, whole.x[index]) and torch.equal(part.y, whole.y[index])
    assert part.classes == ("a", "b") and len(part) == 2


def test_none_at_all():
    none = images()[:0]
    assert len(none) == 0 and none.x.shape == (0, 3, 2, 2)


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        (torch.zeros(2, 3, 4, 4), torch.zeros(2).long(), r"torch.float32 \(2, 3, 4, 4\)"),
        (torch.zeros(2, 1, 4, 4).byte(), torch.zeros(2).long(), r"\(2, 1, 4, 4\); expected uint8"),
        (torch.zeros(3, 4, 4).byte(), torch.zeros(3).long(), r"expected uint8 \(N, 3, H, W\)"),
        (torch.zeros(2, 3, 4, 4).byte(), torch.zeros(2), r"expected int64 \(2,\)"),
        (torch.zeros(2, 3, 4, 4).byte(), torch.zeros(3).long(), r"\(3,\); expected int64 \(2,\)"),
        (torch.zeros(2, 3, 4, 4).byte(), torch.tensor([0, 2]), "from 0 to 2; allowed are 0 to 1"),
        (torch.zeros(2, 3, 4, 4).byte(), torch.tensor([-1, 0]), "from -1 to 0"),
    ],
)
def test_what_does_not_fit_together_is_refused(x, y, said):
    with pytest.raises(ValueError, match=said):
        Images(x, y, ("a", "b"))


# Choosing.


def uneven():
    """Class 0 with 3, class 1 with 9, class 2 with 40 images, mixed."""
    y = torch.tensor([0] * 3 + [1] * 9 + [2] * 40)
    y = y[torch.randperm(52, generator=torch.Generator().manual_seed(0))]
    x = torch.arange(52, dtype=torch.uint8)[:, None, None, None].expand(52, 3, 8, 8)
    return Images(x.contiguous(), y, ("a", "b", "c"))


def test_a_choice_is_balanced_as_far_as_the_classes_reach():
    images = uneven()
    for n, counts in [(3, [1, 1, 1]), (6, [2, 2, 2]), (9, [3, 3, 3]), (52, [3, 9, 40])]:
        assert images.y[choose(images, n, 0)].bincount().tolist() == counts
    assert images.y[choose(images, 15, 0)].bincount().tolist() == [3, 6, 6]
    assert sorted(images.y[choose(images, 16, 0)].bincount().tolist()) == [3, 6, 7]
    assert sorted(choose(images, 52, 3).tolist()) == list(range(52))


def test_a_smaller_choice_lies_within_a_larger_one():
    images = uneven()
    for seed in range(5):
        largest = choose(images, 52, seed).tolist()
        for n in range(3, 52):
            assert choose(images, n, seed).tolist() == largest[:n]
    chosen = [tuple(sorted(choose(images, 6, seed).tolist())) for seed in range(20)]
    assert len(set(chosen)) > 15
    part = subset(images, 6, 4)
    assert torch.equal(part.x[:, 0, 0, 0].long(), choose(images, 6, 4))


def test_a_sample_may_be_smaller_than_the_number_of_classes():
    images = datasets.load("digits")
    for n in (10, 25, len(images)):
        assert torch.equal(sample(images, n, 4).x, subset(images, n, 4).x)
    few = sample(images, 4, 4)
    assert len(few.y.unique()) == 4 and few.classes == images.classes
    assert torch.equal(few.x, subset(images, 10, 4).x[:4])
    for n in (0, len(images) + 1):
        with pytest.raises(ValueError, match=f"n is {n}; allowed are 1 to {len(images)}"):
            sample(images, n, 4)


@pytest.mark.parametrize("n", [2, 0, -1, 53])
def test_more_than_there_are_or_less_than_one_a_class(n):
    with pytest.raises(ValueError, match=rf"n is {n}; allowed are 3, one .* to 52, all there are"):
        choose(uneven(), n, 0)


@pytest.mark.parametrize(("wave", "share"), [(2, 1), (4, 1), (8, 0), (16, 0)])
def test_fine_detail_is_that_of_waves_shorter_than_five_pixels(wave, share):
    grating = 127 + 100 * torch.cos(2 * torch.pi * torch.arange(32) / wave)
    x = grating.to(torch.uint8).expand(3, 3, 32, 32)
    found = Images(x, torch.tensor([0, 1, 0]), ("a", "b"))
    assert fine_detail(found) == pytest.approx(share, abs=0.01)
    turned = Images(x.swapaxes(2, 3), found.y, found.classes)
    assert fine_detail(turned) == pytest.approx(fine_detail(found), abs=1e-6)
    plain = Images(torch.full((2, 3, 8, 8), 9, dtype=torch.uint8), torch.tensor([0, 1]), ("a", "b"))
    assert fine_detail(plain) == 0


def test_doubling():
    images = uneven()
    assert doubling(images) == [6, 12, 24, 48, 52]
    assert doubling(images, 24) == [6, 12, 24]
    assert doubling(images, 25) == [6, 12, 24, 25]
    assert doubling(images, 6) == [6]
    assert doubling(images, 0, 10) == [10, 20, 40, 52]
    assert doubling(images, 40, 5) == [5, 10, 20, 40]
    assert doubling(images, 12, 0, everything=True) == [6, 12, 52]
    assert doubling(images, 0, 0, everything=True) == doubling(images)
    assert doubling(datasets.load("digits")) == [20, 40, 80, 160, 320, 640, 1258]
    assert doubling(datasets.load("faces")) == [4, 8, 16, 32, 64, 128, 140]
    one_each = Images(images.x[:2], torch.tensor([0, 1]), images.classes)
    assert doubling(one_each) == [2]
    for largest in (5, 53):
        with pytest.raises(ValueError, match=f"largest n is {largest}; allowed are 6 to 52"):
            doubling(images, largest)


def test_a_smallest_size_that_the_set_cannot_have():
    faces = datasets.load("faces")
    for smallest in (1, 141):
        with pytest.raises(ValueError, match=f"the smallest n is {smallest}; allowed are 2, one"):
            doubling(faces, 0, smallest)
    with pytest.raises(ValueError, match="the largest n is 10; allowed are 20 to 140"):
        doubling(faces, 10, 20)
