"""Identical images: which of them stands for the others when images are divided."""

import hashlib

import torch
from torch import Tensor

from lib.images import Images


def stand_ins(images: Images) -> Tensor:
    """Return of each image the position of the one that stands for it: most stand for themselves.

    Images of equal pixels share a stand-in, whatever their labels, and so the side of any division
    of the stand-ins. It is of the smallest of their classes, which can spare none.

    Returns positions, int64 (N,).
    """
    counts = images.y.bincount(minlength=len(images.classes))
    first: dict[bytes, int] = {}
    found = torch.arange(len(images))
    for i in counts[images.y].argsort(stable=True).tolist():
        found[i] = first.setdefault(hashlib.sha256(images.x[i].numpy().tobytes()).digest(), i)
    return found
