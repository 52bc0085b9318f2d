import pytest
import torch

from lib.images import Images


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
