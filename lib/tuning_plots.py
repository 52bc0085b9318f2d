"""Figures of fine-tuning: along its epochs, and against the number of unfrozen blocks."""

import numpy as np

from lib.plots import DARK, bands, look, plain_ticks


def against_epoch(frame, ax):
    """Draw test accuracy in % after so many epochs, on a logarithmic axis.

    frame: one row per source and epoch: source, epoch, and the shares mean, low, high.
    """
    bands(frame, ax, x="epoch")
    ax.set(xscale="log", xlabel="epochs done", ylabel="test accuracy, %")
    plain_ticks(ax, sorted(set(frame["epoch"])))
    return ax


def against_depth(frame, ax, *, zero=False):
    """Draw means in % with their intervals against the number of unfrozen blocks.

    frame: one row per source and depth: source, unfrozen_blocks (−1 is all, and comes last),
    and the shares mean, low, high. The sources stand side by side, so that whiskers can be read.
    zero: mark where nothing differs.
    """
    if zero:
        ax.axhline(0, color=DARK, lw=1, ls="--")
    depths = sorted(set(frame["unfrozen_blocks"]), key=lambda k: np.inf if k == -1 else k)
    sources = list(dict.fromkeys(frame["source"]))
    for place, source in enumerate(sources):
        part = frame[frame["source"] == source]
        part = part.sort_values("unfrozen_blocks", key=lambda column: column.map(depths.index))
        errors = 100 * (part["mean"] - part["low"]), 100 * (part["high"] - part["mean"])
        ax.errorbar(
            part["unfrozen_blocks"].map(depths.index) + 0.1 * (place - (len(sources) - 1) / 2),
            100 * part["mean"],
            yerr=errors,
            elinewidth=1,
            lw=1,
            label=source,
            **look(source, sources),
        )
    ax.set_xticks(range(len(depths)), ["all" if k == -1 else k for k in depths])
    ax.set(xlabel="unfrozen blocks")
    return ax
