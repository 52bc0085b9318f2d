import re
from pathlib import Path

import numpy as np
import pytest
import small_sets
import torch
from torchvision import datasets as theirs

from lib import datasets
from lib.datasets import decoded, load, torchvision_sets
from lib.images import choose

ROOT = Path(__file__).resolve().parents[2]
NAMES = [make.__name__ for make in small_sets.SETS]


@pytest.fixture(autouse=True)
def folder(empty_downloads):
    return empty_downloads


def laid(name, folder, monkeypatch):
    """Lay a small set into its folder, unpacked."""
    return getattr(small_sets, name)(folder / name, monkeypatch)


def assert_same(images, expected):
    """Hold images against pairs (image, label), with what JPEG may change; in any order of files.

    Every image here is an only one, so its mean colour finds it.
    """
    size = images.x.shape[-1]
    assert len(images) == len(expected)
    means = []
    for image, label in expected:
        top, left = ((side - size) // 2 for side in image.shape[:2])
        part = image[top : top + size, left : left + size].astype(np.float32)
        means.append([label, *part.mean((0, 1))])
    found = torch.cat([images.y[:, None], images.x.float().mean((2, 3))], 1).tolist()
    by_label_and_green = {"key": lambda row: (row[0], row[2])}
    found, means = (sorted(rows, **by_label_and_green) for rows in (found, means))
    assert np.abs(np.subtract(found, means)).max() <= 2
    assert [row[0] for row in found] == [row[0] for row in means]


def test_where_each_set_comes_from_is_said():
    text = (ROOT / "data" / "README.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \|(.*)$", text, re.MULTILINE))
    assert set(rows) == set(datasets.NAMES)
    references = (ROOT / "references.bib").read_text(encoding="utf-8")
    for name in torchvision_sets.SETS:
        key = rows[name].split("|")[4].strip()
        assert f"{{{key}," in references, name


def test_all_sets_that_are_asked_for():
    assert set(NAMES) == set(torchvision_sets.SETS) and set(NAMES) < set(datasets.NAMES)


SIDES = {"omniglot": 105, "stl10": 96, "mnist": 28, "fashionmnist": 28, "kmnist": 28, "emnist": 28}


@pytest.mark.parametrize("name", NAMES)
def test_a_set_as_it_lies_on_disk(name, folder, monkeypatch):
    held, classes = laid(name, folder, monkeypatch)
    # At the sides the files have no pixel changes; flat colours do not at any.
    size = SIDES.get(name, 32 if "train" in held and len(held["train"][0][0]) == 32 else 20)
    train, test = load(name, size=size), load(name, "test", size=size)
    assert train.classes == test.classes == classes
    if "whole" in held:
        assert train.y.bincount().tolist() == [7, 7] and test.y.bincount().tolist() == [3, 3]
        x, y = torch.cat([train.x, test.x]), torch.cat([train.y, test.y])
        assert_same(type(train)(x, y, classes), held["whole"])
    else:
        assert_same(train, held["train"])
        assert_same(test, held["test"])
    if name in torchvision_sets.ARRAYS:  # pixel by pixel, in the order of the files
        x = np.stack([image for image, _ in held["train"]]).transpose(0, 3, 1, 2)
        assert np.array_equal(train.x, x)
        assert train.y.tolist() == [label for _, label in held["train"]]
    assert not {x.numpy().tobytes() for x in train.x} & {x.numpy().tobytes() for x in test.x}
    assert load(name, "test").x.shape[1:] == (3, 32, 32)
    n = len(train.y.unique())
    chosen = choose(train, n, 3)
    assert torch.equal(load(name, n=n, seed=3, size=size).x, train.x[chosen])


@pytest.mark.parametrize("name", NAMES)
def test_without_network_one_line_says_where_to_put_which_files(name, folder):
    with pytest.raises(ValueError) as error:
        load(name)
    said, known = str(error.value), torchvision_sets.SETS[name]
    assert "\n" not in said and said.startswith(known.title) and str(folder / name) in said
    assert all(file in said for file in known.files)


@pytest.mark.parametrize("name", NAMES)
def test_archives_laid_by_hand_are_unpacked(name, folder, tmp_path, monkeypatch):
    held, classes = getattr(small_sets, name)(tmp_path / "unpacked", monkeypatch)
    files = torchvision_sets.SETS[name].files
    small_sets.lay_archives(tmp_path / "unpacked", folder / name, files)
    paths = [path for path in (folder / name / file for file in files) if path.is_file()]
    laid_by_hand = {path: path.read_bytes() for path in paths}
    small_sets.believe_archives(monkeypatch)
    for split in ("train", "test"):
        images = load(name, split, size=20)
        assert images.classes == classes
        if split in held:
            assert len(images) == len(held[split])
    assert not list((folder / name).rglob(".partial/*"))
    assert all(path.read_bytes() == content for path, content in laid_by_hand.items())
    # Nothing but its own files: not one that is unpacked lies elsewhere than in the real set.
    unpacked = {
        p.relative_to(tmp_path / "unpacked") for p in (tmp_path / "unpacked").rglob("*.jpg")
    }
    assert unpacked <= {p.relative_to(folder / name) for p in (folder / name).rglob("*.jpg")}


