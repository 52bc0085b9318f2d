"""The image sets of torchvision, by name: where each lies, and how it is split."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from lib.datasets import decoded, downloads
from lib.datasets.walk import File
from lib.images import SPLITS, TEST_SHARE, Images, held_out

Parts = tuple[tuple[dict, ...], tuple[dict, ...]]
SPLIT = ({"split": "train"},), ({"split": "test"},)
FLAG = ({"train": True},), ({"train": False},)
TRAIN_AND_VAL = ({"split": "train"}, {"split": "val"}), ({"split": "test"},)
WHOLE: Parts = ({},), ({},)


def _by_drawer(files, y):
    """Tell of each image, bool (N,), whether it tests: of 20 hands that drew each, the last do."""
    drawers = torch.tensor([int(Path(file).stem.split("_")[1]) for file in files])
    return drawers > round((1 - TEST_SHARE) * 20)


@dataclass(frozen=True)
class Known:
    """A set of torchvision, and what its class does not tell in one way for all.

    title: as people write it. make: its class, and read: what tells its content, by their names in
    `lib.datasets.layouts`. files: what can be laid by hand, below the set's folder. parts: how the
    class is asked for what trains, and for what tests; several are joined. tested: tells which
    images of a WHOLE one test.
    """

    title: str
    make: str
    read: str
    files: tuple[str, ...]
    parts: Parts = SPLIT
    tested: Callable = lambda files, y: held_out(y)


def _idx(name):
    """Name the four files of MNIST, and of the sets of its format."""
    parts = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    return tuple(f"{name}/raw/{part}-ubyte.gz" for part in parts)


SETS = {
    "cifar10": Known("CIFAR-10", "CIFAR10", "packed", ("cifar-10-python.tar.gz",), FLAG),
    "cifar100": Known("CIFAR-100", "CIFAR100", "packed", ("cifar-100-python.tar.gz",), FLAG),
    "svhn": Known("SVHN", "SVHN", "packed", ("train_32x32.mat", "test_32x32.mat")),
    "mnist": Known("MNIST", "MNIST", "packed", _idx("MNIST"), FLAG),
    "fashionmnist": Known("Fashion-MNIST", "FashionMNIST", "packed",
        _idx("FashionMNIST"), FLAG),
    "kmnist": Known("KMNIST", "KMNIST", "packed", _idx("KMNIST"), FLAG),
    "emnist": Known("EMNIST", "EMNIST", "packed", ("EMNIST/raw/gzip.zip",), FLAG),
    "omniglot": Known("Omniglot", "Omniglot", "omniglot",
        ("omniglot-py/images_background.zip",), WHOLE, _by_drawer),
    "stl10": Known("STL10", "STL10", "packed", ("stl10_binary.tar.gz",)),
    "gtsrb": Known("GTSRB", "GTSRB", "paired",
        ("gtsrb/GTSRB-Training_fixed.zip", "gtsrb/GTSRB_Final_Test_Images.zip",
         "gtsrb/GTSRB_Final_Test_GT.zip")),
    "eurosat": Known("EuroSAT", "EuroSAT", "paired", ("eurosat/EuroSAT.zip",), WHOLE),
    "dtd": Known("DTD", "DTD", "listed", ("dtd/dtd-r1.0.1.tar.gz",), TRAIN_AND_VAL),
    "flowers102": Known("Flowers102", "Flowers102", "listed",
        ("flowers-102/102flowers.tgz", "flowers-102/imagelabels.mat", "flowers-102/setid.mat"),
        TRAIN_AND_VAL),
    "oxfordiiitpet": Known("OxfordIIITPet", "OxfordIIITPet", "listed",
        ("oxford-iiit-pet/images.tar.gz", "oxford-iiit-pet/annotations.tar.gz"),
        (({"split": "trainval"},), ({"split": "test"},))),
    "food101": Known("Food101", "Food101", "listed", ("food-101.tar.gz",)),
    # Unpacked, since versions of torchvision differ in the archive.
    "caltech101": Known("Caltech101", "Caltech101", "caltech",
        ("caltech101/101_ObjectCategories",), WHOLE),
    "imagenet": Known("ImageNet", "ImageNet", "imagenet",
        ("ILSVRC2012_devkit_t12.tar.gz", "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"),
        (({"split": "train"},), ({"split": "val"},))),
}  # fmt: skip
ARRAYS = {name for name, known in SETS.items() if known.read == "packed"}
"""The sets whose images lie in a few large files;"""
FILES = set(SETS) - ARRAYS
"""those whose images are files of their own."""


def read(name: str, split: str, size: int) -> Images:
    """Return one split of a set in ARRAYS as Images of uint8 (N, 3, size, size).

    Raises ValueError where its files are not there and cannot be downloaded.
    """
    root = downloads.FOLDER / name

    def list_held():
        paths = (path for path in root.rglob("*") if downloads.PARTIAL not in path.parts)
        return [File.at(path) for path in sorted(str(path) for path in paths if path.is_file())]

    asked = {"set": name, "split": split, "root": str(root)}
    return decoded.from_arrays(lambda: contents(name, split), list_held, size, asked=asked)


def contents(name: str, split: str) -> tuple[Any, torch.Tensor, tuple[str, ...]]:
    """Return what one split of a set holds: (files, y, classes), the files' paths as text.

    Of a set in ARRAYS the pixels, uint8 (N, 3, H, W), stand in the place of the files. Raises
    ValueError as `read` does.
    """
    # Imported here, since torchvision takes two seconds that most who import this do not need.
    from lib.datasets import layouts

    known, parts = SETS[name], []
    content = getattr(layouts, known.read)
    for asked in known.parts[SPLITS.index(split)]:
        make = partial(layouts.class_named(known.make), **asked)
        parts.append(content(downloads.opened(name, known.title, make, known.files)))
    joined, labels, (classes, *others) = zip(*parts, strict=True)
    if any(list(other) != list(classes) for other in others):
        raise ValueError(f"the parts of {known.title} are not of the same classes")
    y = torch.cat([torch.as_tensor(part, dtype=torch.int64) for part in labels])
    x = torch.cat(joined) if name in ARRAYS else [file for part in joined for file in part]
    if known.parts is WHOLE:
        tested = known.tested(x, y)
        chosen = (tested if split == "test" else ~tested).nonzero().flatten()
        x, y = [x[i] for i in chosen], y[chosen]
    return x, y, tuple(str(name) for name in classes)
