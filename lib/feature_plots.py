"""Figures of what networks see: synthesised images in rows, and what judges say of them."""

import numpy as np
from matplotlib import pyplot as plt

from lib.plots import DARK, look


def sheet(rows, titles=None, *, gap=2, zoom=1.8):
    """Show rows of images, each row with a label at its left, pixel by pixel.

    rows: {label: images (N, 3, H, W) in [0, 1]}, all of one shape. titles: a line above each
    column, or None. gap: white pixels between images. zoom: screen pixels for one of the
    image's. Returns the figure.
    """
    images = np.stack([np.asarray(row) for row in rows.values()])  # (rows, N, 3, H, W)
    count, columns, _, height, width = images.shape
    page = np.ones((count * (height + gap), columns * (width + gap), 3))
    for place in np.ndindex(count, columns):
        top, left = place[0] * (height + gap), place[1] * (width + gap)
        page[top : top + height, left : left + width] = images[place].transpose(1, 2, 0)
    # 24 levels of a channel: the eye cannot tell, and a file of noise is half as large.
    page = np.round(23 * page) / 23
    inch, margin = zoom * 32 / height / 72, 0.12 * max(map(len, rows)) + 0.3
    size = (inch * page.shape[1] + margin, inch * page.shape[0] + 0.4)
    fig, ax = plt.subplots(figsize=size, dpi=72)
    ax.imshow(page, interpolation="nearest")
    ax.set_yticks((np.arange(count) + 0.5) * (height + gap) - gap / 2, list(rows))
    centres = (np.arange(columns) + 0.5) * (width + gap) - gap / 2
    ax.set_xticks(centres if titles else [], titles or [], fontsize="small")
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.grid(False)
    ax.spines[:].set_visible(False)
    return fig


def grey(energy):
    """Make maps (N, H, W), not negative, images (N, 3, H, W): darker where there is more.

    The square root of the energy, that is the size of the gradient, over its largest in the map.
    """
    size = energy.sqrt()
    size = size / size.amax((1, 2), keepdim=True).clamp_min(1e-12)
    return (1 - size)[:, None].repeat(1, 3, 1, 1)


def marks(frame, ax, *, scale=100, mark=None):
    """Draw means with their intervals, one line for each `what`, the sources one below another.

    frame: columns what, source, mean, low, high. scale: of the numbers, 100 for percent. mark: a
    value at which to draw a dashed line, such as that of chance, in the unit drawn, or None.
    """
    rows, sources = (list(dict.fromkeys(frame[column])) for column in ("what", "source"))
    if mark is not None:
        ax.axvline(mark, color=DARK, lw=1, ls="--")
    for place, source in enumerate(sources):
        part, style = frame[frame["source"] == source], look(source, sources)
        shift = 0.6 * ((place + 0.5) / len(sources) - 0.5)
        where = [rows.index(what) + shift for what in part["what"]]
        mean, low, high = (scale * part[column] for column in ("mean", "low", "high"))
        ax.errorbar(
            mean, where, xerr=(mean - low, high - mean), capsize=3, label=source,
            **style | {"linestyle": "none"},
        )  # fmt: skip
    ax.set_yticks(range(len(rows)), rows)
    ax.set(ylim=(len(rows) - 0.5, -0.5))
    return ax
