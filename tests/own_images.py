"""A folder of two classes that anything can tell apart."""

import numpy as np
from PIL import Image


def draw(root, counts, seed=0, side=None):
    """Fill folders of classes, dark and light, with pictures of one side, or of several sizes."""
    rng = np.random.default_rng(seed)
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        low = 0 if name == "dark" else 150
        for i in range(count):
            height, width = (side, side) if side else (30 + i % 20, 40)
            pixels = rng.integers(low, low + 100, (height, width, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{i}.png")
    return root


def to_learn(root):
    """Fill a folder as sources learn it: twenty training and five test images of each class."""
    for split, count in (("train", 20), ("test", 5)):
        draw(root / split, {"dark": count, "light": count}, seed=count, side=32)
    return root
