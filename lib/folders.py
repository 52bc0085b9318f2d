"""Folders of images, one sub-folder for each class, read as Images."""

import numpy as np
import torch
from PIL import Image, ImageOps
from torchvision.datasets.folder import IMG_EXTENSIONS
from torchvision.transforms.v2.functional import center_crop, resize

from lib.images import SPLITS, Images, held_out

MAX_CLASSES = 1000


def read_folder(root, split, size):
    """Read one split of a folder of images.

    root: Path of a folder with one sub-folder for each class, perhaps under `train` and `test`;
    else `held_out` divides it. split: "train" or "test". size: pixels of a side.

    Returns Images of uint8 (N, 3, size, size). Raises ValueError as `lib.data.load` does.
    """
    files, y, classes = listed(root, split)
    return Images(torch.stack([read_image(file, size) for file in files]), y, classes)


def listed(root, split):
    """List the files of one split in the order in which `read_folder` reads them.

    root, split: as in `read_folder`. Returns (paths, y, classes), y int64 (N,). Raises ValueError
    as `lib.data.load` does, but of an image that cannot be read.
    """
    root = root.expanduser()
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
        files, y = [f for f, c in zip(files, chosen, strict=True) if c], y[chosen]
    if not files:
        raise ValueError(f"{base} holds no images of the classes {', '.join(classes[:5])}")
    return files, y, classes


def _has_splits(root):
    """Tell whether the folder is divided into `train` and `test`; half a division is refused."""
    there = [name for name in SPLITS if (root / name).is_dir()]
    for name in there:
        # With images of its own it is a class called train: the vehicle, say.
        own = any(_is_image(p) for p in (root / name).iterdir())
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
    """List the image files below a folder, sorted; what is hidden is left out."""
    if not folder.is_dir():
        return []
    return sorted(
        p
        for p in folder.rglob("*")
        if _is_image(p) and not any(s.startswith(".") for s in p.relative_to(folder).parts)
    )


def _is_image(path):
    """Tell by its name whether a path is an image."""
    return path.suffix.lower() in (*IMG_EXTENSIONS, ".gif") and not path.is_dir()


def read_image(file, size):
    """Read one image of any size and mode as uint8 (3, size, size).

    The shorter side is scaled to size, and the centre is kept; what is transparent becomes white.
    Raises ValueError naming the file where it cannot be read.
    """
    try:
        with Image.open(file) as image:
            image = ImageOps.exif_transpose(image)
            image = _to_rgb(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{file} cannot be read as an image ({error})") from None
    x = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    return center_crop(resize(x, [size], antialias=True), [size, size])


def _to_rgb(image):
    """Bring any mode to RGB: deep greys scaled to 8 bits, transparency on white."""
    if image.mode.startswith("I") or image.mode == "F":
        deep = np.asarray(image, dtype=np.float64)
        top = 65535 if image.mode.startswith("I") else 1.0
        image = Image.fromarray((255 * (deep / max(top, deep.max())).clip(0, 1)).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, image)
    return image.convert("RGB")
