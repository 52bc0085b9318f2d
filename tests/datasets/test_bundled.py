import numpy as np
import pytest
import torch
from reading_sets import pixels

from lib.datasets import load


@pytest.mark.parametrize(
    ("name", "classes", "train", "test"),
    [("digits", 10, 1258, 539), ("faces", 2, 140, 60), ("textures", 3, 480, 288)],
)
def test_bundled_sets(name, classes, train, test):
    one, two = load(name), load(name, "test")
    assert (len(one), len(two)) == (train, test)
    for images in (one, two):
        assert images.x.shape[1:] == (3, 32, 32) and len(images.classes) == classes
        counts = images.y.bincount()
        assert len(counts) == classes and counts.max() <= 1.1 * counts.min()
        assert torch.equal(images.x[:, 0], images.x[:, 1]) and images.x.float().std() > 20
    assert not set(pixels(one)) & set(pixels(two))
    assert load(name).x.equal(one.x)
    assert load(name, "test", size=16).x.shape == (test, 3, 16, 16)


def test_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    raw = load_digits()
    images = [load("digits", split, size=8) for split in ("train", "test")]
    ours = {
        (x[0].numpy().tobytes(), int(y))
        for part in images
        for x, y in zip(part.x, part.y, strict=True)
    }
    grey = np.round(raw.images / 16 * 255).astype(np.uint8)
    theirs = {(g.tobytes(), int(y)) for g, y in zip(grey, raw.target, strict=True)}
    assert ours == theirs


def test_textures_come_from_different_halves_of_each_photograph():
    from skimage import data as photographs

    grass = torch.tensor(photographs.grass())
    for split, rows in (("train", range(10)), ("test", range(10, 16))):
        images = load("textures", split)
        found = images.x[images.y == 1][:, 0]
        expected = [
            grass[32 * r : 32 * r + 32, 32 * c : 32 * c + 32] for r in rows for c in range(16)
        ]
        assert torch.equal(found, torch.stack(expected))


def test_faces_are_told_from_patches():
    images = load("faces")
    # Faces look alike: they vary less about their mean than anything else does.
    spread = [float(images.x[images.y == c].float().std(0).mean()) for c in (0, 1)]
    assert images.classes == ("face", "no face") and spread[0] < 0.7 * spread[1]
