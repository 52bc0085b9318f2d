"""Figures: functions that take a tidy frame and an axis, and return the axis."""

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter, NullLocator

# Okabe and Ito's colours, told apart by colour-blind readers too.
VERMILLION, BLUE, GREEN, PURPLE = "#D55E00", "#0072B2", "#009E73", "#CC79A7"
DARK, LIGHT = "#3A3A3A", "#8C8C8C"
PLAIN = {
    "natural": {"color": DARK, "linestyle": "--", "marker": "s"},
    "untrained": {"color": LIGHT, "linestyle": ":", "marker": "v"},
    "from scratch": {"color": PURPLE, "linestyle": ":", "marker": "^"},
    "natural, mixed textures": {"color": GREEN, "linestyle": "--", "marker": "P"},
}


def use_style():
    """Set the look of every figure of the book."""
    sns.set_theme(context="notebook", style="ticks", rc={"axes.spines.right": False})
    mpl.rcParams.update(
        {
            "axes.spines.top": False,
            "axes.titlesize": "medium",
            "axes.grid": True,
            "grid.alpha": 0.25,
            "figure.dpi": 110,
            "figure.constrained_layout.use": True,
            "font.family": "DejaVu Sans",  # comes with matplotlib: the same on every machine
            "legend.frameon": False,
            "lines.markersize": 4,
        }
    )


def look(source, sources):
    """Return the colour, line and marker of a source among others.

    Natural is dark grey and dashed, what was not pretrained dotted; the robust ones are solid,
    ℓ2 in vermillion and ℓ∞ in blue, darker as ε grows; any others dash-dotted, in greens.
    """
    if source in PLAIN:
        return PLAIN[source]
    if not source.startswith(("ℓ2 ", "ℓ∞ ")):
        others = sorted({s for s in sources if s not in PLAIN and not s.startswith(("ℓ2 ", "ℓ∞ "))})
        shade = sns.light_palette(GREEN, n_colors=len(others) + 1)[1 + others.index(source)]
        return {"color": shade, "linestyle": "-.", "marker": "X"}
    family = sorted({s for s in sources if s not in PLAIN and s[:2] == source[:2]}, key=_radius)
    hue, marker = (BLUE, "D") if source.startswith("ℓ∞") else (VERMILLION, "o")
    shades = sns.light_palette(hue, n_colors=len(family) + 1)[1:]
    return {"color": shades[family.index(source)], "linestyle": "-", "marker": marker}


def _radius(source):
    """Read ε from a source's name, in the unit of its norm: ℓ2 0.25, ℓ∞ 4/255."""
    return float(source.split()[1].split("/")[0])


def bands(frame, ax, *, x):
    """Draw each source's mean against x in percent, with its interval as a band.

    frame: one row per source and x, columns source, x, and the shares mean, low, high.
    """
    sources = list(dict.fromkeys(frame["source"]))
    for source in sources:
        part, style = frame[frame["source"] == source].sort_values(x), look(source, sources)
        low, high = 100 * part["low"], 100 * part["high"]
        ax.plot(part[x], 100 * part["mean"], label=source, **style)
        ax.fill_between(part[x], low, high, color=style["color"], alpha=0.15, lw=0)
    return ax


def against_n(frame, ax):
    """Draw accuracy in % against the number of training images, on a doubling axis."""
    bands(frame, ax, x="n_train")
    _doubling_axis(ax, frame["n_train"])
    ax.set(xlabel="training images N", ylabel="test accuracy, %")
    return ax


def difference_against_n(frame, ax):
    """Draw paired differences to the natural source, in points, with their intervals, against N.

    frame: as in `bands`. The sources stand side by side at each N, so that whiskers can be read.
    """
    ax.axhline(0, color=DARK, lw=1, ls="--")
    sources = list(dict.fromkeys(frame["source"]))
    for place, source in enumerate(sources):
        part = frame[frame["source"] == source]
        shift = 2 ** (0.11 * (place - (len(sources) - 1) / 2))
        errors = 100 * (part["mean"] - part["low"]), 100 * (part["high"] - part["mean"])
        ax.errorbar(
            shift * part["n_train"],
            100 * part["mean"],
            yerr=errors,
            elinewidth=1,
            lw=1,
            label=source,
            **look(source, sources),
        )
    _doubling_axis(ax, frame["n_train"])
    ax.set(xlabel="training images N", ylabel="accuracy − natural, points")
    return ax


def against_eps(frame, ax):
    """Draw accuracy in % under attack against the attack's ε."""
    bands(frame, ax, x="attack_eps")
    ax.set(ylabel="accuracy under attack, %", ylim=(-2, 102))
    return ax


