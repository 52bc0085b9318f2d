"""Figures of fine-tuning: along its epochs, and against the number of unfrozen blocks."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from lib.figures.looks import DARK, lines
from lib.figures.plots import bands, plain_ticks, whiskers


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
    parts, plain = lines(frame), {"linestyle": "none", "capsize": 3}
    for place, (_, part, style) in enumerate(parts):
        part = part.sort_values("unfrozen_blocks", key=lambda column: column.map(depths.index))
        where = part["unfrozen_blocks"].map(depths.index) + 0.1 * (place - (len(parts) - 1) / 2)
        whiskers(part, where, ax, **style | ({"lw": 1} if joined else plain))
    ax.set_xticks(range(len(depths)), ["all" if k < 0 else f"{k:g}" for k in depths])
    shown = "accuracy − natural, points" if zero else "test accuracy, %"
    ax.set(xlabel="unfrozen blocks", ylabel=shown)
    return ax
