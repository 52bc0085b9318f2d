"""A picture of any format, size and mode, as pixels of one square size.

Every image of the book that is a file is read here: those of a set, and those to be predicted.
"""

import contextlib
import os
import re
import stat
import threading
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

Depth = tuple[float, float]
"""The values of a deep grey image that become black and white."""

TAKEN = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "PPM", "JPEG2000", "AVIF", "HEIF")
"""Formats that photographs come in, in the order in which they are looked for.

Pillow opens more: it hands EPS to Ghostscript and what IPTC holds to any format, and unpacks FITS
pixel by pixel.
"""
NO_FORMAT = "it is of no format that is taken"
MOST_BYTES = 2**28
"""Bytes of an image file, and"""
MOST_PIXELS = 2**26
"""pixels of an image that are decoded at most."""
LARGE = 2**24
"""Pixels above which one image is decoded at a time, and a JPEG at a smaller scale."""
BROAD = 2**11
"""Pixels of a side above which Pillow scales faster, and with less memory, than PyTorch."""
_one_large = threading.Lock()


class Unreadable(ValueError):
    """Image files that cannot be read: up to ten are named, with their reasons, and their number.

    failures: pairs (file, reason).
    """

    def __init__(self, *failures: tuple[str, str]):
        super().__init__(*failures)
        self.failures = failures

    def __str__(self):
        unknown = any(reason == NO_FORMAT for _, reason in self.failures)
        taken = f"; taken are {', '.join(formats())}" * unknown
        if len(self.failures) == 1:
            ((file, reason),) = self.failures
            return f"{shown(file)} cannot be read as an image ({reason}){taken}"
        texts = [f"{shown(file)} ({reason})" for file, reason in self.failures[:10]]
        more = ", …" * (len(self.failures) > 10)
        listed = f"{', '.join(texts)}{more}{taken}"
        return f"{len(self.failures)} files cannot be read as an image: {listed}"


def shown(name: str | Path) -> str:
    """Write the name of a file so that any screen and file can hold it, in one line.

    Bytes that are not UTF-8, and control characters, become escapes.
    """
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", lambda m: ascii(m[0])[1:-1], text)


@cache
def formats() -> tuple[str, ...]:
    """Name the formats that are taken, by content: those of TAKEN that are installed."""
    Image.init()
    # pip install pillow-heif, and the photographs of some telephones can be read as well.
    with contextlib.suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
    return tuple(name for name in TAKEN if name in Image.OPEN)


@cache
def suffixes() -> frozenset[str]:
    """List the suffixes of files in these formats, each as in ".png"."""
    taken = formats()
    return frozenset(s for s, name in Image.registered_extensions().items() if name in taken)


def read_image(file: str | Path, size: int, depth: Depth | None = None) -> torch.Tensor:
    """Read one image of any size and mode as uint8 (3, size, size).

    It is turned as its EXIF block says; the square in its centre is scaled to size; what is
    transparent becomes white. A JPEG of over LARGE pixels is decoded at a scale of at least eight
    times the size. depth: of grey images deeper than 8 bits the values that become black and white,
    or None for 0 and the most that the mode can hold: 65,535, or 1 of what are no whole numbers.

    Raises Unreadable, naming the file, where it is no regular file, too large, of another format or
    damaged, or where a pixel is not finite.
    """
    with _opened(file, size) as image:
        return _scaled(_to_rgb(_square(_upright(image)), depth), size)


def extremes(file: str | Path) -> Depth:
    """Return the least and the largest value of a deep grey image; nan where it has any.

    Raises Unreadable as `read_image` does.
    """
    with _opened(file) as image:
        deep = np.asarray(image)
        return float(deep.min()), float(deep.max())


def mode_of(file: str | Path) -> tuple[str, int]:
    """Return an image's mode, and how many bits of a channel a TIFF says it holds; else 8.

    Raises Unreadable as `read_image` does.
    """
    with _opened(file) as image:
        bits = getattr(image, "tag_v2", {}).get(258, 8)
        return image.mode, int(max(bits) if isinstance(bits, tuple) else bits)


def fit(x: torch.Tensor, size: int) -> torch.Tensor:
    """Scale the square in the centre of uint8 images (…, 3, H, W) to size."""
    height, width = x.shape[-2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = x[..., top : top + side, left : left + side]
    # Imported here, since it takes two seconds that most who import this do not need.
    from torchvision.transforms.v2.functional import resize

    return resize(square, [size, size], antialias=True)


@contextlib.contextmanager
def _opened(file, size=0):
    """Open an image by its content; what then goes wrong is Unreadable.

    size: to which it will be scaled, or 0 where each pixel counts.
    """
    try:
        at = os.stat(file)  # noqa: PTH116 (to make Paths of many files takes longer)
        if not stat.S_ISREG(at.st_mode):
            raise ValueError("it is no regular file")
        if at.st_size > MOST_BYTES:
            raise ValueError(f"it has {at.st_size:,} bytes; allowed are {MOST_BYTES:,}")
        with Image.open(file, formats=formats()) as image:
            large = image.width * image.height > LARGE
            if large and size:
                image.draft(None, (8 * size, 8 * size))  # has an effect on a JPEG alone
            if image.width * image.height > MOST_PIXELS:
                raise ValueError(
                    f"it has {image.width:,} × {image.height:,} pixels; "
                    f"allowed are {MOST_PIXELS:,}, so scale it down"
                )
            with _one_large if large else contextlib.nullcontext():
                yield image
    except Exception as error:  # a damaged file makes Pillow's plugins raise anything
        raise Unreadable((str(file), _reason(error))) from None


def _upright(image):
    """Turn an image as its EXIF block says; where that is damaged, leave it as it is."""
    image.load()
    with contextlib.suppress(Exception):  # the picture is whole nevertheless
        ImageOps.exif_transpose(image, in_place=True)
    return image


def _square(image):
    """Cut the square out of the centre."""
    side = min(image.size)
    left, top = ((n - side) // 2 for n in image.size)
    whole = image.width == image.height
    return image if whole else image.crop((left, top, left + side, top + side))


def _to_rgb(image, depth):
    """Bring any mode to RGB: deep greys scaled to 8 bits, transparency on white."""
    if image.mode.startswith("I") or image.mode == "F":
        image = Image.fromarray(_levels(np.asarray(image, np.float32), image.mode, depth))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, image)
    return image.convert("RGB")


def _levels(deep, mode, depth):
    """Scale deep greys to 0 to 255."""
    if bad := deep.size - np.count_nonzero(np.isfinite(deep)):
        raise ValueError(f"{bad} of its pixels are not finite")
    low, high = depth or (0.0, max(65535.0 if mode.startswith("I") else 1.0, float(deep.max())))
    deep = (deep - np.float32(low)) * np.float32(255 / (high - low or 1.0))
    return np.rint(deep.clip(0, 255, out=deep), out=deep).astype(np.uint8)


def _scaled(image, size):
    """Scale a square RGB image to pixels uint8 (3, size, size)."""
    if image.width > BROAD:
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    return fit(torch.from_numpy(np.array(image)).permute(2, 0, 1), size)


def _reason(error):
    """Say in one line what went wrong."""
    if isinstance(error, Image.UnidentifiedImageError):
        return NO_FORMAT
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return shown(" ".join(str(error).split()) or type(error).__name__)
