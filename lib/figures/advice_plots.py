"""Figures of a recommendation: what is ahead of what, and which labels to look at."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from lib.constraint import Constraint
from lib.figures.estimates import Estimate, percent, points, row
from lib.figures.looks import BLUE, DARK, LIGHT, VERMILLION
from lib.figures.names import in_one_line, one_line
from lib.figures.plots import beside


def behind(best: Constraint, ahead: pd.DataFrame, ax: Axes) -> Axes:
    """Draw by how much the others are behind the best, in points, with their intervals.

    best, ahead: as `lib.advisor.advice.leads` returns them, of constraints. Whiskers that reach
    zero are of sources that cannot be told from the best.
    """
    names, frame = list(ahead["constraint"]), ahead.copy()
    frame.attrs["among"] = (best,)
    how: dict = {"scale": -100, "across": True, "linestyle": "none", "capsize": 3}
    beside(frame, "constraint", names, ax, **how)
    ax.axvline(0, color=DARK, lw=1, ls="--")
    ax.set_yticks(range(len(names)), [one_line(name) for name in names])
    ax.set(ylim=(max(len(names), 1) - 0.5, -0.5), xlabel="accuracy − that of the best, points")
    ax.grid(axis="y", visible=False)
    return ax


def outlook(accuracy: pd.DataFrame, gains: pd.DataFrame) -> pd.DataFrame:
    """Make a table of what each source reaches and of what twice as many images would bring.

    accuracy: as `lib.advisor.advice.summary` returns it, one row per constraint. gains: as
    `lib.advisor.forecast.forecast` returns them. The most accurate source comes first.
    """
    accuracy = accuracy.sort_values("mean", ascending=False, kind="stable")
    order = accuracy["constraint"]
    misses = [Estimate(100 * row(gains, constraint=c)["miss"], np.nan, np.nan) for c in order]
    return pd.DataFrame(
        {
            "accuracy, %": [f"{percent(accuracy, constraint=c):short}" for c in order],
            "mean over classes, %": (100 * accuracy["balanced"]).map("{:.1f}".format).to_list(),
            "gain of twice as many, points": [
                f"{points(gains, constraint=c):short}" for c in order
            ],
            "miss of the trial": [f"{miss:mean}" for miss in misses],
        },
        index=order.map(str).rename(None),
    )


def flips_found(frame: pd.DataFrame, ax: Axes) -> Axes:
    """Draw the share of flipped labels found, in %, against the share checked, beside chance.

    frame: one row per ranking and share checked, with the shares mean, low and high.
    """
    styles = {"self-influence": ("-", VERMILLION), "harm": ("--", BLUE)}
    for ranking, part in frame.groupby("ranking", sort=False):
        stroke, colour = styles.get(ranking, (":", DARK))
        x, low, high = 100 * part["checked"], 100 * part["low"], 100 * part["high"]
        ax.plot(x, 100 * part["mean"], color=colour, ls=stroke, label=ranking)
        ax.fill_between(x, low.clip(0, 100), high.clip(0, 100), color=colour, alpha=0.12, lw=0)
    top = 100 * frame["checked"].max()
    ax.plot([0, top], [0, top], color=LIGHT, lw=1, label="chance")
    ax.set(xlabel="images checked, %", ylabel="flipped labels found, %", ylim=(-2, 102))
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return ax


def doubtful(x: Tensor, tables: Mapping[str, pd.DataFrame], classes: Sequence[str]) -> Figure:
    """Draw the most doubtful images of each ranking, with label and held-out answer below.

    x: (N, 3, H, W) in [0, 1], of all images. tables: {ranking: DataFrame}, as rows of
    `lib.advisor.doubts.suspicions`, a picture each, indexed by position. classes: names. An answer
    that is not the label is in red.
    """
    rows, columns = len(tables), max(map(len, tables.values()))
    fig, axes = plt.subplots(rows, columns, figsize=(1.25 * columns, 2.0 * rows), squeeze=False)
    for ax in axes.ravel():
        ax.axis("off")
    for line, (title, table) in zip(axes, tables.items(), strict=True):
        for ax, (position, doubt) in zip(line, table.iterrows(), strict=False):
            ax.imshow(x[position].permute(1, 2, 0).numpy(), interpolation="nearest")
            label, answer = (one_line(classes[int(doubt[key])], 14) for key in ("label", "answer"))
            colour = DARK if doubt["label"] == doubt["answer"] else VERMILLION
            below = {"transform": ax.transAxes, "ha": "center", "va": "top", "size": 7.5}
            ax.text(0.5, -0.06, label, **below)
            ax.text(0.5, -0.22, f"says {answer}", color=colour, **below)
        line[0].set_title(title, loc="left", size=9)
    return fig


def suspects(table: pd.DataFrame, names: Sequence[str], classes: Sequence[str]) -> pd.DataFrame:
    """Make of suspicions a table to read: the image's name, its label, and what speaks against it.

    table: rows of `lib.advisor.doubts.suspicions`. names: of all images.
    """
    return pd.DataFrame(
        {
            "image": [names[i] for i in table.index],
            "label": [in_one_line(classes[i]) for i in table["label"]],
            "network says": [in_one_line(classes[i]) for i in table["answer"]],
            "sure, %": (100 * table["sure"]).map("{:.0f}".format).to_numpy(),
            "self-influence": table["self-influence"].map(_significant).to_numpy(),
            "harm × 1000": (1000 * table["harm"]).map(_significant).to_numpy(),
        }
    )


def _significant(value):
    """Write a number with two digits after the point, or as many as show two that are not 0."""
    return f"{value:.2f}" if abs(value) >= 0.1 or value == 0 else f"{value:#.2g}"
