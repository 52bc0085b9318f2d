"""A folder of 10,000 images, loaded the second time, beside its floors and its peer.

Two floors: reading the bytes of the image files, each opened and read and nothing else; and
reading the bytes of the decoded images from one file. The claim (at most twice) is about the
first. To notice that an image was changed, every file must be asked for its size and times, and
that alone can take longer than the second floor. The peer is torchvision's ImageFolder, which
decodes again. Each row is a median of interleaved repetitions in this process, all files in the
system's cache; the last two rows are single runs.
"""

import argparse
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision import transforms
from torchvision.datasets import ImageFolder

from lib import decoded
from lib.data import load
from lib.folders import list_folder

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


def seconds(function):
    """Time one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--side", type=int, default=96, help="pixels of a side of the files")
    parser.add_argument("--size", type=int, default=32, help="pixels of a side once loaded")
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root, decoded.CACHE = Path(temporary, "set"), Path(temporary, "cache")
        make(root, args.images, args.side)
        once = {
            "ImageFolder": seconds(lambda: peer(root, args.size)),
            "lib, first": seconds(lambda: load(root, size=args.size)),
        }
        files, *_ = list_folder(root, "train")
        (stored,) = decoded.CACHE.glob("*.npy")
        functions = {
            "image files": lambda: read(files),
            "decoded bytes": lambda: np.fromfile(stored, np.uint8),
            "lib, again": lambda: load(root, size=args.size),
        }
        rounds = [{k: seconds(f) for k, f in functions.items()} for _ in range(args.rounds + 1)]
        megabytes = sum(os.path.getsize(f) for f in files) / 1e6, stored.stat().st_size / 1e6  # noqa: PTH202
    print(f"{args.images} JPEG files of {args.side} pixels, loaded at {args.size}")
    print("{:.0f} MB of files, {:.0f} MB decoded".format(*megabytes))
    print(f"{os.cpu_count()} cores, {platform.processor() or platform.machine()}")
    print(f"{'what':16}{'seconds':>9}{'of the files':>14}{'of the bytes':>14}")
    rounds = rounds[1:]  # the first warms up
    base = [statistics.median(r[k] for r in rounds) for k in ("image files", "decoded bytes")]
    for name in (*functions, *once):
        times = [r[name] for r in rounds] if name in functions else [once[name]]
        found = statistics.median(times)
        print(f"{name:16}{found:9.3f}{found / base[0]:14.2f}{found / base[1]:14.2f}")


if __name__ == "__main__":
    main()
