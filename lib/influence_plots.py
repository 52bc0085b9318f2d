"""Figures of influence: matrices, match rates, predicted and actual changes, pictures."""

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.ticker import NullLocator

from lib.plots import BLUE, DARK, LIGHT, VERMILLION, bands, look, pictures

POINTS = 100_000
"""Points that a figure holds at most: more take minutes, and cannot be told apart."""


def matrix(scores, row_y, column_y, ax):
    """Draw a matrix of influence, rows and columns sorted by class, with lines between classes.

    scores: (rows, columns); row_y, column_y: their classes. Blue helps, red harms; the colours end
    at the 98th percentile of the absolute values, for a few are many times as large as the rest.
    """
    scores, row_y, column_y = (np.asarray(v) for v in (scores, row_y, column_y))
    rows, columns = (np.argsort(y, kind="stable") for y in (row_y, column_y))
    limit = np.percentile(np.abs(scores), 98)
    ax.imshow(
        scores[rows][:, columns],
        cmap="RdBu",
        vmin=-limit,
        vmax=limit,
        aspect="auto",
        interpolation="nearest",
    )
    for draw, y in ((ax.axhline, row_y[rows]), (ax.axvline, column_y[columns])):
        for edge in np.flatnonzero(np.diff(y)):
            draw(edge + 0.5, color=DARK, lw=0.4)
    ax.set(xticks=[], yticks=[])
    return ax


def against_rank(frame, chance, ax):
    """Draw the match rate in % against the rank of the training image, and what chance gives.

    frame: as in `lib.plots.bands`, with x = rank. chance: share, 0 to 1.
    """
    bands(frame, ax, x="rank")
    for line in ax.lines:
        line.set_marker("")
    ax.axhline(100 * chance, color=LIGHT, lw=1)
    ax.set(xlabel="rank of the training image", ylabel="same class, %", ylim=(-2, 102))
    return ax


def against_rule(frame, ax, *, x, label):
    """Draw the match rate in % against the damping or the cut-off, on a logarithmic axis.

    frame: as in `lib.plots.bands`, with the column `epochs`, 0 for the optimum: a line for each,
    the longer trained the wider.
    """
    for width, (epochs, part) in enumerate(_by_training(frame), start=1):
        before = len(ax.lines)
        bands(part, ax, x=x)
        trained = f"{epochs} epochs" if epochs else "to the optimum"
        for line in ax.lines[before:]:
            line.set(linewidth=0.8 * width, markersize=3, label=f"{line.get_label()}, {trained}")
    ax.set(xscale="log", xlabel=label, ylabel="same class, %", ylim=(None, 102))
    ax.xaxis.set_minor_locator(NullLocator())
    return ax


def _by_training(frame):
    """Split a frame by epochs, the optimum, 0, last."""
    parts = dict(list(frame.groupby("epochs")))
    return sorted(parts.items(), key=lambda part: part[0] or np.inf)


def by_definition(frame, ax):
    """Draw the match rate in % under several definitions of influence, sources side by side.

    frame: one row for each source and definition: columns source, definition, mean, low, high.
    """
    definitions = list(dict.fromkeys(frame["definition"]))
    sources = list(dict.fromkeys(frame["source"]))
    for place, source in enumerate(sources):
        part, style = frame[frame["source"] == source], look(source, sources)
        x = [
            definitions.index(d) + 0.2 * (place - (len(sources) - 1) / 2)
            for d in part["definition"]
        ]
        errors = 100 * (part["mean"] - part["low"]), 100 * (part["high"] - part["mean"])
        style = style | {"linestyle": "", "label": source}
        ax.errorbar(x, 100 * part["mean"], yerr=errors, elinewidth=1.2, **style)
    ax.set_xticks(range(len(definitions)), definitions, rotation=35, ha="right")
    ax.set(ylabel="same class, %", ylim=(None, 102), xlim=(-0.5, len(definitions) - 0.5))
    return ax


def predicted_against_actual(predicted, actual, source, ax):
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


def found_against_checked(frame, ax):
    """Draw the share of wrong labels found, in %, against the share checked, beside chance.

    frame: as in `lib.plots.bands`, with x = checked and the column `ranking`: self-influence is
    drawn with lines as everywhere, loss thinly and dotted.
    """
    frame = frame.assign(checked=100 * frame["checked"])
    bands(frame[frame["ranking"] == "self-influence"], ax, x="checked")
    by_loss = frame[frame["ranking"] == "loss"]
    sources = list(dict.fromkeys(frame["source"]))
    for source, part in by_loss.groupby("source", sort=False):
        colour = look(source, sources)["color"]
        ax.plot(
            part["checked"], 100 * part["mean"], color=colour, ls=":", label=f"{source}, by loss"
        )
    for line in ax.lines:
        line.set_marker("")
    ax.plot([0, 100], [0, 100], color=LIGHT, lw=1, label="chance")
    ax.set(xlabel="images checked, %", ylabel="wrong labels found, %", ylim=(-2, 102))
    return ax


def most_influential(x_test, said, found, x_train, names, *, count=5):
    """Draw a test image beside the training images that help and harm its prediction most.

    x_test: (3, H, W) in [0, 1]; said: its title. found: {source: scores (N_train,)}. x_train:
    (N_train, 3, H, W). names: the label of each training image; one other than the test image's is
    in red. Returns the figure.
    """
    label = said.split(":")[0]
    fig, axes = plt.subplots(2 * len(found), 1, figsize=(0.95 * count + 1.6, 1.25 * 2 * len(found)))
    rows = []
    for source, scores in found.items():
        order = np.argsort(-np.asarray(scores), kind="stable")
        rows += [
            (f"{source}: most helpful", order[:count]),
            (f"{source}: most harmful", order[::-1][:count]),
        ]
    for ax, (title, chosen) in zip(axes, rows, strict=True):
        shown = np.concatenate([np.asarray(x_test)[None], np.asarray(x_train)[chosen]])
        titles = [said, *(names[i] for i in chosen)]
        colours = [BLUE, *(DARK if names[i] == label else VERMILLION for i in chosen)]
        pictures(ax, shown, titles, colours=colours)
        ax.set_title(title, loc="left", size=9)
    return fig
