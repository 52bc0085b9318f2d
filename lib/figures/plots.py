"""Figures: functions that take a tidy frame and an axis, and return the axis."""

import numbers
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from IPython import get_ipython
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator
from numpy.typing import ArrayLike

from lib.constraint import Constraint
from lib.figures.looks import DARK, lines, look, shade
from lib.figures.names import NAMES, fonts, one_line
from lib.figures.sentences import quote
from lib.networks import choose_device

FEW = 10
"""Of fewer seeds each is drawn: an interval alone would hide what kind of values it stands for."""
STEP_RULES = {"long_then_short": ("-", "falling steps"), "equal_steps": ("--", "equal steps")}


def begin(device: str, *, dpi: int = 110, retina: bool = True) -> torch.device:
    """Set the look of a chapter's figures, and return the device that it computes on.

    device: as in `lib.networks.choose_device`; where the chapter was computed is kept for the
    page that tells how the numbers were made. dpi: of the figures; retina: whether their files
    have twice as many pixels each way.
    """
    sns.set_theme(context="notebook", style="ticks", rc={"axes.spines.right": False})
    mpl.rcParams.update(
        {
            "axes.spines.top": False,
            "axes.titlesize": "medium",
            "axes.grid": True,
            "grid.alpha": 0.25,
            "figure.dpi": dpi,
            "figure.constrained_layout.use": True,
            "font.family": fonts(),
            "text.parse_math": False,  # names may have dollars
            "legend.frameon": False,
            "lines.markersize": 4,
        }
    )
    warnings.filterwarnings("ignore", "Glyph .* missing from")  # one_line says it, once
    # In a table a $ is a dollar, and no formula: names of classes may have one.
    pd.set_option("display.html.use_mathjax", False, "styler.html.mathjax", False)
    chosen, shell = choose_device(device), get_ipython()
    if shell is not None and retina:
        shell.run_line_magic("config", "InlineBackend.figure_formats = ['retina']")
    quote(device=str(chosen))
    shade()
    return chosen


def bands(frame: pd.DataFrame, ax: Axes, *, x: str) -> Axes:
    """Draw the mean of each constraint against x in percent, with its interval as a band.

    frame: one row per constraint and x, columns constraint, x, and the shares mean, low, high; of
    fewer than FEW seeds each is a dot, where there is the column of_seeds.
    """
    for _, part, style in lines(frame):
        part = part.sort_values(x)
        low, high = 100 * part["low"], 100 * part["high"]
        _seeds(part, part[x], ax, 100, color=style["color"])
        ax.plot(part[x], 100 * part["mean"], **style)
        ax.fill_between(part[x], low, high, color=style["color"], alpha=0.15, lw=0)
    return ax


def whiskers(
    part: pd.DataFrame,
    where: ArrayLike,
    ax: Axes,
    *,
    scale: float = 100,
    across: bool = False,
    **style,
) -> Axes:
    """Draw means at the places `where`, with their intervals as whiskers.

    part: columns mean, low, high; where low and high are NaN there are no whiskers. With the column
    of_seeds each of fewer than FEW seeds is a dot. scale: of the numbers, 100 for percent and
    points. across: whether the numbers run along x instead of y. style: as of `Axes.errorbar`.
    """
    _seeds(part, where, ax, scale, across=across, color=style.get("color"))
    mean, low, high = (scale * part[name].to_numpy() for name in ("mean", "low", "high"))
    low, high = np.minimum(low, high), np.maximum(low, high)  # a negative scale turns them round
    style["xerr" if across else "yerr"] = (mean - low, high - mean)
    ax.errorbar(*((mean, where) if across else (where, mean)), **style)
    return ax


def beside(
    frame: pd.DataFrame, column: str, values: Sequence, ax: Axes, *, step: float = 0, **how
) -> Axes:
    """Draw means with their intervals for each value of a column, the constraints side by side.

    frame: one row per constraint and value, columns constraint, that column, mean, low, high.
    values: of the column, in order: the first is drawn at 0, the next at 1. step: from one
    constraint to the next, 0 for one above the other. how: as in `whiskers`; what it says of style
    wins over the look of a constraint.
    """
    parts = lines(frame)
    for place, (_, part, style) in enumerate(parts):
        where = part[column].map(values.index) + step * (place - (len(parts) - 1) / 2)
        whiskers(part, where, ax, **style | how)
    return ax


def _seeds(part, where, ax, scale, *, across=False, color=None):
    """Draw a dot for each seed, where they are few and known."""
    for place, values in zip(where, part.get("of_seeds", ()), strict=False):
        if 1 < len(values) < FEW:
            along = [place] * len(values), scale * np.array(values)
            # Rings below the whisker: it does not hide them, and they do not hide the mean.
            rings = {"color": color, "mfc": "white", "ms": 7, "mew": 0.7, "zorder": 1.8}
            ax.plot(*along[:: -1 if across else 1], ".", **rings)


def against_n(frame: pd.DataFrame, ax: Axes) -> Axes:
    """Draw accuracy in % against the number of training images, on a doubling axis."""
    bands(frame, ax, x="n_train")
    doubling_axis(ax, frame["n_train"])
    ax.set(xlabel="training images N", ylabel="test accuracy, %")
    return ax


