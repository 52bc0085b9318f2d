"""A few photographs to look at, from scikit-image, which nothing learns."""

import torch

from lib.images import Images, scale

SQUARES = {
    "astronaut": (80, 300),
    "chelsea": (75, 300),
    "coffee": (100, 400),
    "rocket": (106, 427),
}
"""Which square of each is shown, at its upper edge: where it begins on the left, and its side."""


def pictures(size: int) -> Images:
    """Return the photographs (van der Walt et al., 2014): a portrait, a cat, a cup and a rocket.

    Returns Images of uint8 (4, 3, size, size), each a class of its own, named as in scikit-image.
    """
    from skimage import data  # slow to import

    shown = []
    for name, (left, side) in SQUARES.items():
        square = torch.tensor(getattr(data, name)())[:side, left : left + side]
        shown.append(scale(square.permute(2, 0, 1)[None], size))
    return Images(torch.cat(shown), torch.arange(len(shown)), tuple(SQUARES))
