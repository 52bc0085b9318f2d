import numpy as np
import pytest
import torch
from PIL import Image

from lib import datasets
from lib.datasets import labelled
from lib.datasets.reading import read_image


def folder(path, each=6):
    rng = np.random.default_rng(0)
    for name in ("left", "right"):
        (path / name).mkdir(parents=True)
        for i in range(each):
            pixels = rng.integers(0, 256, (20 + i, 30, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path / name / f"{i}.png")
    return path


def test_training_and_test_images_together_are_all_there_are():
    images, names = labelled.load("faces")
    train, test = datasets.load("faces"), datasets.load("faces", "test")
    assert len(images) == len(names) == 200
    assert torch.equal(images.x, torch.cat([train.x, test.x]))
    assert names[0] == "train 0" and names[-1] == f"test {len(test) - 1}"


def test_each_name_is_the_file_of_its_image(tmp_path):
    root = folder(tmp_path / "mine")
    images, names = labelled.load(root, size=24)
    assert sorted(names) == sorted(f"{c}/{i}.png" for c in ("left", "right") for i in range(6))
    for i, name in enumerate(names):
        assert torch.equal(images.x[i], read_image(root / name, 24))
        assert images.classes[images.y[i]] == name.split("/")[0]


@pytest.mark.parametrize("divided", [False, True])
def test_a_choice_is_balanced_and_the_same_at_every_size(tmp_path, divided):
    root = tmp_path / "mine"
    for part in ("train", "test") if divided else (".",):
        folder(root / part)
    few, names = labelled.load(root, 4, size=24)
    assert few.y.bincount().tolist() == [2, 2]
    large, same = labelled.load(root, 4, size=32)
    assert names == same and large.x.shape[-1] == 32
    assert all((root / name).is_file() for name in names)
    assert len(labelled.load(root, 10_000)[0]) == (24 if divided else 12)
