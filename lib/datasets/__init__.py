"""Image sets by name, or from a folder, all as Images of one size."""

import difflib
import re
from dataclasses import replace
from pathlib import Path

from lib import microcosm
from lib.datasets import bundled, decoded, folders, further, hints, torchvision_sets
from lib.datasets.folders import Folder
from lib.datasets.reading import Unreadable, shown
from lib.datasets.surveys import Survey
from lib.datasets.walk import File
from lib.images import SPLITS, Images, positions, subset
from lib.runtime.rules import listed

TARGETS = tuple(bundled.SETS)
INSIDE = bundled.SETS | further.SETS
NAMES = ("microcosm", *INSIDE, *microcosm.CUES, *torchvision_sets.SETS)
DRAWN = {"microcosm": (2500, 1000)} | dict.fromkeys(microcosm.CUES, (1000, 500))
"""Training and test images of the sets that have no end, unless n asks for another number."""
LEARNED = "photographs"
"""What sources that come with the book have learned; the images themselves are not here."""


def load(
    name_or_path: str | Path | Folder,
    split: str = "train",
    *,
    n: int | None = None,
    seed: int = 0,
    size: int = 32,
) -> Images:
    """Load one split of an image set.

    name_or_path: one of NAMES, in any spelling ("CIFAR-10", "Fashion-MNIST"), or a folder, or what
    `opened` makes of it, in the layout of torchvision's ImageFolder: one folder for each class (2
    to 1,000), itself split into folders that are called train and test in any spelling, perhaps
    validation, or else split here. A text that names a set is the set; "./name" or a Path is a
    folder. split: "train" or "test", which share no image, exact copies included. n: number of
    images, balanced over the classes as far as they reach, or None for all. seed: of the choice of
    n. size: pixels of a side, to which the square in the centre is scaled.

    The microcosm, and its shapes and gratings, which are labelled by one cue while the other is
    drawn at random, have no end: n is what is drawn, in balance over each 500. torchvision's sets
    are downloaded where their files are not there. Their images and those of a folder are decoded
    once and kept under `data/cache/images`; of a choice of files only those are. What is over
    1 GiB stays in its file: x is mapped from it, and must not be written to.

    Nothing is said here: `survey` tells what was understood, left out or is doubtful.

    Returns Images of uint8 (N, 3, size, size). Raises ValueError for an unknown set, split or
    size, an n the set does not hold, a set that cannot be downloaded, and a folder that is empty,
    has one class or over 1,000, tests a class it does not train, or holds what cannot be read.
    """
    given = opened(name_or_path)
    _check(split, size)
    if isinstance(given, Folder):
        return _from_files(*given.side(split), n, seed, size)
    source = _plain(given)
    if source in DRAWN:
        return _drawn(source, split, n, seed, size)
    if source in torchvision_sets.FILES:
        files, y, classes = torchvision_sets.contents(source, split)
        found = [File.at(file) for file in files]
        asked = {"set": source, "split": split}
        return _from_files(found, y, classes, asked, None, n, seed, size)
    if source in INSIDE:
        images = INSIDE[source](split, size)
    else:
        images = torchvision_sets.read(source, split, size)
    return images if n is None else subset(images, n, seed)


def pair(name_or_path: str | Path | Folder, *, size: int = 32) -> tuple[Images, Images]:
    """Load the training and the test images of a set, as `load` does."""
    source = opened(name_or_path)
    if isinstance(source, Folder):
        _check("train", size)
        return _both(source, size)
    return load(source, size=size), load(source, "test", size=size)


def opened(name_or_path: str | Path | Folder) -> str | Folder:
    """Look at what a folder holds, once for all that takes it then; a set's name stays as it is.

    Raises ValueError as `load` does.
    """
    if isinstance(name_or_path, Folder):
        return name_or_path
    source = find(name_or_path)
    return folders.read(source) if isinstance(source, Path) else str(name_or_path)


def _both(folder, size):
    """Load both splits of a folder; of what cannot be read in either, one error tells."""
    found, failures = [], []
    for split in SPLITS:
        try:
            found.append(_from_files(*folder.side(split), None, 0, size))
        except Unreadable as error:
            failures += error.failures
    if failures:
        raise Unreadable(*failures)
    return tuple(found)


