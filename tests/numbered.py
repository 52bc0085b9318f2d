"""Images that differ in their number alone, for what looks at labels."""

import torch

from lib.images import Images


def numbered(y, classes=()):
    """Images of one pixel with the labels y, no two alike; without names classes are numbers."""
    number = torch.arange(len(y))
    x = torch.stack([number % 256, number // 256, number * 0], 1)[:, :, None, None]
    return Images(x.to(torch.uint8), y, classes or tuple(map(str, range(int(y.max()) + 1))))
