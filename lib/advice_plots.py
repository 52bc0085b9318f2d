"""Figures of a recommendation: what is ahead of what, how deep to unfreeze, which labels to see."""

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt

from lib.plots import BLUE, DARK, LIGHT, VERMILLION, look


def behind(best, ahead, ax):
    """Draw by how much the others are behind the best, in points, with their intervals.

    best, ahead: as `lib.advice.leads` returns them, of sources. Whiskers that reach zero are of
    sources that cannot be told from the best.
    """
    names = list(ahead["source"])
    for place, row in enumerate(ahead.itertuples()):
        errors = [[100 * (row.high - row.mean)], [100 * (row.mean - row.low)]]
        style = look(row.source, [best, *names]) | {"linestyle": "none"}
        ax.errorbar(-100 * row.mean, place, xerr=errors, capsize=3, **style)
    ax.axvline(0, color=DARK, lw=1, ls="--")
    ax.set_yticks(range(len(names)), names)
    ax.set(ylim=(len(names) - 0.5, -0.5), xlabel="accuracy − that of the best, points")
    ax.grid(axis="y", visible=False)
    return ax


def against_depth(frame, ax):
    """Draw accuracy in % against what is unfrozen, one marker a depth, with its interval.

    frame: source, unfrozen_blocks (−1, everything, stands last), and the shares mean, low, high.
    """
    depths = sorted(set(frame["unfrozen_blocks"]), key=lambda k: np.inf if k < 0 else k)
    sources = list(dict.fromkeys(frame["source"]))
    for place, source in enumerate(sources):
        part = frame[frame["source"] == source]
        x = part["unfrozen_blocks"].map(depths.index) + 0.12 * (place - (len(sources) - 1) / 2)
        errors = 100 * (part["mean"] - part["low"]), 100 * (part["high"] - part["mean"])
        style = look(source, sources) | {"linestyle": "none"}
        ax.errorbar(x, 100 * part["mean"], yerr=errors, capsize=3, label=source, **style)
    ax.set_xticks(range(len(depths)), ["all" if k < 0 else f"{k:g}" for k in depths])
    ax.set(xlim=(-0.5, len(depths) - 0.5), xlabel="unfrozen blocks", ylabel="test accuracy, %")
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return ax


def found(frame, ax):
    """Draw the share of flipped labels found, in %, against the share checked, beside chance.

    frame: one row per ranking and share checked, with the shares mean, low and high.
    """
    styles = {"self-influence": "-", "harm": "--", "held-out loss": ":"}
    for ranking, part in frame.groupby("ranking", sort=False):
        colour = {"self-influence": VERMILLION, "harm": BLUE}.get(ranking, DARK)
        x, low, high = 100 * part["checked"], 100 * part["low"], 100 * part["high"]
        ax.plot(x, 100 * part["mean"], color=colour, ls=styles[ranking], label=ranking)
        ax.fill_between(x, low.clip(0, 100), high.clip(0, 100), color=colour, alpha=0.12, lw=0)
    top = 100 * frame["checked"].max()
    ax.plot([0, top], [0, top], color=LIGHT, lw=1, label="chance")
    ax.set(xlabel="images checked, %", ylabel="flipped labels found, %", ylim=(-2, 102))
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return ax


def doubtful(x, tables, classes, *, count):
    """Draw the most doubtful images of each ranking, with label and held-out answer below.

    x: (N, 3, H, W) in [0, 1], of all images. tables: {ranking: DataFrame}, as rows of
    `lib.doubts.suspicions`, the most doubtful first, indexed by position. classes: names. count:
    pictures a ranking. An answer that is not the label is in red. Returns the figure.
    """
    tables = {title: table.head(count) for title, table in tables.items()}
    rows, columns = len(tables), max(map(len, tables.values()))
    fig, axes = plt.subplots(rows, columns, figsize=(1.25 * columns, 2.0 * rows), squeeze=False)
    for ax in axes.ravel():
        ax.axis("off")
    for line, (title, table) in zip(axes, tables.items(), strict=True):
        for ax, (position, row) in zip(line, table.iterrows(), strict=False):
            ax.imshow(x[position].permute(1, 2, 0).numpy(), interpolation="nearest")
            label, answer = (_short(classes[int(row[key])]) for key in ("label", "answer"))
            colour = DARK if row["label"] == row["answer"] else VERMILLION
            ax.text(0.5, -0.06, label, transform=ax.transAxes, ha="center", va="top", size=7.5)
            ax.text(
                0.5, -0.22, f"says {answer}", transform=ax.transAxes, ha="center", va="top",
                size=7.5, color=colour,
            )  # fmt: skip
        line[0].set_title(title, loc="left", size=9)
    return fig


def told(table, names, classes):
    """Make of suspicions a table to read: the image's name, its label, and what speaks against it.

    table: rows of `lib.doubts.suspicions`. names: of all images.
    """
    return pd.DataFrame(
        {
            "image": [names[i] for i in table.index],
            "label": [classes[i] for i in table["label"]],
            "network says": [classes[i] for i in table["answer"]],
            "sure, %": (100 * table["sure"]).map("{:.0f}".format).to_numpy(),
            "self-influence": table["self-influence"].map("{:.2f}".format).to_numpy(),
            "harm × 1000": (1000 * table["harm"]).map("{:.2f}".format).to_numpy(),
        }
    )


def _short(text, longest=14):
    """Cut a name that would run into its neighbour's."""
    return text if len(text) <= longest else f"{text[: longest - 1].rstrip()}…"
