"""Figures of influence: matrices, match rates, predicted and actual changes, pictures."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator
from numpy.typing import ArrayLike

from lib.constraint import Constraint
from lib.figures import plots
from lib.figures.image_plots import pictures
from lib.figures.looks import BLUE, DARK, LIGHT, VERMILLION, lines, look
from lib.figures.plots import bands, beside
from lib.images import Images
from lib.training import pixels

POINTS = 100_000
"""Points that a figure holds at most: more take minutes, and cannot be told apart."""


def matrix(scores: ArrayLike, row_y: ArrayLike, column_y: ArrayLike, ax: Axes) -> Axes:
    """Draw a matrix of influence, rows and columns sorted by class, with lines between classes.

    scores: (rows, columns); row_y, column_y: their classes. Blue helps, red harms; the colours end
    at the 98th percentile of the absolute values, for a few are many times as large as the rest.
    """
    scores, row_y, column_y = (np.asarray(v) for v in (scores, row_y, column_y))
    rows, columns = (np.argsort(y, kind="stable") for y in (row_y, column_y))
    limit = np.percentile(np.abs(scores), 98)
    how = {"cmap": "RdBu", "vmin": -limit, "vmax": limit, "interpolation": "nearest"}
    ax.imshow(scores[rows][:, columns], aspect="auto", **how)
    for draw, y in ((ax.axhline, row_y[rows]), (ax.axvline, column_y[columns])):
        for edge in np.flatnonzero(np.diff(y)):
            draw(edge + 0.5, color=DARK, lw=0.4)
    ax.set(xticks=[], yticks=[])
    return ax


def matrices(examples: Mapping) -> Figure:
    """Draw `matrix` of each network, side by side: on training images above, on test images below.

    examples: {(constraint, seed): Example} of `lib.studies.attribution`.
    """
    size = (3.8 * len(examples), 6.4)
    fig, axes = plt.subplots(2, len(examples), figsize=size, squeeze=False)
    for (above, below), ((source, _), one) in zip(axes.T, examples.items(), strict=True):
        matrix(one.among, one.train.y, one.train.y, above).set_title(f"{source} source")
        matrix(one.scores, one.test.y, one.train.y, below).set_xlabel("training images")
    axes[0, 0].set_ylabel("training images")
    axes[1, 0].set_ylabel("test images")
    return fig


def against_rank(frame: pd.DataFrame, ax: Axes) -> Axes:
    """Draw the match rate in % against the rank of the training image, and what chance gives.

    frame: as in `lib.figures.plots.bands`, with x = rank and the column `chance`, a share.
    """
    bands(frame, ax, x="rank")
    for line in ax.lines:
        line.set_marker("")
    ax.axhline(100 * frame["chance"].iloc[0], color=LIGHT, lw=1)
    ax.set(xlabel="rank of the training image", ylabel="same class, %", ylim=(-2, 102))
    return ax


def against_rule(frame: pd.DataFrame, ax: Axes) -> Axes:
    """Draw the match rate in % against the damping or the cut-off, on a logarithmic axis.

    frame: as in `lib.figures.plots.bands`, with x = damping and cutoff, of which the one varies
    and the other is 0, and the column `epochs`, 0 for the optimum: a line for each, the longer
    trained the wider.
    """
    x, label = ("cutoff", "cut-off") if frame["cutoff"].all() else ("damping", "damping")
    parts = sorted(frame.groupby("epochs"), key=lambda part: part[0] or np.inf)
    for width, (epochs, part) in enumerate(parts, start=1):
        before = len(ax.lines)
        bands(part, ax, x=x)
        trained = f"{epochs} epoch{'s' * (epochs > 1)}" if epochs else "to the optimum"
        for line in ax.lines[before:]:
            line.set(linewidth=0.8 * width, markersize=3, label=f"{line.get_label()}, {trained}")
    ax.set(xscale="log", xlabel=label, ylabel="same class, %", ylim=(None, 102))
    ax.xaxis.set_major_locator(LogLocator(numticks=3))  # for more there is no room
    ax.xaxis.set_major_formatter("{x:g}")  # the usual one writes formulas
    ax.xaxis.set_minor_locator(NullLocator())
    return ax


def against_rules(frame: pd.DataFrame) -> Figure:
    """Draw `against_rule` for each target: against the damping above, against the cut-off below.

    frame: as in `against_rule`, for both, with the column target.
    """
    rule = np.where(frame["cutoff"] > 0, "cut-off", "damping")
    frame = frame.assign(rule=rule, panel=frame["target"] + ", " + rule)
    frame = frame.sort_values("rule", ascending=False, kind="stable")
    columns = frame["target"].nunique()
    size = {"columns": columns, "width": max(2.6, 7 / columns), "height": 2.6}
    return plots.each_panel(frame, "panel", against_rule, legend_columns=3, **size)[0]


def by_definition(frame: pd.DataFrame, ax: Axes) -> Axes:
    """Draw the match rate in % under several definitions of influence, constraints side by side.

    frame: one row for each constraint and definition, with mean, low, high.
    """
    definitions = list(dict.fromkeys(frame["definition"]))
    beside(frame, "definition", definitions, ax, step=0.2, linestyle="none", elinewidth=1.2)
    ax.set_xticks(range(len(definitions)), definitions, rotation=35, ha="right")
    ax.set(ylabel="same class, %", ylim=(None, 102), xlim=(-0.5, len(definitions) - 0.5))
    return ax


def predicted_against_actual(
    predicted: ArrayLike, actual: ArrayLike, source: Constraint, ax: Axes
) -> Axes:
    """Draw each pair of a predicted and an actual change of loss as a point, beside the diagonal.

    predicted, actual: arrays of equal shape; of more than POINTS pairs a random choice is drawn.
    The axes are cube roots, since changes of either sign span orders of magnitude.
    """
    predicted, actual = np.ravel(predicted), np.ravel(actual)
    if len(predicted) > POINTS:
        some = np.random.default_rng(0).choice(len(predicted), POINTS, replace=False)
        predicted, actual = predicted[some], actual[some]
    colour = look(source, [source])["color"]
    ax.scatter(predicted, actual, s=2, alpha=0.25, color=colour, lw=0)
    limit = 1.1 * max(np.abs(predicted).max(), np.abs(actual).max())
    ax.plot([-limit, limit], [-limit, limit], color=DARK, lw=0.8)
    ticks = [t for t in (-1, -0.1, 0, 0.1, 1) if abs(t) < limit]
    cube_root = {"functions": (np.cbrt, lambda v: v**3)}
    ax.set_xscale("function", **cube_root)
    ax.set_yscale("function", **cube_root)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_ticks(ticks, [f"{t:g}" for t in ticks])
        axis.set_minor_locator(NullLocator())
    ends = (-limit, limit)
    ax.set(xlim=ends, ylim=ends, xlabel="predicted rise of the loss", ylabel="actual rise")
    return ax


def leave_one_out(changes: Mapping) -> Figure:
    """Draw `predicted_against_actual` of each network, side by side, with the slope of its points.

    changes: {(constraint, seed): (predicted, actual)}, arrays of equal shape.
    """
    fig, axes = plots.panels(len(changes), columns=2, width=4.2, height=3.6)
    for ax, ((source, _), (predicted, actual)) in zip(axes, changes.items(), strict=True):
        predicted_against_actual(predicted, actual, source, ax)
        slope = float((predicted * actual).sum() / (predicted**2).sum())
        ax.set_title(f"{source} source, slope {slope:.1f}")
    return fig


def found_against_checked(frame: pd.DataFrame, ax: Axes) -> Axes:
    """Draw the share of wrong labels found, in %, against the share checked, beside chance.

    frame: as in `lib.figures.plots.bands`, with x = checked and the column `ranking`:
    self-influence is drawn with lines as everywhere, loss thinly and dotted.
    """
    frame = frame.assign(checked=100 * frame["checked"])
    bands(frame[frame["ranking"] == "self-influence"], ax, x="checked")
    for _, part, style in lines(frame[frame["ranking"] == "loss"]):
        share, label = 100 * part["mean"], f"{style['label']}, by loss"
        ax.plot(part["checked"], share, color=style["color"], ls=":", label=label)
    for line in ax.lines:
        line.set_marker("")
    ax.plot([0, 100], [0, 100], color=LIGHT, lw=1, label="chance")
    ax.set(xlabel="images checked, %", ylabel="wrong labels found, %", ylim=(-2, 102))
    return ax


def most_influential(
    i: int, labelled: Images, held_out: Images, examples: Mapping, *, count: int = 5
) -> Figure:
    """Draw a test image beside the training images that help and harm its prediction most.

    i: position of the test image in held_out. labelled, held_out: the target's training and test
    images. examples: {(constraint, seed): Example} of `lib.studies.attribution`. Training images of
    another class than the test image's are named in red.
    """
    size = (0.95 * count + 1.6, 1.25 * 2 * len(examples))
    fig, axes = plt.subplots(2 * len(examples), 1, figsize=size)
    places = iter(axes)
    for (source, _), one in examples.items():
        order = np.argsort(-np.asarray(one.scores[i]), kind="stable")
        for heading, chosen in (("helpful", order[:count]), ("harmful", order[::-1][:count])):
            x = pixels(torch.cat([held_out.x[i : i + 1], labelled.x[one.members[chosen.copy()]]]))
            y = [held_out.y[i], *one.train.y[chosen.copy()]]
            colours = [BLUE, *(DARK if label == y[0] else VERMILLION for label in y[1:])]
            titles = [held_out.classes[label] for label in y]
            heading = f"{source}: most {heading}"
            pictures(next(places), x, titles, colours=colours, heading=heading)
    return fig


def gallery(
    labelled: Images, held_out: Images, examples: Mapping, *, classes: int = 10
) -> tuple[list[str], list[Figure]]:
    """Draw `most_influential` for a test image of each class, of at most so many: (names, figures).

    labelled, held_out, examples: as in `most_influential`.
    """
    some = [int((held_out.y == label).nonzero()[0]) for label in held_out.y.unique()[:classes]]
    names = [held_out.classes[held_out.y[i]] for i in some]
    return names, [most_influential(i, labelled, held_out, examples) for i in some]