def test_greyscale_by_name_is_as_from_a_folder(folder, tmp_path, monkeypatch):
    held, _ = laid("mnist", folder, monkeypatch)
    for split, pairs in held.items():
        for i, (image, label) in enumerate(pairs):
            small_sets.save(tmp_path / "png" / split / str(label) / f"{i}.png", image[..., 0])
    named, same = load("mnist", size=33), load(tmp_path / "png", size=33)
    order = sorted(range(6), key=lambda i: (held["train"][i][1], i))
    assert torch.equal(named.x[order], same.x)


def test_omniglot_tests_other_hands_on_the_same_characters(folder, monkeypatch):
    laid("omniglot", folder, monkeypatch)
    train, test = load("omniglot"), load("omniglot", "test")
    assert train.y.bincount().tolist() == [14] * 3 and test.y.bincount().tolist() == [6] * 3


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("CIFAR-10", "cifar10"), ("cifar_100", "cifar100"), ("Fashion-MNIST", "fashionmnist"),
        ("Oxford IIIT Pet", "oxfordiiitpet"), ("Microcosm", "microcosm"), ("STL-10", "stl10"),
    ],
)  # fmt: skip
def test_any_spelling(given, name):
    assert datasets.find(given) == name


def test_the_nearest_name_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for given, near in (("CIFAR-11", "cifar1"), ("fashon_mnist", "fashionmnist")):
        with pytest.raises(ValueError, match=f"did you mean {near}") as error:
            load(given)
        assert "\n" not in str(error.value) and str(error.value).endswith(", ".join(datasets.NAMES))
    with pytest.raises(ValueError) as error:
        load("no such thing")
    assert "did you mean" not in str(error.value)


def test_a_folder_called_like_a_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mnist").mkdir()
    assert datasets.find("mnist") == "mnist"
    for given in ("./mnist", tmp_path / "mnist", str(tmp_path / "mnist")):
        assert datasets.find(given).resolve() == tmp_path / "mnist"


# Loading again, and choosing.


def test_a_packed_set_is_read_once(folder, monkeypatch):
    laid("cifar10", folder, monkeypatch)
    first = load("CIFAR-10")
    with monkeypatch.context() as patch:
        patch.setattr(theirs.CIFAR10, "__init__", lambda *_, **__: pytest.fail("read again"))
        again = load("CIFAR-10")
    assert torch.equal(first.x, again.x) and torch.equal(first.y, again.y)
    assert first.classes == again.classes
    assert len(load("CIFAR-10", size=16)) == len(first)  # another size is another file
    # Other files are noticed, with their checksums in torchvision's place again.
    (folder / "cifar10").rename(folder / "old")
    with monkeypatch.context() as patch:
        patch.setattr(small_sets, "noise", lambda *a, seed: 255 - noise_as_it_was(*a, seed=seed))
        laid("cifar10", folder, monkeypatch)
    assert torch.equal(load("cifar10").x, 255 - first.x)


noise_as_it_was = small_sets.noise


def test_a_damaged_file_is_not_read(folder, monkeypatch):
    laid("cifar10", folder, monkeypatch)
    batch = folder / "cifar10" / "cifar-10-batches-py" / "data_batch_2"
    batch.write_bytes(batch.read_bytes()[:-1] + b"!")
    with pytest.raises(ValueError, match="CIFAR-10 is missing or damaged in ") as error:
        load("cifar10")
    assert "\n" not in str(error.value)


def test_of_a_choice_only_those_are_decoded(folder, monkeypatch):
    laid("food101", folder, monkeypatch)
    seen, read = [], decoded.read_image
    monkeypatch.setattr(decoded, "read_image", lambda f, *how: seen.append(f) or read(f, *how))
    few = load("food101", n=4, seed=2)
    assert len(seen) == len(few) == 4
    load("food101", n=4, seed=2)
    assert len(seen) == 4
    whole = load("food101")
    assert len(seen) == 4 + 8 and torch.equal(few.x, whole.x[choose(whole, 4, 2)])
    with pytest.raises(ValueError, match="n is 9; allowed are 2, one image a class, to 8"):
        load("food101", n=9)


def test_an_image_that_is_missing_is_named(folder, monkeypatch):
    laid("food101", folder, monkeypatch)
    gone = folder / "food101" / "food-101" / "images" / "waffles" / "1.jpg"
    gone.unlink()
    with pytest.raises(ValueError, match="cannot be read as an image") as error:
        load("food101")
    assert str(gone) in str(error.value) and "\n" not in str(error.value)
