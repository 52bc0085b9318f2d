"""Pictures side by side, pixel by pixel, and what an adversary adds to them."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from lib.figures.looks import DARK, VERMILLION
from lib.figures.names import one_line


def tile(images: Tensor | np.ndarray, columns: int, *, gap: int = 2, above: int = 0) -> np.ndarray:
    """Lay images (N, 3, H, W) of [0, 1] out on white, so many in a row: (height, width, 3).

    gap: pixels of white below and to the right of each; above: pixels above it.
    """
    edges = ((0, -len(images) % columns), (0, 0), (above, gap), (0, gap))
    tiles = np.pad(np.asarray(images, dtype=float), edges, constant_values=1)
    _, _, height, width = tiles.shape
    page = tiles.reshape(-1, columns, 3, height, width).transpose(0, 3, 1, 4, 2)
    return page.reshape(-1, columns * width, 3)


def pictures(
    ax: Axes,
    images: Tensor | np.ndarray,
    titles: Sequence[str] | None = None,
    columns: int | None = None,
    colours: Sequence[str] | None = None,
    heading: str = "",
) -> Axes:
    """Show images (N, 3, H, W) of [0, 1] side by side in one axis, pixel by pixel.

    titles: a line above each, or None, and its colours. columns: images in a row, or None for all.
    heading: a line at the left above all.
    """
    (count, _, height, width), gap = images.shape, 2
    above = 0 if titles is None else 3 * height // 16
    columns = columns or count
    for i, title in enumerate([] if titles is None else titles):
        row, column = divmod(i, columns)
        x, y = (
            column * (width + gap) + width / 2,
            row * (height + above + gap) + above - height / 16,
        )
        colour = DARK if colours is None else colours[i]
        ax.text(x, y, one_line(title, 14), ha="center", size=8, color=colour)
    ax.imshow(tile(images, columns, gap=gap, above=above), interpolation="nearest")
    ax.set_title(one_line(heading, 90), loc="left", size=9)
    ax.axis("off")
    return ax


def adversarial_examples(x: Tensor, y: Tensor, attacked: Mapping, classes: Sequence[str]) -> Figure:
    """Draw images, and for each source the perturbation and what it takes the image for.

    x: (N, 3, H, W) in [0, 1]; y: (N,). attacked: {(constraint, seed): (x_adv, predicted)}, as
    `lib.robustness.examples` returns it for a ladder's networks. classes: names.
    The perturbation of each image is magnified to full contrast around grey; wrong answers are
    in red.
    """
    fig, axes = plt.subplots(1 + 2 * len(attacked), 1, figsize=(1.05 * len(x) + 1.2, 6.4))
    pictures(axes[0], x, [classes[label] for label in y], heading="image and its class")
    for row, ((source, seed), (x_adv, predicted)) in enumerate(attacked.items()):
        above, below = axes[2 * row + 1 : 2 * row + 3]
        delta = x_adv - x
        largest = delta.abs().amax((1, 2, 3), keepdim=True).clamp_min(1e-9)
        heading = f"{source} source, seed {seed}: the perturbation, magnified"
        pictures(above, 0.5 + 0.5 * delta / largest, [""] * len(x), heading=heading)
        wrong = [VERMILLION if p != label else DARK for p, label in zip(predicted, y, strict=True)]
        heading = f"{source} source, seed {seed}: image + perturbation, and its answer"
        answers = [classes[label] for label in predicted]
        pictures(below, x_adv, answers, colours=wrong, heading=heading)
    return fig
