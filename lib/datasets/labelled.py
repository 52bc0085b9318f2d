"""All that is labelled of an image set, training and test images together."""

from pathlib import Path

import torch

from lib import datasets
from lib.datasets import folders
from lib.images import SPLITS, Images, choose


def load(
    target: str | Path, most: int = 0, *, size: int = 32, seed: int = 0
) -> tuple[Images, list[str]]:
    """Load all labelled images of a set or a folder, and what each is called.

    target: name or folder, as in `lib.datasets.load`. most: how many at most, chosen as evenly over
    the classes as they reach, or 0 for all. size: pixels of a side; the same images are chosen at
    every size. seed: of the choice.

    Returns (Images, names): of a folder the names are paths within it, of another set positions
    such as "test 3". Raises ValueError as `lib.datasets.load` and `lib.images.choose` do.
    """
    source = datasets.find(target)
    train, test = datasets.pair(target, size=size)
    images = Images(torch.cat([train.x, test.x]), torch.cat([train.y, test.y]), train.classes)
    if isinstance(source, Path):
        files = [file for split in SPLITS for file in folders.list_files(source, split)[0]]
        names = [Path(file).relative_to(source).as_posix() for file in files]
    else:
        pairs = zip(SPLITS, (train, test), strict=True)
        names = [f"{split} {i}" for split, part in pairs for i in range(len(part))]
    if 0 < most < len(images):
        chosen = choose(images, most, seed)
        images, names = images[chosen], [names[i] for i in chosen]
    return images, names
