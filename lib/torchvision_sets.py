"""The image sets of torchvision, by name: where each lies, and how it is split."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torchvision import datasets

from lib import decoded, downloads, layouts
from lib.images import TEST_SHARE, held_out

DRAWERS = 20
"""People who have drawn each character of Omniglot."""


def by_image(files, y):
    """Tell of each image, bool (N,), whether it is kept for testing, as `held_out` does."""
    return held_out(y)


def by_drawer(files, y):
    """Tell the same where the last drawers are kept: of each character, hands not seen."""
    drawers = torch.tensor([int(Path(file).stem.split("_")[1]) for file in files])
    return drawers > round((1 - TEST_SHARE) * DRAWERS)


@dataclass(frozen=True)
class Known:
    """A set of torchvision, and what its class does not tell in one way for all.

    title: as people write it. make: its class. read: of `lib.layouts`. files: what can be laid
    by hand, below the set's folder. train, test: how the class is asked for each; several parts are
    joined. divided: for a set without a split, tells which images are kept for testing.
    """

    title: str
    make: Callable
    read: Callable
    files: tuple[str, ...]
    train: tuple[dict, ...] = ({"split": "train"},)
    test: tuple[dict, ...] = ({"split": "test"},)
    divided: Callable | None = None


def _flagged(title, make, read, *files):
    """Describe a set of which train=True or False is asked."""
    return Known(title, make, read, files, ({"train": True},), ({"train": False},))


def _divided(title, make, read, file, divided=by_image):
    """Describe a set that is divided here."""
    return Known(title, make, read, (file,), ({},), ({},), divided)


def _idx(title, make):
    """Describe a set in the four files of MNIST."""
    parts = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    files = (f"{make.__name__}/raw/{part}-ubyte.gz" for part in parts)
    return _flagged(title, make, layouts.mnist, *files)


TRAIN_AND_VAL = ({"split": "train"}, {"split": "val"})
SETS = {
    "cifar10": _flagged("CIFAR-10", datasets.CIFAR10, layouts.cifar, "cifar-10-python.tar.gz"),
    "cifar100": _flagged("CIFAR-100", datasets.CIFAR100, layouts.cifar, "cifar-100-python.tar.gz"),
    "svhn": Known("SVHN", datasets.SVHN, layouts.svhn, ("train_32x32.mat", "test_32x32.mat")),
    "mnist": _idx("MNIST", datasets.MNIST),
    "fashionmnist": _idx("Fashion-MNIST", datasets.FashionMNIST),
    "kmnist": _idx("KMNIST", datasets.KMNIST),
    "emnist": _flagged(
        "EMNIST", partial(datasets.EMNIST, split="balanced"), layouts.emnist, "EMNIST/raw/gzip.zip"
    ),
    "omniglot": _divided(
        "Omniglot", layouts.Omniglot, layouts.omniglot, "omniglot-py/images_background.zip",
        by_drawer,
    ),
    "stl10": Known("STL10", datasets.STL10, layouts.stl10, ("stl10_binary.tar.gz",)),
    "gtsrb": Known(
        "GTSRB", datasets.GTSRB, layouts.gtsrb,
        ("gtsrb/GTSRB-Training_fixed.zip", "gtsrb/GTSRB_Final_Test_Images.zip",
         "gtsrb/GTSRB_Final_Test_GT.zip"),
    ),
    "eurosat": _divided("EuroSAT", datasets.EuroSAT, layouts.eurosat, "eurosat/EuroSAT.zip"),
    "dtd": Known("DTD", datasets.DTD, layouts.listed, ("dtd/dtd-r1.0.1.tar.gz",), TRAIN_AND_VAL),
    "flowers102": Known(
        "Flowers102", datasets.Flowers102, layouts.flowers,
        ("flowers-102/102flowers.tgz", "flowers-102/imagelabels.mat", "flowers-102/setid.mat"),
        TRAIN_AND_VAL,
    ),
    "oxfordiiitpet": Known(
        "OxfordIIITPet", datasets.OxfordIIITPet, layouts.pets,
        ("oxford-iiit-pet/images.tar.gz", "oxford-iiit-pet/annotations.tar.gz"),
        ({"split": "trainval"},),
    ),
    "food101": Known("Food101", datasets.Food101, layouts.listed, ("food-101.tar.gz",)),
    # Unpacked, since versions of torchvision differ in the archive.
    "caltech101": _divided(
        "Caltech101", datasets.Caltech101, layouts.caltech, "caltech101/101_ObjectCategories"
    ),
    "imagenet": Known(
        "ImageNet", layouts.ImageNet, layouts.imagenet,
        ("ILSVRC2012_devkit_t12.tar.gz", "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"),
        test=({"split": "val"},),
    ),
}  # fmt: skip
PACKED = (layouts.cifar, layouts.svhn, layouts.mnist, layouts.emnist, layouts.stl10)
ARRAYS = {name for name, known in SETS.items() if known.read in PACKED}
"""The sets whose images lie in a few large files; those of the others are files of their own."""


def read(name, split, size):
    """Return one split of a set in ARRAYS as Images of uint8 (N, 3, size, size).

    Raises ValueError where its files are not there and cannot be downloaded.
    """
    root = downloads.FOLDER / name

    def list_files():
        found = (file for file in root.rglob("*") if downloads.PARTIAL not in file.parts)
        return sorted(str(file) for file in found if file.is_file())

    asked = {"set": name, "split": split, "root": str(root)}
    return decoded.from_arrays(lambda: _joined(name, split), list_files, size, asked=asked)


def list_files(name, split):
    """List one split of a set not in ARRAYS, as `lib.folders.list_folder` does a folder.

    Returns (files, y, classes). Raises ValueError as `read` does.
    """
    files, y, classes = _joined(name, split)
    if SETS[name].divided:
        chosen = SETS[name].divided(files, y)
        chosen = chosen if split == "test" else ~chosen
        files, y = [f for f, c in zip(files, chosen.tolist(), strict=True) if c], y[chosen]
    return files, y, classes


def _joined(name, split):
    """Read the parts of a split, one after the other."""
    known, parts = SETS[name], []
    for asked in known.train if split == "train" else known.test:
        make = partial(known.make, **asked)
        parts.append(known.read(downloads.opened(name, known.title, make, known.files)))
    contents, labels, classes = zip(*parts, strict=True)
    if any(list(other) != list(classes[0]) for other in classes):
        raise ValueError(f"the parts of {known.title} are not of the same classes")
    y = torch.cat([torch.as_tensor(part, dtype=torch.int64) for part in labels])
    joined = torch.cat(contents) if name in ARRAYS else [f for part in contents for f in part]
    return joined, y, tuple(str(c) for c in classes[0])
