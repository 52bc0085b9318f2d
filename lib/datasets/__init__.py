"""Image sets by name, or from a folder, all as Images of one size."""

import difflib
import re
from pathlib import Path

from lib import microcosm
from lib.datasets import bundled, decoded, folders, torchvision_sets
from lib.images import SPLITS, Images, positions, subset
from lib.runtime.rules import listed

TARGETS = tuple(bundled.SETS)
NAMES = ("microcosm", *TARGETS, *microcosm.CUES, *torchvision_sets.SETS)
DRAWN = {"microcosm": (2500, 1000)} | dict.fromkeys(microcosm.CUES, (1000, 500))
"""Training and test images of the sets that have no end, unless n asks for another number."""


def load(
    name_or_path: str | Path,
    split: str = "train",
    *,
    n: int | None = None,
    seed: int = 0,
    size: int = 32,
) -> Images:
    """Load one split of an image set.

    name_or_path: one of NAMES, in any spelling ("CIFAR-10", "Fashion-MNIST"), or a folder in the
    layout of torchvision's ImageFolder, one folder for each class (2 to 1,000), itself split into
    `train` and `test` folders or else split here. A text that names a set is the set; "./name" or
    a Path is a folder. split: "train" or "test"; the two share no image. n: number of images,
    balanced over the classes as far as they reach, or None for all. seed: of the choice of n.
    size: pixels of a side, to which the images are scaled (shorter side) and cropped (centre).

    The microcosm, and its shapes and gratings, which are labelled by one cue while the other is
    drawn at random, have no end: n is what is drawn, in balance over each 500. torchvision's sets
    are downloaded where their files are not there. Their images and those of a folder are decoded
    once and kept under `data/cache/images`; of a choice of files only those are. What is over
    1 GiB stays in its file: x is mapped from it, and must not be written to.

    Returns Images of uint8 (N, 3, size, size). Raises ValueError for an unknown set, split or
    size, an n the set does not hold, a set that cannot be downloaded, and a folder that is empty,
    has one class or over 1,000, tests a class it does not train, or holds what cannot be read.
    """
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}; allowed are {' and '.join(SPLITS)}")
    if size < 8:
        raise ValueError(f"size is {size}; allowed are 8 pixels and more")
    source = find(name_or_path)
    if isinstance(source, Path) or source in torchvision_sets.FILES:
        return _from_files(source, split, n, seed, size)
    if source in DRAWN:
        return _drawn(source, split, n, seed, size)
    if source in bundled.SETS:
        images = bundled.SETS[source](split, size)
    else:
        images = torchvision_sets.read(source, split, size)
    return images if n is None else subset(images, n, seed)


def pair(name_or_path: str | Path, *, size: int = 32) -> tuple[Images, Images]:
    """Load the training and the test images of a set, as `load` does."""
    return load(name_or_path, size=size), load(name_or_path, "test", size=size)


def _from_files(source, split, n, seed, size):
    """Load images that are files of their own: choose first, then decode."""
    list_files = folders.list_files if isinstance(source, Path) else torchvision_sets.contents
    files, y, classes = list_files(source, split)
    asked = {"set": str(source), "split": split}
    if n is not None:
        chosen = positions(y, n, seed)
        files, y = [files[i] for i in chosen], y[chosen]
        asked |= {"n": n, "seed": seed}
    return decoded.from_files(files, y, classes, size, asked=asked)


def _drawn(name, split, n, seed, size):
    """Draw a split of a set without end, unlike any other split and any of another seed."""
    place = SPLITS.index(split)
    n = DRAWN[name][place] if n is None else n
    if name == "microcosm":
        return microcosm.draw(n, 2 * seed + place, size=size)
    place += 2 * microcosm.CUES.index(name)
    return microcosm.one_cue(name, n, 10_000 + 4 * seed + place, size=size)


def find(name_or_path: str | Path) -> str | Path:
    """Return the set's name as it stands in NAMES, or the folder's Path.

    Raises ValueError, with the nearest name and all that are known, where there is neither.
    """
    plain = re.sub("[-_ ]", "", str(name_or_path)).lower()
    if isinstance(name_or_path, str) and plain in NAMES:
        return plain
    path = Path(name_or_path).expanduser()
    if name_or_path != "" and path.is_dir():
        return path.resolve()
    near = difflib.get_close_matches(plain, NAMES, n=1)
    raise ValueError(
        f"there is no data set or folder {str(name_or_path)!r} (looked in {Path.cwd()}); "
        f"{f'did you mean {near[0]}? ' if near else ''}known sets are {', '.join(NAMES)}"
    )


def targets(text: str) -> list[str]:
    """List the sets that a text names: "all" for TARGETS, or several with commas between them."""
    if text == "all":
        return list(TARGETS)
    if "," not in text or Path(text).expanduser().is_dir():
        return [text]
    return listed(text) or [text]


def named(text: str, *, size: int = 32) -> dict[str, tuple[Images, Images]]:
    """Load the sets that a text names, as `targets` reads it: training and test images of each.

    Returns them by the name that a figure shows: a set's as in NAMES, of a folder the last part of
    its path, or as many as tell it from the others. Raises ValueError as `load` does, and where
    the text names a set twice.
    """
    sources = [find(target) for target in targets(text)]
    for i, source in enumerate(sources):
        if source in sources[:i]:
            raise ValueError(f"{text!r} names {source} twice; name each set once")
    return {_shown(source, sources): pair(source, size=size) for source in sources}


def _shown(source, sources):
    """Return a set's name, or the fewest last parts of a folder's path that no other ends with."""
    if isinstance(source, str):
        return source
    others = [Path(other).parts for other in sources if other != source]
    count = 1
    while any(source.parts[-count:] == parts[-count:] for parts in others):
        count += 1
    return Path(*source.parts[-count:]).as_posix()
