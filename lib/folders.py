"""Folders of images, one sub-folder for each class: which images there are, and of which class."""

import os

import torch
from torchvision.datasets.folder import IMG_EXTENSIONS

from lib.images import SPLITS, held_out

MAX_CLASSES = 1000
SUFFIXES = (*IMG_EXTENSIONS, ".gif")


def list_folder(root, split):
    """List one split of a folder of images.

    root: Path of a folder with one sub-folder for each class, perhaps under `train` and `test`;
    else `held_out` divides it. split: "train" or "test".

    Returns (files, y, classes): paths as text, int64 (N,) and names. Raises ValueError as
    `lib.data.load` does.
    """
    has_splits = _has_splits(root)
    classes = _classes(root / "train" if has_splits else root)
    base = root / split if has_splits else root
    files, labels = [], []
    for label, name in enumerate(classes):
        members = image_files(base / name)
        # A class may be missing from a test folder, but must be learnt.
        if not members and (split == "train" or not has_splits):
            raise ValueError(f"the class folder {base / name} holds no images")
        if not has_splits and len(members) < 2:
            raise ValueError(
                f"the class folder {base / name} holds 1 image; at least 2 are needed, "
                "one to train and one to test"
            )
        files += members
        labels += [label] * len(members)
    if has_splits:
        _check_test_classes(root, classes)
    y = torch.tensor(labels, dtype=torch.int64)
    if not has_splits:
        chosen = held_out(y)
        chosen = chosen if split == "test" else ~chosen
        files, y = [f for f, c in zip(files, chosen.tolist(), strict=True) if c], y[chosen]
    if not files:
        raise ValueError(f"{base} holds no images of the classes {', '.join(classes[:5])}")
    return files, y, classes


def _has_splits(root):
    """Tell whether the folder is divided into `train` and `test`; half a division is refused."""
    there = [name for name in SPLITS if (root / name).is_dir()]
    for name in there:
        # With images of its own it is a class called train: the vehicle, say.
        own = any(_is_image(p.name) and not p.is_dir() for p in (root / name).iterdir())
        if len(there) == 1 and not own and _folders(root / name):
            (other,) = set(SPLITS) - {name}
            raise ValueError(
                f"the folder {root} has {name}/ with class folders, but no {other}/; "
                "expected both, or the class folders themselves"
            )
    return len(there) == 2


def _check_test_classes(root, classes):
    """Refuse test images of a class that is not trained: they would be left out unseen."""
    for name in _folders(root / "test"):
        if name not in classes and image_files(root / "test" / name):
            raise ValueError(
                f"the folder {root / 'test'} holds a class {name!r} that {root / 'train'} lacks"
            )


def _folders(base):
    """Name the folders in base, sorted, the hidden ones left out."""
    return sorted(p.name for p in base.iterdir() if p.is_dir() and not p.name.startswith("."))


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


def image_files(folder):
    """List the image files below a folder as text, sorted; what is hidden is left out."""
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        images = (name for name in names if _is_image(name) and not name.startswith("."))
        found += [f"{place}{os.sep}{name}" for name in images]
    # As Paths sort, part by part; to make Paths would take longer than to read the files.
    return sorted(found, key=lambda name: name.replace(os.sep, "\0"))


def _is_image(name):
    """Tell by its name whether a file is an image."""
    return name.lower().endswith(SUFFIXES)
