"""A folder of 10,000 images, loaded the second time, beside its floors and its peer.

Two floors: reading the bytes of the image files, each opened and read and nothing else; and
reading the bytes of the decoded images from one file. The claim (at most twice) is about the
first. To notice that an image was changed, every file must be asked for its size and times, and
that alone can take longer than the second floor. The peer is torchvision's ImageFolder, which
decodes again, measured once. All files are in the system's cache.
"""

import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision import transforms
from torchvision.datasets import ImageFolder

from benchmarks.measure import race, row
from lib.datasets import folders, load, store

CLASSES = 10


def make(root, images, side):
    """Write JPEG files of smooth noise, half of them to test."""
    generator = np.random.default_rng(0)
    for i in range(images):
        path = root / "train" / f"class {i % CLASSES}" / f"{i:05}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((side, side)).save(path, quality=90)
    for c in range(CLASSES):
        path = root / "test" / f"class {c}" / "0.jpg"
        path.parent.mkdir(parents=True)
        Image.new("RGB", (side, side)).save(path)


def read(files):
    """Read the bytes of every image file."""
    for name in files:
        with open(name, "rb", buffering=0) as file:  # noqa: PTH123 (the fastest there is)
            file.read()


def peer(root, size):
    """Decode and scale every image, as a loop over torchvision's ImageFolder does."""
    scale = [transforms.Resize(size), transforms.CenterCrop(size), transforms.PILToTensor()]
    return torch.stack([x for x, _ in ImageFolder(root / "train", transforms.Compose(scale))])


def rows(quick=False):
    """Write a folder, load it, and measure loading it again; on all cores."""
    images, side, size, rounds = (60, 40, 32, 1) if quick else (10_000, 96, 32, 9)
    with tempfile.TemporaryDirectory() as temporary:
        root, store.CACHE = Path(temporary, "set"), Path(temporary, "cache")
        make(root, images, side)
        once, first = race(
            {"peer": lambda: peer(root, size), "first": lambda: load(root, size=size)}, 1
        )
        files = [file.path for file in folders.read(root).side("train")[0]]
        (stored,) = store.CACHE.glob("*.npy")
        functions = {
            "files": lambda: read(files),
            "bytes": lambda: np.fromfile(stored, np.uint8),
            "again": lambda: load(root, size=size),
        }
        race(functions, 1)  # which warms up
        seconds, results = race(functions, rounds)
    agree = torch.equal(results["again"].x, first["first"].x)
    what = f"a folder of {images:,} images, the second time"
    again = seconds["again"]
    told = {"results": "the same images", "agree": agree}
    return [
        row(what, "reading the image files", again, seconds["files"], "≤ 2", **told),
        row(what, "reading one file of decoded images", again, seconds["bytes"]),
        row(what, "torchvision ImageFolder", again, once["peer"] * rounds),
        row(f"{what[:-15]}the first time", "torchvision ImageFolder", once["first"], once["peer"]),
    ]