def difference_against_n(frame: pd.DataFrame, ax: Axes) -> Axes:
    """Draw paired differences to the natural source, in points, with their intervals, against N.

    frame: as in `bands`. The constraints stand side by side at each N, so that whiskers can be
    read.
    """
    ax.axhline(0, color=DARK, lw=1, ls="--")
    parts = lines(frame)
    for place, (_, part, style) in enumerate(parts):
        part = part.sort_values("n_train")
        shift = 2 ** (0.11 * (place - (len(parts) - 1) / 2))
        whiskers(part, shift * part["n_train"], ax, lw=1, **style)
    doubling_axis(ax, frame["n_train"])
    ax.set(xlabel="training images N", ylabel="accuracy − natural, points")
    return ax


def against_eps(frame: pd.DataFrame, ax: Axes) -> Axes:
    """Draw accuracy in % under attack against the attack's ε."""
    bands(frame, ax, x="attack_eps")
    ax.set(xlabel="ε of the attack", ylabel="accuracy under attack, %")
    ax.set(xlim=(0, None), ylim=(-2, 102))
    return ax


def against_steps(frame: pd.DataFrame, references: Mapping[Constraint, float], ax: Axes) -> Axes:
    """Draw accuracy in % under attack against the number of steps, for two rules of step sizes.

    frame: columns constraint, step_sizes, steps, accuracy. references: accuracies, dotted.
    """
    for _, part, style in lines(frame):
        part = part.sort_values("steps")
        for rule, curve in part.groupby("step_sizes", sort=False):
            stroke, name = STEP_RULES[rule]
            style_of_rule = style | {"linestyle": stroke, "label": f"{style['label']}, {name}"}
            ax.plot(curve["steps"], 100 * curve["accuracy"], **style_of_rule)
    for constraint, accuracy in references.items():
        colour = look(constraint, list(frame["constraint"]))["color"]
        label = f"{one_line(constraint, 60)}, library attacks"
        ax.axhline(100 * accuracy, color=colour, ls=":", lw=1.2, label=label)
    ax.set(xscale="log", xlabel="steps of PGD", ylabel="accuracy under attack, %", ylim=(0, 102))
    plain_ticks(ax, sorted(set(frame["steps"])))
    ax.legend(fontsize="small")
    return ax


def legend_below(fig: Figure, ax: Axes, columns: int = 6) -> Figure:
    """Put one legend, that of `ax`, under all of the figure's axes.

    columns: of the legend; fewer where the figure is too narrow for so many.
    """
    for ncols in range(columns, 0, -1):
        names = ax.get_legend_handles_labels()
        legend = fig.legend(*names, loc="outside lower center", ncols=ncols)
        if legend.get_window_extent().width <= fig.bbox.width or ncols == 1:
            break
        legend.remove()
    return fig


def panels(
    count: int,
    *,
    columns: int = 3,
    width: float = 3.6,
    height: float = 3.4,
    sharey: bool = False,
) -> tuple[Figure, list[Axes]]:
    """Make rows of axes, each of so many inches; returns (figure, flat list of axes).

    sharey: whether all have one vertical scale.
    """
    rows, columns = -(-count // columns), min(count, columns)
    size = (width * columns + 0.6, height * rows)
    fig, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, sharey=sharey)
    for spare in axes.ravel()[count:]:
        spare.axis("off")
    return fig, list(axes.ravel()[:count])


def each_panel(
    frame: pd.DataFrame,
    column: str,
    draw: Callable,
    *,
    columns: int = 3,
    legend_columns: int = 7,
    **size,
) -> tuple[Figure, list[Axes]]:
    """Draw a panel for each value of a column, in order of appearance, with one legend below.

    draw: draws the rows of a panel, draw(rows, ax). columns, size: as in `panels`.
    """
    parts = list(frame.groupby(column, sort=False))
    among = tuple(set(frame.get("constraint", ())))
    fig, axes = panels(len(parts), columns=columns, **size)
    for place, (name, part) in enumerate(parts):
        part.attrs["among"] = among
        draw(part, axes[place])
        number = isinstance(name, numbers.Number)  # which alone would say nothing
        title = f"{NAMES.get(column, column)} = {name:,}" if number else name
        axes[place].set_title(one_line(title, int(9 * size.get("width", 3.6))))
        if place % columns:
            axes[place].set_ylabel("")
    legend_below(fig, axes[0], legend_columns)
    return fig, axes


def doubling_axis(ax: Axes, values: Iterable[float]) -> None:
    """Put the sizes that occur on a log2 axis, as plain numbers: each second, from the largest."""
    ax.set_xscale("log", base=2)
    plain_ticks(ax, sorted(set(values))[::-2])  # there is no room for all


def plain_ticks(ax: Axes, values: Sequence[float]) -> None:
    """Mark these values, and no others, on a logarithmic axis, as plain numbers."""
    ax.set_xticks(values)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,g}"))
    ax.xaxis.set_minor_locator(NullLocator())
