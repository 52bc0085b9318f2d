"""Figures of fine-tuning: along its epochs, against unfrozen blocks, and with every seed."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from lib.figures.looks import BLUE, DARK, LIGHT
from lib.figures.plots import bands, beside, doubling_axis, plain_ticks, whiskers


def against_epoch(frame: pd.DataFrame, ax: Axes) -> Axes:
    """Draw test accuracy in % after so many epochs, on a logarithmic axis.

    frame: one row per constraint and epoch, with the shares mean, low, high.
    """
    bands(frame, ax, x="epoch")
    ax.set(xscale="log", xlabel="epochs done", ylabel="test accuracy, %", ylim=(0, 102))
    plain_ticks(ax, sorted(set(frame["epoch"])))
    return ax


def against_depth(
    frame: pd.DataFrame, ax: Axes, *, zero: bool = False, joined: bool = True
) -> Axes:
    """Draw means in % with their intervals against the number of unfrozen blocks.

    frame: one row per constraint and unfrozen_blocks (−1 is all, and comes last), with the shares
    mean, low, high. The constraints stand side by side, so that whiskers can be read. zero: whether
    these are differences to natural sources, and where nothing differs is marked. joined: whether
    the means of a constraint are joined by a line.
    """
    if zero:
        ax.axhline(0, color=DARK, lw=1, ls="--")
    depths = sorted(set(frame["unfrozen_blocks"]), key=lambda k: np.inf if k < 0 else k)
    frame = frame.sort_values("unfrozen_blocks", key=lambda column: column.map(depths.index))
    how: dict = {"lw": 1} if joined else {"linestyle": "none", "capsize": 3}
    beside(frame, "unfrozen_blocks", depths, ax, step=0.1, **how)
    ax.set_xticks(range(len(depths)), ["all" if k < 0 else f"{k:g}" for k in depths])
    shown = "accuracy − natural, points" if zero else "test accuracy, %"
    ax.set(xlabel="unfrozen blocks", ylabel=shown)
    return ax


def seeds_against(
    x: str, label: str, smallest: float, *, doubling: bool = True
) -> Callable[[pd.DataFrame, Axes], Axes]:
    """Return what draws differences of shares, in points, against a column, the seeds as dots.

    x: the column. label: of it. smallest: the smallest effect of interest, in points: a grey band
    around 0 is drawn to it. doubling: whether the axis of x doubles.
    """

    def draw(frame: pd.DataFrame, ax: Axes) -> Axes:
        """Draw rows of `lib.studies.breakdowns.by_target`."""
        part = frame.sort_values(x)
        ax.axhspan(-smallest, smallest, color=LIGHT, alpha=0.18, lw=0)
        ax.axhline(0, color=DARK, lw=1, ls="--")
        whiskers(part, part[x], ax, color=BLUE, marker="o", lw=1.2)
        if doubling:
            doubling_axis(ax, part[x])
        else:
            plain_ticks(ax, sorted(set(part[x])))
        ax.set(xlabel=label, ylabel="robust − natural, points")
        return ax

    return draw
