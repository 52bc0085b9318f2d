"""Figures of what networks see: synthesised images in rows, and what judges say of them."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from lib.figures.estimates import where
from lib.figures.image_plots import tile
from lib.figures.looks import DARK
from lib.figures.names import one_line
from lib.figures.plots import beside, each_panel
from lib.figures.sentences import sides


def sheet(
    rows: Mapping, titles: Sequence[str] | None = None, *, gap: int = 2, zoom: float = 1.8
) -> Figure:
    """Show rows of images, each row with a label at its left, pixel by pixel.

    rows: {label: images (N, 3, H, W) in [0, 1]}, all of one shape. titles: a line above each
    column, or None. gap: white pixels between images. zoom: screen pixels for one of the
    image's.
    """
    images = np.stack([np.asarray(row) for row in rows.values()])  # (rows, N, 3, H, W)
    count, columns, _, height, width = images.shape
    # 24 levels of a channel: the eye cannot tell, and a file of noise is half as large.
    page = np.round(23 * tile(np.concatenate(images), columns, gap=gap)) / 23
    labels = [one_line(row, 60) for row in rows]
    inch, margin = zoom * 32 / height / 72, 0.12 * max(map(len, labels)) + 0.3
    size = (inch * page.shape[1] + margin, inch * page.shape[0] + 0.4)
    fig, ax = plt.subplots(figsize=size, dpi=72)
    ax.imshow(page, interpolation="nearest")
    ax.set_yticks((np.arange(count) + 0.5) * (height + gap) - gap / 2, labels)
    centres = (np.arange(columns) + 0.5) * (width + gap) - gap / 2
    shown = [one_line(title) for title in titles or []]
    ax.set_xticks(centres if titles else [], shown, fontsize="small")
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.grid(False)
    ax.spines[:].set_visible(False)
    return fig


def by_step(
    searches: Mapping[object, Mapping[str, Mapping[int, Tensor]]],
    count: int,
    *,
    above: Mapping[str, Tensor] | None = None,
    titles: Sequence[str] = (),
) -> dict[int, Figure]:
    """Show what searches have come to after so many steps, a `sheet` for each: {step: figure}.

    searches: {label: {start: {step: images}}}, each a row, the starts side by side. count: images
    shown of each start, the first. above: a first row that no search changes, {label: images}.
    titles: of the images of each start; without them what each start is.
    """
    *_, starts = searches.values()
    made = [
        images
        for parts in searches.values()
        for steps in parts.values()
        for images in steps.values()
    ]
    count = min(count, *map(len, made))
    over = [f"from {start}" if i == count // 2 else "" for start in starts for i in range(count)]
    above = {
        label: np.concatenate([images[:count]] * len(starts))
        for label, images in (above or {}).items()
    }
    pages = {}
    for step in next(iter(starts.values())):
        page = {
            label: np.concatenate([steps[step][:count] for steps in parts.values()])
            for label, parts in searches.items()
        }
        pages[step] = sheet(above | page, [*titles[:count]] * len(starts) or over, zoom=1.6)
    return pages


def grey(energy: Tensor) -> Tensor:
    """Make maps (N, H, W), not negative, images (N, 3, H, W): darker where there is more.

    The square root of the energy, that is the size of the gradient, over its largest in the map.
    """
    size = energy.sqrt()
    size = size / size.amax((1, 2), keepdim=True).clamp_min(1e-12)
    return (1 - size)[:, None].repeat(1, 3, 1, 1)


def turns(paths: Mapping[object, Tensor], goals: Tensor, count: int = 2) -> Figure:
    """Show images that turn into others, a row for each path, and below it their pixels mixed.

    paths: {label: images (T, N, 3, H, W)}, of equal steps; each second one is shown. goals: images
    (N, 3, H, W), shown after them. count: of the N, the first.
    """
    *_, path = paths.values()
    shares = np.linspace(0, 1, len(path))[::2]
    frames = {label: path[::2] for label, path in paths.items()}
    frames["pixels mixed"] = torch.stack([path[0].lerp(goals, float(t)) for t in shares])
    page = {
        label: torch.cat([path, goals[None]])[:, :count].transpose(0, 1).flatten(0, 1)
        for label, path in frames.items()
    }
    titles = [*(f"t = {t:g}" for t in shares), "goal"]
    return sheet(page, titles * len(goals[:count]), zoom=2.4)


def judged(frame: pd.DataFrame, *, chance: float) -> Figure:
    """Draw how often judges recognise what was made, a panel for each kind of judge.

    frame: columns measure (the judge), what, start, constraint, and the shares mean, low, high.
    chance: a share, dashed.
    """
    frame = frame.assign(what=frame["what"] + ",\nfrom " + frame["start"])
    draw = partial(marks, mark=100 * chance)
    fig, axes = each_panel(frame, "measure", draw, width=3.9, height=5.4, sharey=True)
    for ax in axes:
        ax.set(xlabel="recognised, %", xlim=(-4, 104))
    return fig


def marks(
    frame: pd.DataFrame,
    ax: Axes,
    *,
    by: str = "what",
    scale: float = 100,
    mark: float | None = None,
) -> Axes:
    """Draw means with their intervals, the constraints of a line below one another.

    frame: columns by, constraint, mean, low, high. by: the column of which each value is a line.
    scale: of the numbers, 100 for percent. mark: a value at which to draw a dashed line, such as
    that of chance, in the unit drawn, or None.
    """
    rows, step = list(dict.fromkeys(frame[by])), 0.6 / frame["constraint"].nunique()
    if mark is not None:
        ax.axvline(mark, color=DARK, lw=1, ls="--")
    how: dict = {"scale": scale, "across": True, "linestyle": "none", "capsize": 3}
    beside(frame, by, rows, ax, step=step, **how)
    ax.set_yticks(range(len(rows)), rows)
    ax.set(ylim=(len(rows) - 0.5, -0.5))
    return ax


def than_others(differences: pd.DataFrame, measure: str, adverb: str = "") -> str:
    """Say whether a measure is higher for one kind of source than for each other kind, or lower.

    differences: as of `lib.studies.inverted.over_each`. adverb: what is more or less, as "often".
    As text: more often than what was found by natural sources.
    """
    asked = where(differences, measure=measure)
    asked = asked.assign(against=[f"{one} sources" for one in asked["against"]])
    unsure = "as far as can be told, no more and no less"
    more, less, neither = (f"{word} {adverb}".rstrip() for word in ("more", "less", unsure))
    return sides(asked, "against", (more, less, neither), link="than what was found by")
