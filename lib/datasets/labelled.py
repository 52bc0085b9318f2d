"""What is labelled of an image set: what can be learnt from, and what is kept to test on."""

from pathlib import Path

import torch

from lib import datasets
from lib.datasets import decoded
from lib.datasets.folders import Folder
from lib.images import Images, choose, positions


def load(
    target: str | Path | Folder, most: int = 0, *, size: int = 32, seed: int = 0
) -> tuple[Images, list[str]]:
    """Load the labelled images of a set or a folder that can be learnt from, and their names.

    These are its training images, of a folder its validation images too, and all where it is not
    divided. Of exact copies in one class there is one, so that however these images are divided, no
    image is on both sides.

    target: as in `lib.datasets.load`. most: how many at most, chosen as evenly over the classes as
    they reach, or 0 for all. size: pixels of a side; the same images are chosen at every size.
    seed: of the choice.

    Returns (Images, names): of a folder the names are paths within it, of another set positions
    such as "train 3". Raises ValueError as `lib.datasets.load` and `lib.images.choose` do.
    """
    source = datasets.opened(target)
    if isinstance(source, Folder):
        return _of_folder(source, most, size, seed)
    images = datasets.load(source, size=size)
    names = [f"train {i}" for i in range(len(images))]
    if 0 < most < len(images):
        chosen = choose(images, most, seed)
        images, names = images[chosen], [names[i] for i in chosen]
    return images, names


def tested(target: str | Path | Folder, *, size: int = 32) -> Images | None:
    """Load the test images of a set or a folder, or None of a folder that is not divided."""
    source = datasets.opened(target)
    if isinstance(source, Folder) and not source.parts:
        return None
    return datasets.load(source, "test", size=size)


def check(target: str | Path | Folder) -> None:
    """Raise ValueError where `tested` will, before an image is read."""
    source = datasets.opened(target)
    if isinstance(source, Folder) and source.parts:
        source.side("test")


def joined(*parts: Images) -> Images:
    """Join Images of the same classes."""
    x, y = torch.cat([part.x for part in parts]), torch.cat([part.y for part in parts])
    return Images(x, y, parts[0].classes)


def _of_folder(folder, most, size, seed):
    again = {i for group in folder.contents.copies for i in _further(group, folder.y)}
    learnt = [
        i
        for i, split in enumerate(folder.split)
        if i not in again and (not folder.parts or split in ("train", "validation"))
    ]
    asked = {"split": "all that is learnt from"}
    if 0 < most < len(learnt):
        y = torch.tensor([folder.y[i] for i in learnt])
        learnt = [learnt[i] for i in positions(y, most, seed)]
        asked |= {"n": most, "seed": seed}
    files, y, classes, asked, depth = folder.chosen(learnt, asked)
    images = decoded.from_files(files, y, classes, size, asked=asked, depth=depth)
    return images, [folder.name(i) for i in learnt]


def _further(group, y):
    """Return the positions in a group of copies that come after the first of their class."""
    return [i for k, i in enumerate(group) if y[i] in {y[j] for j in group[:k]}]
