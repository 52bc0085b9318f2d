"""Photographs to look at: the squares of scikit-image's that they say they are."""

import pytest
from skimage import data

from lib.datasets.pictures import SQUARES, pictures


def test_they_are_squares_of_photographs():
    shown = pictures(32)
    assert shown.x.shape == (len(shown), 3, 32, 32) and shown.classes == tuple(SQUARES)
    for x, (name, (left, side)) in zip(shown.x, SQUARES.items(), strict=True):
        whole = getattr(data, name)()
        assert side <= whole.shape[0] and left + side <= whole.shape[1]
        colours = whole[:side, left : left + side].mean((0, 1))
        assert x.float().mean((1, 2)).numpy() == pytest.approx(colours, abs=1.5)
