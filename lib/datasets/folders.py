"""Folders of images, one sub-folder for each class: which images there are, and of which class."""

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torchvision.datasets.folder import IMG_EXTENSIONS

from lib.images import SPLITS, held_out

MAX_CLASSES = 1000
SUFFIXES = (*IMG_EXTENSIONS, ".gif")


def list_files(root: Path, split: str) -> tuple[list[str], torch.Tensor, tuple[str, ...]]:
    """List one split of a folder of images.

    root: a folder with one sub-folder for each class, perhaps under `train` and `test`; else
    `lib.images.held_out` divides it. split: "train" or "test".

    Returns (files, y, classes): paths as text, int64 (N,) and names. Raises ValueError as
    `lib.datasets.load` does.
    """
    divided = _is_divided(root)
    classes = _classes(root / "train" if divided else root)
    base = root / split if divided else root
    files, labels = [], []
    for label, name in enumerate(classes):
        members = image_files(base / name)
        # A class may be missing from a test folder, but must be learnt.
        if not members and (split == "train" or not divided):
            raise ValueError(f"the class folder {base / name} holds no images")
        if not divided and len(members) < 2:
            raise ValueError(
                f"the class folder {base / name} holds 1 image; at least 2 are needed, "
                "one to train and one to test"
            )
        files += members
        labels += [label] * len(members)
    y = torch.tensor(labels, dtype=torch.int64)
    if not divided:
        return *side(split, files, y, held_out(y)), classes
    for name in _folders(root / "test"):  # they would be left out unseen
        if name not in classes and image_files(root / "test" / name):
            raise ValueError(
                f"the folder {root / 'test'} holds a class {name!r} that {root / 'train'} lacks"
            )
    if not files:
        raise ValueError(f"{base} holds no images of the classes {', '.join(classes[:5])}")
    return files, y, classes


def side(
    split: str, files: Sequence[str], y: torch.Tensor, tested: torch.Tensor
) -> tuple[list[str], torch.Tensor]:
    """Return the files and labels on one side of a division; tested, bool (N,): those that test."""
    chosen = (tested if split == "test" else ~tested).nonzero().flatten()
    return [files[i] for i in chosen], y[chosen]


def image_files(folder: Path) -> list[str]:
    """List the image files below a folder as text, sorted; what is hidden is left out."""
    files = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        images = (name for name in names if _is_image(name) and not name.startswith("."))
        files += [f"{place}{os.sep}{name}" for name in images]
    # As Paths sort, part by part; to make Paths would take longer than to read the files.
    return sorted(files, key=lambda name: name.replace(os.sep, "\0"))


def _is_divided(root):
    """Tell whether the folder is divided into `train` and `test`; half a division is refused."""
    halves = [root / name for name in SPLITS if (root / name).is_dir()]
    if len(halves) == 1 and _folders(halves[0]):
        # With images of its own it is a class called train: the vehicle, say.
        own = any(_is_image(p.name) and not p.is_dir() for p in halves[0].iterdir())
        name, other = SPLITS if halves[0].name == "train" else SPLITS[::-1]
        if not own:
            raise ValueError(
                f"the folder {root} has {name}/ with class folders, but no {other}/; "
                "expected both, or the class folders themselves"
            )
    return len(halves) == 2


def _classes(base):
    """Name the class folders in base, sorted."""
    names = tuple(_folders(base))
    if not names:
        raise ValueError(
            f"the folder {base} is empty; expected one folder of images for each class"
        )
    if not 2 <= len(names) <= MAX_CLASSES:
        raise ValueError(
            f"the folder {base} has {len(names)} class{'es' * (len(names) > 1)} "
            f"({', '.join(names[:3])}); allowed are 2 to {MAX_CLASSES}, one folder each"
        )
    return names


def _folders(base):
    """Name the folders in base, sorted, the hidden ones left out."""
    return sorted(p.name for p in base.iterdir() if p.is_dir() and not p.name.startswith("."))


def _is_image(name):
    """Tell by its name whether a file is an image."""
    return name.lower().endswith(SUFFIXES)
