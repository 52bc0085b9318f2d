"""The part of a subset by which a choice is made, before all of it is trained on."""

import torch
from torch import Tensor

from lib.images import positions

HELD_OUT = 0.2
"""Share of the images that is held out, though never less than one of each class."""


def held_out(y: Tensor, seed: int = 0) -> Tensor | None:
    """Choose the images that are held out, as evenly over the classes as they reach.

    y: int64 (N,). Returns bool (N,), or None where a class would have no image left to learn.
    """
    classes = len(y.unique())
    held = torch.zeros(len(y), dtype=torch.bool)
    held[positions(y, max(round(HELD_OUT * len(y)), classes), seed)] = True
    return held if len(y[~held].unique()) == classes else None
