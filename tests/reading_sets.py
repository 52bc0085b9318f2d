"""What tests of image sets ask of images and of errors."""

import zlib

import numpy as np
from PIL import Image


def noise(path, size=(12, 10), **options):
    """Write an image that no other path has, and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(zlib.crc32(repr(path.parts[-3:]).encode()))
    x = generator.integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    Image.fromarray(x).save(path, **options)
    return path


def pixels(images):
    """Return the pixels of each image as bytes, which can be put in a set."""
    return [x.numpy().tobytes() for x in images.x]


def one_line(error):
    """Return the text of an error, which must be one line."""
    assert "\n" not in str(error.value)
    return str(error.value)
