"""A folder of two classes that anything can tell apart."""

import numpy as np
from PIL import Image


def draw(root, counts, seed=0):
    """Fill folders of classes, dark and light, with pictures of several sizes."""
    rng = np.random.default_rng(seed)
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        low = 0 if name == "dark" else 150
        for i in range(count):
            pixels = rng.integers(low, low + 100, (30 + i % 20, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{i}.png")
    return root