def survey(name_or_path: str | Path | Folder, *, size: int = 32) -> Survey:
    """Tell what a set holds: images by split and class, and what was left out or is doubtful.

    name_or_path, size: as in `load`, which has nothing to decode of it again. Of a folder no image
    is decoded, deep greys aside. Raises ValueError as `load` does.
    """
    given = opened(name_or_path)
    if isinstance(given, Folder):
        return given.survey(_short_name(given.root, [given.root]))
    source = _plain(given)
    if source in torchvision_sets.FILES:
        found = [torchvision_sets.contents(source, split)[1:] for split in SPLITS]
    else:
        found = [(images.y, images.classes) for images in pair(source, size=size)]
    classes = found[0][1]
    counts = {
        split: tuple(y.bincount(minlength=len(classes)).tolist())
        for split, (y, _) in zip(SPLITS, found, strict=True)
    }
    return Survey(source, classes, counts, tuple(_doubts(given)))


def _doubts(name):
    """Say what is doubtful of a set that goes by its name: whether a folder was meant."""
    if not Path(name).is_dir():
        return []
    source = _plain(name)
    return [f"this is the set {source}; for the folder write ./{shown(name)}"]


def _check(split, size):
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}; allowed are {' and '.join(SPLITS)}")
    if size < 8:
        raise ValueError(f"size is {size}; allowed are 8 pixels and more")


def learned(
    name_or_path: str | Path, n_source: int = 0, *, size: int = 32
) -> tuple[Images, Images]:
    """Load what sources learn, and the test images of the same set.

    n_source: how many images they learn, as evenly over the classes as they reach, or 0 for all.
    The rest, and what is raised: as in `load`.
    """
    try:
        train = load(name_or_path, n=n_source or None, size=size)
    except ValueError as error:
        said = str(error)
        raise ValueError(f"n_source{said[1:]}, or 0" if said.startswith("n is") else said) from None
    return train, load(name_or_path, "test", size=size)


def _from_files(found, y, classes, asked, depth, n, seed, size):
    """Load images that are files of their own: choose first, then decode."""
    if n is not None:
        chosen = positions(y, n, seed)
        found, y = [found[i] for i in chosen], y[chosen]
        asked |= {"n": n, "seed": seed}
    return decoded.from_files(found, y, classes, size, asked=asked, depth=depth)


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
    plain = _plain(name_or_path)
    if isinstance(name_or_path, str) and plain in NAMES:
        return plain
    path = Path(name_or_path).expanduser()
    if name_or_path != "" and path.is_dir():
        return path.resolve()
    near = [f"did you mean {name}? " for name in difflib.get_close_matches(plain, NAMES, n=1)]
    hint = f"{hints.of_file(path)}; " if path.is_file() else "".join(near)
    if plain == LEARNED:
        hint = "what the sources that come with the book learned does not come with it; "
    raise ValueError(
        f"there is no data set or folder {str(name_or_path)!r} (looked in {Path.cwd()}); "
        f"{hint}known sets are {', '.join(NAMES)}"
    )


def _plain(name):
    return re.sub("[-_ ]", "", str(name)).lower()


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
    its path, or as many as tell it from the others and from any set. Raises ValueError as `load`
    does, and where the text names a set twice.
    """
    return {name: pair(target, size=size) for name, target in _several(text).items()}


def remarks(*texts: str, size: int = 32) -> list[str]:
    """List, as plain texts, what stands to be said of sets before anything is computed with them.

    texts: as of `named`, several, or LEARNED, of which nothing is said. size: as in `survey`. Of a
    folder it is its whole survey: counts, the level of chance, what was understood, left out and is
    doubtful; of other sets, which are not loaded for it, what is doubtful, mostly nothing. Raises
    ValueError as `find` does, as `survey` does of folders, and where a text names a set twice.
    """
    lines: list[str] = []
    seen: set[str | Path] = set()  # one may be source and target
    for name, target in (p for t in texts if _plain(t) != LEARNED for p in _several(t).items()):
        source = find(target)
        if source in seen:
            continue
        seen.add(source)
        if isinstance(source, Path):
            first, *rest = replace(survey(source, size=size), name=name).lines()
            lines += [first, *(f"{name}: {line}" for line in rest)]
        else:
            lines += [f"{name}: {doubt}" for doubt in _doubts(target)]
    return lines


def _several(text):
    """Return the sets that a text names, as it names them, by what figures call them."""
    names = targets(text)
    sources = [find(name) for name in names]
    for i, source in enumerate(sources):
        if source in sources[:i]:
            raise ValueError(f"{text!r} names {source} twice; name each set once")
    return {_short_name(s, sources): name for name, s in zip(names, sources, strict=True)}


def _short_name(source, sources):
    """Return a set's name, or the fewest last parts of a folder's path that tell it from others."""
    if isinstance(source, str):
        return source
    others = [Path(other).parts for other in sources if other != source]
    count = 2 if _plain(source.name) in NAMES else 1
    while any(source.parts[-count:] == parts[-count:] for parts in others):
        count += 1
    return shown(Path(*source.parts[-count:]).as_posix())
