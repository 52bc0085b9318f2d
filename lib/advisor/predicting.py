"""What a saved network says of the images of a folder: a row each, as soon as it is known."""

import csv
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, TextIO

import torch
from torch import nn

from lib.datasets.reading import Unreadable, extremes, mode_of, read_image, shown
from lib.datasets.walk import LeftOut, files_below
from lib.training import pixels

BATCH = 100
"""Images in memory at a time."""
DEPTH = (0.0, 65_535.0)
"""What becomes black and white in a grey image of 16 bits, where no image that trained was one."""


class Row(NamedTuple):
    """What is said of an image.

    file: within the folder. answer, probability: its class and how sure that is, 0 to 1; or of both
    nothing, and error says why.
    """

    file: str
    answer: str = ""
    probability: float | None = None
    error: str = ""


def predict(
    network: nn.Module, about: Mapping, folder: str | Path, left: LeftOut | None = None
) -> Iterator[Row]:
    """Classify all images in a folder and the folders in it.

    network, about: as `lib.advisor.exported.load` returns them. left: counts what is left out.

    Yields Rows, sorted by file; of an image that cannot be read, is deep grey in another unit than
    what was learned, or whose answer is not finite, the Row has an error. Raises ValueError, before
    the first of them, where there is no folder, or no image in it.
    """
    root, left = Path(folder).expanduser(), left or LeftOut()
    paths = [file.path for file in files_below(root, left)] if root.is_dir() else []
    if not paths:
        if root.is_file():
            raise ValueError(f"{str(folder)!r} is a file; name the folder it is in")
        held = f" (but {left.by_suffix()})" if left.suffixes else ""
        raise ValueError(
            f"there is no folder of images {str(folder)!r}{held} (looked in {Path.cwd()})"
        )
    return _rows(network, about, root, paths)


def write(rows: Iterable[Row], out: TextIO) -> int:
    """Write rows as CSV, each flushed as it comes, and return how many have an error."""
    table, wrong = csv.writer(out, lineterminator="\n"), 0
    table.writerow(["file", "class", "probability", "error"])
    for row in rows:
        sure = "" if row.probability is None else f"{row.probability:.4f}"
        table.writerow([row.file, row.answer, sure, row.error])
        out.flush()
        wrong += bool(row.error)
    return wrong


def _rows(network, about, root, paths):
    """Yield the Rows of image files, batch by batch."""
    depth = tuple(about.get("depth", DEPTH))
    for start in range(0, len(paths), BATCH):
        read, errors = {}, {}
        for path in paths[start : start + BATCH]:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # of what Pillow finds odd, and reads
                    _check_unit(path, depth)
                    read[path] = read_image(path, about["size"], depth)
            except ValueError as error:
                errors[path] = str(error)
        said = dict(zip(read, _probabilities(network, list(read.values())), strict=True))
        for path in paths[start : start + BATCH]:
            name = shown(Path(path).relative_to(root).as_posix())
            if path in errors:
                yield Row(name, error=errors[path])
            elif not said[path].isfinite().all():
                yield Row(name, error="the network's answer is not finite")
            else:
                sure, answer = said[path].max(0)
                yield Row(name, about["classes"][answer], float(sure))


def _check_unit(path, depth):
    """Raise Unreadable for a deep grey image of 0 to 1 where whole levels are meant, or reversed.

    A folder to learn from is read by the range of its own; this image would be all black, or white.
    """
    mode, _ = mode_of(path)
    if not mode.startswith(("I", "F")):
        return
    (low, high), (_, top) = depth, extremes(path)
    # Floats go a little beyond 1 where they were scaled; whole numbers up to 1 are a dark image.
    if top >= 2 if high <= 1 else mode == "F" and 0 < top <= 1:
        reason = f"it reaches {top:g}, where {low:g} is black to the network and {high:g} white"
        raise Unreadable((path, f"{reason}; scale it to these, or to 8 bits"))


@torch.no_grad()
def _probabilities(network, images):
    """Return the probabilities (N, C) of N images, uint8 (3, H, W) each; N may be 0."""
    return network(pixels(torch.stack(images))).softmax(1) if images else images
