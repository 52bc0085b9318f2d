import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from lib import datasets
from lib.datasets import folders, labelled
from lib.datasets.reading import read_image


def folder(path, each=6, seed=0):
    rng = np.random.default_rng(seed)
    for name in ("left", "right"):
        (path / name).mkdir(parents=True)
        for i in range(each):
            pixels = rng.integers(0, 256, (20 + i, 30, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path / name / f"{i}.png")
    return path


def test_of_a_set_its_training_images_can_be_learnt_from():
    images, names = labelled.load("faces")
    train, test = datasets.load("faces"), datasets.load("faces", "test")
    assert torch.equal(images.x, train.x) and len(names) == 140
    assert names[0] == "train 0" and names[-1] == "train 139"
    assert torch.equal(labelled.tested("faces").x, test.x)
    both = labelled.joined(train, test)
    assert torch.equal(both.x, torch.cat([train.x, test.x])) and len(both) == 200


def test_of_a_folder_that_is_divided_its_training_and_validation_images(tmp_path):
    for seed, (part, each) in enumerate({"Training": 6, "val": 3, "test": 4}.items()):
        folder(tmp_path / part, each, seed)
    images, names = labelled.load(tmp_path)
    assert len(images) == 18 and {name.split("/")[0] for name in names} == {"Training", "val"}
    assert len(labelled.tested(tmp_path)) == 8


def test_of_a_folder_that_is_not_divided_all_even_a_class_of_one(tmp_path):
    root = folder(tmp_path / "mine", 5)
    for path in list((root / "left").iterdir())[1:]:
        path.unlink()
    images, names = labelled.load(root)
    assert images.y.bincount().tolist() == [1, 5] and len(names) == 6
    assert labelled.tested(root) is None


def test_a_folder_is_looked_at_once_for_all_that_takes_it(tmp_path, monkeypatch):
    for seed, part in enumerate(("train", "test")):
        folder(tmp_path / part, seed=seed)
    images, names = labelled.load(tmp_path)
    test, about = labelled.tested(tmp_path), datasets.survey(tmp_path)
    held = datasets.opened(str(tmp_path))
    monkeypatch.setattr(folders, "read", None)
    assert datasets.survey(held) == about and datasets.opened(held) is held
    again, same = labelled.load(held)
    assert torch.equal(again.x, images.x) and same == names
    assert torch.equal(labelled.tested(held).x, test.x)
    assert torch.equal(datasets.pair(held)[1].x, test.x)
    assert datasets.opened("Faces") == "Faces"


def test_of_exact_copies_in_one_class_there_is_one(tmp_path):
    root = folder(tmp_path / "mine", 5)
    for i in range(3):
        shutil.copy(root / "left" / f"{i}.png", root / "left" / f"copy {i}.png")
    shutil.copy(root / "left" / "4.png", root / "right" / "x.png")  # another class: to be seen
    _, names = labelled.load(root)
    assert len(names) == 11 and "right/x.png" in names
    assert len(labelled.load(root, 8)[1]) == 8


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
    for seed, part in enumerate(("train", "test") if divided else (".",)):
        folder(root / part, seed=seed)
    few, names = labelled.load(root, 4, size=24)
    assert few.y.bincount().tolist() == [2, 2]
    large, same = labelled.load(root, 4, size=32)
    assert names == same and large.x.shape[-1] == 32
    assert all((root / name).is_file() for name in names)
    assert len(labelled.load(root, 10_000)[0]) == 12
