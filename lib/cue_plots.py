"""Figures of cue conflicts: what each source answers, and what its bias goes along with."""

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.patches import Patch

from lib.plots import BLUE, DARK, LIGHT, VERMILLION, look

# The colour of a decision for the shape, for the texture, and for neither.
DECISIONS = {"shape": VERMILLION, "texture": BLUE, "neither": LIGHT}


def conflict_grid(x, answers, classes):
    """Draw conflicts, shapes in rows and textures in columns, each framed by its decision.

    x: (K · K, 3, H, W) in [0, 1], the textures of the first shape first. answers: int (K · K,).
    classes: the K names, whose indices are 0 to K − 1. Where shape and texture agree there is no
    conflict; the frame then tells right from wrong. Returns the figure.
    """
    count, (_, _, height, width) = len(classes), x.shape
    frame, gap = 2, 2
    tall, wide = height + 2 * frame + gap, width + 2 * frame + gap
    sheet = np.ones((count * tall, count * wide, 3))
    for i, (image, answer) in enumerate(zip(np.asarray(x), answers, strict=True)):
        shape, texture = divmod(i, count)
        for_shape, for_texture = int(answer) == shape, int(answer) == texture
        decision = "shape" if for_shape else "texture" if for_texture else "neither"
        top, left = shape * tall, texture * wide
        colour = tuple(int(DECISIONS[decision][k : k + 2], 16) / 255 for k in (1, 3, 5))
        sheet[top : top + tall - gap, left : left + wide - gap] = colour
        inner = slice(top + frame, top + frame + height), slice(left + frame, left + frame + width)
        sheet[inner] = image.transpose(1, 2, 0)
    fig, ax = plt.subplots(figsize=(4.4, 4.7))
    ax.imshow(sheet, interpolation="nearest")
    centres = np.arange(count)
    ax.set_xticks(wide * (centres + 0.5), classes)
    ax.set_yticks(tall * (centres + 0.5), classes)
    ax.set(xlabel="texture of", ylabel="shape of")
    ax.grid(False)
    ax.tick_params(length=0)
    for side in ("left", "bottom"):
        ax.spines[side].set_visible(False)
    handles = [Patch(color=colour, label=name) for name, colour in DECISIONS.items()]
    fig.legend(handles=handles, loc="outside upper center", ncols=3, title="decided for")
    return fig


def by_source(rows, summary, value, ax):
    """Draw a share in percent for each source: every training seed, their mean, its interval.

    rows: columns source and `value`, one row per network. summary: one row per source: source,
    mean, low, high, in the order to draw.
    """
    sources = list(summary["source"])
    for place, (_, row) in enumerate(summary.iterrows()):
        mine = 100 * rows.loc[rows["source"] == row["source"], value]
        colour = look(row["source"], sources)["color"]
        ax.scatter(np.full(len(mine), place - 0.12), mine, color=colour, alpha=0.55, s=22, lw=0)
        errors = [[100 * (row["mean"] - row["low"])], [100 * (row["high"] - row["mean"])]]
        ax.errorbar(place + 0.12, 100 * row["mean"], errors, fmt="o", color=colour, capsize=3)
    ax.set_xticks(range(len(sources)), sources, rotation=20, ha="right")
    ax.set(ylim=(-4, 104))
    return ax


def against_bias(rows, ax, *, x="shape_bias_of_all", y="clean_accuracy"):
    """Draw one point a network: accuracy after transfer in % against its shape bias in %.

    rows: columns source, x and y (0 to 1).
    """
    sources = list(dict.fromkeys(rows["source"]))
    for source in sources:
        part, style = rows[rows["source"] == source], look(source, sources)
        ax.scatter(
            100 * part[x], 100 * part[y], color=style["color"], marker=style["marker"],
            s=30, edgecolor="white", lw=0.5, label=source,
        )  # fmt: skip
    ax.set(xlabel="shape bias, %", ylabel="test accuracy, %", xlim=(-4, 104))
    return ax


def against_amplitude(frame, ax, *, zero=False):
    """Draw means in % with their intervals against the mean amplitude of the microcosm's texture.

    frame: columns source, amplitude, mean, low, high (0 to 1). zero: mark where nothing differs.
    """
    if zero:
        ax.axhline(0, color=DARK, lw=1, ls="--")
    sources = list(dict.fromkeys(frame["source"]))
    for source in sources:
        part = frame[frame["source"] == source].sort_values("amplitude")
        errors = 100 * (part["mean"] - part["low"]), 100 * (part["high"] - part["mean"])
        ax.errorbar(
            part["amplitude"], 100 * part["mean"], yerr=errors, capsize=3, label=source,
            **look(source, sources),
        )  # fmt: skip
    ax.set(xlabel="amplitude of the texture")
    return ax
