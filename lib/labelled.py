"""All that is labelled of an image set, training and test images together."""

from pathlib import Path

import torch

from lib import data, folders
from lib.images import SPLITS, Images


def load(target, most=0, *, size=32, seed=0):
    """Load all labelled images of a set or a folder, and what each is called.

    target: name or folder, as in `lib.data.load`. most: how many at most, chosen as evenly over
    the classes as they reach, or 0 for all. size: pixels of a side; the same images are chosen at
    every size. seed: of the choice.

    Returns (Images, names): of a folder the names are paths within it, of another set positions
    such as "test 3". Raises ValueError as `lib.data.load` and `lib.data.choose` do.
    """
    found = data.find(target)
    parts = {split: data.load(target, split, size=size) for split in SPLITS}
    names = [f"{split} {i}" for split, images in parts.items() for i in range(len(images))]
    if isinstance(found, Path):
        files = [file for split in SPLITS for file in folders.list_folder(found, split)[0]]
        names = [Path(file).relative_to(found).as_posix() for file in files]
    train, test = parts.values()
    images = Images(torch.cat([train.x, test.x]), torch.cat([train.y, test.y]), train.classes)
    if 0 < most < len(images):
        chosen = data.choose(images, most, seed)
        images, names = images[chosen], [names[i] for i in chosen]
    return images, names