def pictures(ax, images, titles=None, columns=None, colours=None):
    """Show images (N, 3, H, W) of [0, 1] side by side in one axis, pixel by pixel.

    titles: a line above each, or None, and its colours. columns: images in a row, or None for all.
    """
    images = np.asarray(images)
    count, _, height, width = images.shape
    columns = columns or count
    gap, head = 2, 0 if titles is None else 6
    rows = -(-count // columns)
    sheet = np.ones((rows * (height + head + gap), columns * (width + gap), 3))
    for i, image in enumerate(images):
        top, left = (i // columns) * (height + head + gap) + head, (i % columns) * (width + gap)
        sheet[top : top + height, left : left + width] = image.transpose(1, 2, 0)
        if titles is not None:
            colour = DARK if colours is None else colours[i]
            ax.text(left + width / 2, top - 1, titles[i], ha="center", size=8, color=colour)
    ax.imshow(sheet, interpolation="nearest")
    ax.axis("off")
    return ax


def adversarial_examples(x, y, attacked, classes):
    """Draw images, and for each source the perturbation and what it takes the image for.

    x: (N, 3, H, W) in [0, 1]; y: (N,). attacked: {source: (x_adv, predicted)}. classes: names.
    The perturbation of each image is magnified to full contrast around grey; wrong answers are
    in red. Returns the figure.
    """
    fig, axes = plt.subplots(1 + 2 * len(attacked), 1, figsize=(1.05 * len(x) + 1.2, 6.4))
    pictures(axes[0], x, [classes[label] for label in y])
    axes[0].set_title("image and its class", loc="left", size=9)
    for row, (source, (x_adv, predicted)) in enumerate(attacked.items()):
        above, below = axes[2 * row + 1], axes[2 * row + 2]
        delta = x_adv - x
        largest = delta.abs().amax((1, 2, 3), keepdim=True).clamp_min(1e-9)
        pictures(above, 0.5 + 0.5 * delta / largest, [""] * len(x))
        above.set_title(f"{source} source: the perturbation, magnified", loc="left", size=9)
        wrong = [VERMILLION if p != label else DARK for p, label in zip(predicted, y, strict=True)]
        pictures(below, x_adv, [classes[label] for label in predicted], colours=wrong)
        below.set_title(
            f"{source} source: image + perturbation, and its answer", loc="left", size=9
        )
    return fig


def against_steps(frame, references, ax):
    """Draw accuracy in % under attack against the number of steps, for two rules of step sizes.

    frame: columns source, step_sizes, steps, accuracy. references: {source: accuracy}, dotted.
    """
    rules = {"long_then_short": "-", "equal_steps": "--"}
    names = {"long_then_short": "falling steps", "equal_steps": "equal steps"}
    sources = list(references)
    for (source, rule), part in frame.groupby(["source", "step_sizes"], sort=False):
        style = look(source, sources) | {"linestyle": rules[rule]}
        label = f"{source}, {names[rule]}"
        ax.plot(part["steps"], 100 * part["accuracy"], label=label, **style)
    for source, accuracy in references.items():
        colour = look(source, sources)["color"]
        ax.axhline(100 * accuracy, color=colour, ls=":", lw=1.2, label=f"{source}, library attacks")
    ax.set(xscale="log", xlabel="steps of PGD", ylabel="accuracy under attack, %", ylim=(0, 102))
    plain_ticks(ax, sorted(set(frame["steps"])))
    ax.legend(fontsize="small")
    return ax


def legend_below(fig, ax, columns=6):
    """Put one legend, that of `ax`, under all of the figure's axes."""
    handles, labels = ax.get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=columns)
    return fig


def panels(count, *, columns=3, width=3.6, height=3.4):
    """Make rows of axes, each of so many inches; returns (figure, flat list of axes)."""
    rows = -(-count // columns)
    columns = min(count, columns)
    fig, axes = plt.subplots(rows, columns, figsize=(width * columns + 0.6, height * rows))
    axes = np.atleast_1d(axes).ravel()
    for spare in axes[count:]:
        spare.axis("off")
    return fig, list(axes[:count])


def _doubling_axis(ax, values):
    """Put the sizes that occur on a log2 axis, as plain numbers, no two on top of each other."""
    values = sorted(set(values))
    shown = [v for i, v in enumerate(reversed(values)) if i == 0 or i % 2 == 0]
    ax.set_xscale("log", base=2)
    plain_ticks(ax, shown)


def plain_ticks(ax, values):
    """Mark these values, and no others, on a logarithmic axis, as plain numbers."""
    ax.set_xticks(values)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,g}"))
    ax.xaxis.set_minor_locator(NullLocator())
