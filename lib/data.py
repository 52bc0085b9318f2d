"""Image sets by name, or from a folder, all as Images of one size."""

from pathlib import Path

import torch
from torch.nn.functional import interpolate

from lib import microcosm
from lib.folders import read_folder
from lib.images import SPLITS, Images, held_out

DATA = Path(__file__).resolve().parent.parent / "data"
NAMES = ("microcosm", "digits", "faces", "textures")
TARGETS = NAMES[1:]
# The microcosm has no end; these are what a split holds unless n asks for another number.
MICROCOSM_SIZE = {"train": 2500, "test": 1000}


def load(name_or_path, split="train", *, n=None, seed=0, size=32):
    """Load one split of an image set.

    name_or_path: one of NAMES, or a folder in the layout of torchvision's ImageFolder, one folder
    for each class (2 to 1,000), itself split into `train` and `test` folders or else split here.
    split: "train" or "test"; the two share no image. n: number of images, balanced over the
    classes as far as they reach, or None for all. seed: of the choice of n. size: pixels of a
    side, to which the images are scaled (shorter side) and cropped (centre).

    The microcosm has no end: n is what is drawn, by a generator of this seed for each split, in
    balance over each 500.

    Returns Images of uint8 (N, 3, size, size). Raises ValueError for an unknown set, split or
    size, an n the set does not hold, and a folder that is empty, has one class or over 1,000,
    tests a class it does not train, or holds an image that cannot be read.
    """
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}; allowed are {' and '.join(SPLITS)}")
    if size < 8:
        raise ValueError(f"size is {size}; allowed are 8 pixels and more")
    find(name_or_path)
    if name_or_path == "microcosm":
        count = MICROCOSM_SIZE[split] if n is None else n
        drawn = microcosm.draw(count, 2 * seed + SPLITS.index(split))
        return Images(_scale(drawn.x, size), drawn.y, drawn.classes)
    if name_or_path in _BUNDLED:
        images = _BUNDLED[name_or_path](split, size)
    else:
        images = read_folder(Path(name_or_path), split, size)
    return images if n is None else subset(images, n, seed)


def find(name_or_path):
    """Raise ValueError, listing what is known, unless this is a known name or a folder."""
    if name_or_path in NAMES:
        return
    path = Path(name_or_path).expanduser()
    if not path.is_dir():
        raise ValueError(
            f"there is no data set or folder {str(name_or_path)!r} (looked in {Path.cwd()}); "
            f"known sets are {', '.join(NAMES)}"
        )


def known(name, value):
    """Check a chapter's parameter that names an image set: a rule for `lib.parameters`.

    Raises ValueError, listing what is known, for anything but a known set or a folder.
    """
    if not isinstance(value, str) or not value:
        raise ValueError(f"{value!r} is no name; known sets are {', '.join(NAMES)}, or a folder")
    find(value)


def known_or_all(name, value):
    """Check as `known` does, and allow "all", which stands for TARGETS."""
    if value != "all":
        known(name, value)


def subset(images, n, seed):
    """Return n of the images, chosen as `choose` does."""
    return images[choose(images, n, seed)]


def choose(images, n, seed):
    """Choose n images, as evenly over the classes as they reach.

    n: from the number of classes, so that each is seen, to all. seed: of the choice; with the
    same seed a smaller choice lies within a larger one.

    Returns their positions, int64 (n,). Raises ValueError for any other n.
    """
    low = len(images.y.unique())
    if not low <= n <= len(images):
        raise ValueError(
            f"n is {n}; allowed are {low}, one image a class, to {len(images)}, all there are"
        )
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(images), generator=generator)
    # The place of each image within its own class: all first ones, then all second ones, …
    place = torch.empty(len(images), dtype=torch.int64)
    for label in images.y.unique():
        members = order[images.y[order] == label]
        place[members] = torch.arange(len(members))
    return order[place[order].argsort(stable=True)][:n]


def doubling(images, largest=0):
    """Return the training-set sizes 2 a class, doubling, up to `largest` (0: all) and that one.

    Raises ValueError where `largest` is more than the set holds or less than 2 a class.
    """
    start, held = 2 * len(images.y.unique()), len(images)
    stop = largest or held
    if not min(start, held) <= stop <= held:
        raise ValueError(f"the largest n is {stop}; allowed are {start} to {held}, all there are")
    sizes = []
    while start < stop:
        sizes.append(start)
        start *= 2
    return [*sizes, stop]


def _digits(split, size):
    """UCI optical digits (Alpaydin and Kaynak, 1998), 1,797 of 8 × 8 pixels."""
    from sklearn.datasets import load_digits

    raw = load_digits()
    grey = torch.tensor(raw.images / 16 * 255).round().to(torch.uint8)
    y = torch.tensor(raw.target, dtype=torch.int64)
    return _split(_grey(grey, y, tuple(str(c) for c in range(10)), size), split)


def _faces(split, size):
    """Faces of LFW (Huang et al., 2007) against other patches, 100 each of 25 × 25 pixels."""
    from skimage.data import lfw_subset

    grey = torch.tensor(lfw_subset() * 255).round().to(torch.uint8)
    y = (torch.arange(len(grey)) >= 100).long()
    return _split(_grey(grey, y, ("face", "no face"), size), split)


def _textures(split, size):
    """Patches of 32 × 32 pixels of three photographed surfaces; train above, test below."""
    from skimage import data

    classes = ("brick", "grass", "gravel")
    rows = slice(0, 10) if split == "train" else slice(10, 16)
    patches = [
        torch.tensor(getattr(data, name)()).unfold(0, 32, 32).unfold(1, 32, 32)[rows]
        for name in classes
    ]
    grey = torch.cat([p.reshape(-1, 32, 32) for p in patches])
    y = torch.arange(len(classes)).repeat_interleave(len(grey) // len(classes))
    return _grey(grey, y, classes, size)


_BUNDLED = {"digits": _digits, "faces": _faces, "textures": _textures}


def _grey(grey, y, classes, size):
    """Make Images of grey pixels, uint8 (N, H, W)."""
    return Images(_scale(grey[:, None], size).repeat(1, 3, 1, 1), y, classes)


def _scale(x, size):
    """Scale square uint8 images (N, C, H, H) to (N, C, size, size)."""
    if x.shape[-1] == size:
        return x
    scaled = interpolate(x.float(), (size, size), mode="bilinear", antialias=True)
    return scaled.round().clamp(0, 255).to(torch.uint8)


def _split(images, split):
    """Take one side of a fixed random split, the same share of each class."""
    chosen = held_out(images.y)
    return images[chosen if split == "test" else ~chosen]
