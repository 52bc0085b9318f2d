"""Pictures are drawn pixel by pixel, and perturbations and wrong answers beside them."""

import numpy as np
import torch

from lib.constraint import NATURAL, Constraint
from lib.figures import image_plots, looks

STRONG = Constraint("l2", 0.5)


def test_pictures_pixel_by_pixel(ax):
    x = torch.rand(5, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    assert image_plots.pictures(ax, x, columns=3) is ax
    (shown,) = ax.images
    sheet = np.asarray(shown.get_array())
    assert shown.get_interpolation() == "nearest" and not ax.axison
    for i, image in enumerate(x):
        top, left = 6 * (i // 3), 8 * (i % 3)
        tile = sheet[top : top + 4, left : left + 6]
        assert np.allclose(tile, image.permute(1, 2, 0))
    assert (sheet[6:, 16:] == 1).all()  # what is left over is white


def test_pictures_with_titles(ax):
    x = torch.zeros(2, 3, 32, 32)
    image_plots.pictures(ax, x, ["disc", "ring"], colours=["red", "blue"])
    assert [text.get_text() for text in ax.texts] == ["disc", "ring"]
    assert [text.get_color() for text in ax.texts] == ["red", "blue"]
    left, right = (text.get_position()[0] for text in ax.texts)
    assert 0 < left < 32 < right


def test_adversarial_examples():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.rand(3, 3, 8, 8, generator=generator), torch.tensor([0, 1, 1])
    delta = 0.02 * torch.randn(3, 3, 8, 8, generator=generator)
    delta[2] = 0  # not changed at all: plain grey
    attacked = {
        (NATURAL, 0): (x + delta, torch.tensor([1, 1, 0])),
        (STRONG, 3): (x - delta, torch.tensor([0, 1, 1])),
    }
    figure = image_plots.adversarial_examples(x, y, attacked, ("a", "b"))
    rows = figure.axes
    assert [ax.get_title(loc="left") for ax in rows] == [
        "image and its class",
        "natural source, seed 0: the perturbation, magnified",
        "natural source, seed 0: image + perturbation, and its answer",
        "ℓ2 0.5 source, seed 3: the perturbation, magnified",
        "ℓ2 0.5 source, seed 3: image + perturbation, and its answer",
    ]
    assert len(rows) == 5
    assert [text.get_text() for text in rows[0].texts] == ["a", "b", "b"]
    assert [text.get_text() for text in rows[2].texts] == ["b", "b", "a"]
    wrong = [text.get_color() == looks.VERMILLION for text in rows[2].texts]
    assert wrong == [True, False, True]
    assert not any(text.get_color() == looks.VERMILLION for text in rows[4].texts)
    tiles = np.asarray(rows[1].images[0].get_array())
    head = tiles.shape[0] - 8 - 2
    for i in range(3):
        tile = tiles[head : head + 8, 10 * i : 10 * i + 8]
        largest = max(float(delta[i].abs().max()), 1e-9)
        assert np.allclose(tile, (0.5 + 0.5 * delta[i] / largest).permute(1, 2, 0), atol=1e-5)
