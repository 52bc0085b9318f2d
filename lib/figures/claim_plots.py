"""Figures of differences whose every seed is to be seen."""

from collections.abc import Callable

import pandas as pd
from matplotlib.axes import Axes

from lib.figures.looks import BLUE, DARK, LIGHT
from lib.figures.plots import plain_ticks, whiskers


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
        ticks = sorted(set(part[x]))
        if doubling:
            ax.set_xscale("log", base=2)
            ticks = ticks[::-2]  # there is no room for all
        plain_ticks(ax, ticks)
        ax.set(xlabel=label, ylabel="robust − natural, points")
        return ax

    return draw
