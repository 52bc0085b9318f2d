"""Image sets by name, or from a folder, all as Images of one size."""

import difflib
import re
from pathlib import Path

import torch

from lib import bundled, decoded, folders, microcosm, torchvision_sets
from lib.images import SPLITS
from lib.parameters import listed

TARGETS = tuple(bundled.SETS)
NAMES = ("microcosm", *TARGETS, *torchvision_sets.SETS)
# The microcosm has no end; these are what a split holds unless n asks for another number.
MICROCOSM_SIZE = {"train": 2500, "test": 1000}


def load(name_or_path, split="train", *, n=None, seed=0, size=32):
    """Load one split of an image set.

    name_or_path: one of NAMES, in any spelling ("CIFAR-10", "Fashion-MNIST"), or a folder in the
    layout of torchvision's ImageFolder, one folder for each class (2 to 1,000), itself split into
    `train` and `test` folders or else split here. A text that names a set is the set; "./name" or
    a Path is a folder. split: "train" or "test"; the two share no image. n: number of images,
    balanced over the classes as far as they reach, or None for all. seed: of the choice of n.
    size: pixels of a side, to which the images are scaled (shorter side) and cropped (centre).

    The microcosm has no end: n is what is drawn, by a generator of this seed for each split, in
    balance over each 500. torchvision's sets are downloaded where their files are not there. Their
    images and those of a folder are decoded once and kept under `data/cache/images`; of a choice
    of files only those are decoded. What is over 1 GiB stays in its file: x is mapped from it,
    read where it is needed, and must not be written to.

    Returns Images of uint8 (N, 3, size, size). Raises ValueError for an unknown set, split or
    size, an n the set does not hold, a set that cannot be downloaded, and a folder that is empty,
    has one class or over 1,000, tests a class it does not train, or holds an image that cannot be
    read.
    """
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}; allowed are {' and '.join(SPLITS)}")
    if size < 8:
        raise ValueError(f"size is {size}; allowed are 8 pixels and more")
    found = find(name_or_path)
    if found == "microcosm":
        count = MICROCOSM_SIZE[split] if n is None else n
        return microcosm.draw(count, 2 * seed + SPLITS.index(split), size=size)
    if found in bundled.SETS:
        images = bundled.SETS[found](split, size)
    elif found in torchvision_sets.ARRAYS:
        images = torchvision_sets.read(found, split, size)
    else:
        return _from_files(found, split, n, seed, size)
    return images if n is None else subset(images, n, seed)


def pair(name_or_path, *, size=32):
    """Load the training and the test images of a set, as `load` does: a pair of Images."""
    return tuple(load(name_or_path, split, size=size) for split in SPLITS)


def _from_files(found, split, n, seed, size):
    """Load images that are files of their own: choose first, then decode."""
    if isinstance(found, Path):
        root = str(found)
        files, y, classes = folders.list_folder(found, split)
    else:
        root = found
        files, y, classes = torchvision_sets.list_files(found, split)
    asked = {"set": root, "split": split}
    if n is not None:
        chosen = _order(y, n, seed)
        files, y = [files[i] for i in chosen], y[chosen]
        asked |= {"n": n, "seed": seed}
    return decoded.from_files(files, y, classes, size, asked=asked)


def find(name_or_path):
    """Return the set's name as it stands in NAMES, or the folder's Path.

    Raises ValueError, with the nearest name and all that are known, where there is neither.
    """
    plain = re.sub("[-_ ]", "", str(name_or_path)).lower()
    if isinstance(name_or_path, str) and plain in NAMES:
        return plain
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        return path.resolve()
    near = difflib.get_close_matches(plain, NAMES, n=1)
    raise ValueError(
        f"there is no data set or folder {str(name_or_path)!r} (looked in {Path.cwd()}); "
        f"{f'did you mean {near[0]}? ' if near else ''}known sets are {', '.join(NAMES)}"
    )


def known(name, value):
    """Check a chapter's parameter that names an image set: a rule for `lib.parameters`.

    Raises ValueError, listing what is known, for anything but a known set or a folder.
    """
    if not isinstance(value, str) or not value:
        raise ValueError(f"{value!r} is no name; known sets are {', '.join(NAMES)}, or a folder")
    find(value)


def known_targets(name, value):
    """Check a chapter's parameter that `targets` reads: a rule for `lib.parameters`.

    Raises ValueError as `known` does.
    """
    for target in targets(value) if isinstance(value, str) else [value]:
        known(name, target)


def targets(text):
    """List the sets that a text names: "all" for TARGETS, or several with commas between them."""
    if text == "all":
        return list(TARGETS)
    if "," not in text or Path(text).expanduser().is_dir():
        return [text]
    return listed(text) or [text]


def subset(images, n, seed):
    """Return n of the images, chosen as `choose` does."""
    return images[choose(images, n, seed)]


def sample(images, n, seed):
    """Return n of the images to look at: as `subset` does, but fewer than one a class, too.

    n: 1 to all there are. Raises ValueError for any other n.
    """
    if not 1 <= n <= len(images):
        raise ValueError(f"n is {n}; allowed are 1 to {len(images)}, all there are")
    return images[_even_order(images.y, seed)[:n]]


def choose(images, n, seed):
    """Choose n images, as evenly over the classes as they reach.

    n: from the number of classes, so that each is seen, to all. seed: of the choice; with the
    same seed a smaller choice lies within a larger one.

    Returns their positions, int64 (n,). Raises ValueError for any other n.
    """
    return _order(images.y, n, seed)


def _order(y, n, seed):
    """Choose n positions by their labels alone, as `choose` does."""
    low = len(y.unique())
    if not low <= n <= len(y):
        raise ValueError(
            f"n is {n}; allowed are {low}, one image a class, to {len(y)}, all there are"
        )
    return _even_order(y, seed)[:n]


def _even_order(y, seed):
    """Put positions in random order, the first image of each class before any second one."""
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
    # The place of each image within its own class: all first ones, then all second ones, …
    place = torch.empty(len(y), dtype=torch.int64)
    for label in y.unique():
        members = order[y[order] == label]
        place[members] = torch.arange(len(members))
    return order[place[order].argsort(stable=True)]


def doubling(images, largest=0, smallest=0, everything=False):
    """Return training-set sizes: `smallest`, doubled as often as it goes, and `largest`.

    smallest: at least one a class, or 0 for two a class. largest: 0 for all there are. everything:
    whether all there are is one more size. Raises ValueError for others, and where the largest is
    more than the set holds or less than the smallest.
    """
    classes, held = len(images.y.unique()), len(images)
    if smallest and not classes <= smallest <= held:
        raise ValueError(
            f"the smallest n is {smallest}; allowed are {classes}, one a class, to {held}, or 0"
        )
    start = smallest or 2 * classes
    stop = largest or held
    if not min(start, held) <= stop <= held:
        raise ValueError(f"the largest n is {stop}; allowed are {start} to {held}, all there are")
    sizes = []
    while start < stop:
        sizes.append(start)
        start *= 2
    return [*sizes, stop, *([held] if everything and stop < held else [])]
