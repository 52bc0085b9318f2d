"""Images that are files, and the sets that lie in a few large ones: decoded once, then kept."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from lib.datasets.reading import Depth, Unreadable, fit, read_image
from lib.datasets.store import Store
from lib.datasets.walk import File
from lib.images import Images


@dataclass(frozen=True)
class Mapped(Images):
    """Images whose pixels stay in a file: x is mapped from it, and must not be written to.

    Another process is told the file, not sent its content.
    """

    file: Path

    @classmethod
    def of(cls, file: Path, y: torch.Tensor, classes: tuple[str, ...]) -> "Mapped":
        """Map the pixels of a file that has been checked."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            return cls(torch.from_numpy(np.load(file, mmap_mode="r")), y, classes, file)

    def __reduce__(self):
        return Mapped.of, (self.file, self.y, self.classes)


def from_files(
    found: Sequence[File],
    y: torch.Tensor,
    classes: tuple[str, ...],
    size: int,
    *,
    asked: Mapping,
    depth: Depth | None = None,
) -> Images:
    """Return the images of these files, decoded on every core unless that has been done.

    found: images of any kind. y, classes: as in Images. size: pixels of a side. asked: texts and
    numbers that tell this choice of files from all others; its `set` is a name or a folder. depth:
    as in `lib.datasets.reading.read_image`.

    Returns Images of uint8 (N, 3, size, size), Mapped ones where they are over IN_MEMORY. Raises
    Unreadable naming the files that cannot be read, and ValueError where the disk is too full.
    """
    how = (size,) if depth is None else (size, depth)

    def block(part):
        x, failures = torch.zeros(len(found[part]), 3, size, size, dtype=torch.uint8), []
        for i, file in enumerate(found[part]):
            try:
                x[i] = read_image(file.path, *how)
            except Unreadable as error:
                failures += error.failures
        if failures:
            raise Unreadable(*failures)
        return x

    def look_again():
        return [File.at(file.path) for file in found]

    store = Store(asked, size, ("datasets.reading",), look_again, depth)
    x, _ = store.load(lambda: (len(found), block, {}), found)
    return _images(x, y, classes, store.path)


def from_arrays(
    read: Callable, list_files: Callable[[], Sequence[File]], size: int, *, asked: Mapping
) -> Images:
    """Return images that `read` finds in a few large files, scaled unless that has been done.

    read: returns (x, y, classes) with x uint8 (N, 3, H, W). list_files: lists the files that this
    depends on. The rest, what is returned and raised: as in `from_files`.
    """

    def make():
        x, y, classes = read()
        about = {"y": y.tolist(), "classes": list(classes)}
        return len(x), lambda part: fit(x[part], size), about

    store = Store(asked, size, ("datasets.reading", "datasets.layouts"), list_files)
    x, record = store.load(make)
    return _images(x, torch.tensor(record["y"]), tuple(record["classes"]), store.path)


def _images(x, y, classes, path):
    """Make Images of pixels in memory, else Mapped ones."""
    mapped = isinstance(x, np.memmap)
    return Mapped.of(path, y, classes) if mapped else Images(torch.from_numpy(x), y, classes)
