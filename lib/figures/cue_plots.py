"""Figures of cue conflicts: what each source answers, and what its bias goes along with."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import ArrayLike
from torch import Tensor

from lib.figures.image_plots import tile
from lib.figures.looks import BLUE, DARK, LIGHT, VERMILLION, lines
from lib.figures.names import one_line
from lib.figures.plots import bands, legend_below, panels, whiskers

DECIDED = (VERMILLION, BLUE, LIGHT)
"""The colour of a decision for the shape, for the texture, and for neither."""


def conflict_grid(
    x: Tensor | np.ndarray,
    answers: ArrayLike,
    classes: Sequence[str],
    cues: tuple[str, str] = ("shape", "texture"),
) -> Figure:
    """Draw conflicts, shapes in rows and textures in columns, each framed by its decision.

    x: (K · K, 3, H, W) in [0, 1], the textures of the first shape first. answers: int (K · K,).
    classes: the K names, whose indices are 0 to K − 1. cues: what the two are called. Where they
    agree there is no conflict; the frame then tells right from wrong.
    """
    count, (_, _, height, width), frame, gap = len(classes), x.shape, 2, 2
    shapes, textures = np.divmod(np.arange(count * count), count)
    for_shape, for_texture = np.asarray(answers) == shapes, np.asarray(answers) == textures
    colours = np.array([to_rgb(colour) for colour in DECIDED])
    framed = np.empty((len(x), 3, height + 2 * frame, width + 2 * frame))
    framed[:] = colours[np.where(for_shape, 0, np.where(for_texture, 1, 2)), :, None, None]
    framed[:, :, frame:-frame, frame:-frame] = x
    fig, ax = plt.subplots(figsize=(4.4, 4.7))
    ax.imshow(tile(framed, count, gap=gap), interpolation="nearest")
    centres, names = np.arange(count) + 0.5, [one_line(name, 14) for name in classes]
    ax.set_xticks((width + 2 * frame + gap) * centres, names)
    if max(map(len, names)) > 9:  # or they would overlap
        ax.tick_params("x", rotation=20)
    ax.set_yticks((height + 2 * frame + gap) * centres, names)
    ax.set(xlabel=f"{cues[1]} of", ylabel=f"{cues[0]} of")
    ax.grid(False)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    handles = [Patch(color=c, label=n) for c, n in zip(DECIDED, (*cues, "neither"), strict=True)]
    fig.legend(handles=handles, loc="outside upper center", ncols=3, title="decided for")
    return fig


def by_constraint(summary: pd.DataFrame, ax: Axes) -> Axes:
    """Draw a share in percent for each constraint: the seeds, and their mean beside them.

    summary: one row per constraint, as of `lib.stats.summary`. No interval is drawn: where some
    seeds are near 0 and some near 1, Student's would cover all between, where none of them is.
    """
    names = []
    for place, (_, part, style) in enumerate(lines(summary)):
        names.append(style["label"])
        colour, mine = style["color"], 100 * np.array(part["of_seeds"].iloc[0])
        ax.scatter(np.full(len(mine), place - 0.12), mine, color=colour, alpha=0.55, s=22, lw=0)
        ax.plot([place + 0.12], 100 * part["mean"], color=colour, marker="o", ms=9)
    ax.set_xticks(range(len(names)), names, rotation=20, ha="right")
    ax.set(ylim=(-4, 104))
    return ax


def against_cutoff(frame: pd.DataFrame, ax: Axes) -> Axes:
    """Draw accuracy in % against the cut-off of a filter, or the size to which it scales.

    frame: of one filter, columns filter, constraint, at, and the shares mean, low, high.
    """
    bands(frame, ax, x="at")
    scales = "resolution" in frame["filter"].iloc[0]
    ax.set(xlabel="pixels" if scales else "cut-off, cycles per pixel")
    ax.set(ylabel="accuracy, %", ylim=(0, None))
    return ax


def against_bias(
    rows: pd.DataFrame,
    ax: Axes,
    *,
    x: str = "shape_bias_of_all",
    y: str = "clean_accuracy",
    cue: str = "shape",
) -> Axes:
    """Draw one point a network: accuracy after transfer in % against its bias in %.

    rows: columns constraint, x and y (0 to 1). cue: that whose share the bias is.
    """
    for _, part, style in lines(rows):
        del style["linestyle"]
        ax.scatter(100 * part[x], 100 * part[y], s=30, edgecolor="white", lw=0.5, **style)
    ax.set(xlabel=f"{cue} bias, %", ylabel="test accuracy, %", xlim=(-4, 104))
    return ax


def against_amplitude(frame: pd.DataFrame, ax: Axes, *, zero: bool = False) -> Axes:
    """Draw means in % with their intervals against the mean amplitude of the microcosm's texture.

    frame: columns constraint, amplitude, mean, low, high (0 to 1). zero: mark where nothing
    differs.
    """
    if zero:
        ax.axhline(0, color=DARK, lw=1, ls="--")
    for _, part, style in lines(frame):
        part = part.sort_values("amplitude")
        whiskers(part, part["amplitude"], ax, capsize=3, **style)
    ax.set(xlabel="amplitude of the texture")
    return ax


def dose_response(biases: pd.DataFrame, gains: pd.DataFrame) -> Figure:
    """Draw shape bias, and what transfer to each target gains over natural, against the amplitude.

    biases, and gains, with the column target besides: as in `against_amplitude`. Of biases the
    means and the seeds are drawn, but no intervals, as in `by_constraint`.
    """
    parts = list(gains.groupby("target", sort=False))
    fig, axes = panels(1 + len(parts), columns=2, width=4.4)
    means = biases.assign(low=np.nan, high=np.nan)
    against_amplitude(means, axes[0]).set(ylabel="shape bias, %", ylim=(-4, 104))
    ends = [*gains["low"], *gains["high"]]
    ends += [value for values in gains.get("of_seeds", ()) for value in values]
    span = 100 * np.nanmin(ends) - 1, 100 * np.nanmax(ends) + 1
    for ax, (target, part) in zip(axes[1:], parts, strict=True):
        against_amplitude(part, ax, zero=True)
        ax.set(title=one_line(target), ylabel="gain over natural, points", ylim=span)
    return legend_below(fig, axes[0])
