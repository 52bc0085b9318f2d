"""Figures that a reader moves with a slider, in Jupyter and in the static page alike."""

import base64
import html
import io
from collections.abc import Iterable

import ipywidgets
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from lib.figures.names import in_one_line


def slider(
    label: str, options: Iterable, figures: Iterable[Figure], *, start: int = 0
) -> ipywidgets.VBox:
    """Put figures on top of one another, the one shown chosen by a slider.

    label: of the slider. options: what the slider says at each position. figures: a matplotlib
    figure each, closed here. start: the position shown first. Linked in the browser, so that no
    kernel is needed to move it.

    Raises ValueError where there are not as many options as figures.
    """
    options, figures = [in_one_line(option) for option in options], list(figures)
    if len(options) != len(figures):
        raise ValueError(f"{len(options)} options for {len(figures)} figures; one each is needed")
    pairs = zip(options, figures, strict=True)
    pages = [_picture(figure, f"{label} {option}") for option, figure in pairs]
    chooser = ipywidgets.SelectionSlider(
        options=[(option, i) for i, option in enumerate(options)],
        value=start,
        description=label,
        style={"description_width": "initial"},
        layout={"width": "min(100%, 32em)"},
    )
    stack = ipywidgets.Stack(pages, selected_index=start)
    ipywidgets.jslink((chooser, "index"), (stack, "selected_index"))
    return ipywidgets.VBox([chooser, stack])


def _picture(figure, alt):
    """Render a figure as an HTML image with an alternative text, and close it."""
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=80)
    plt.close(figure)
    source = base64.b64encode(out.getvalue()).decode()
    # Not an Image widget: that one has no alternative text.
    return ipywidgets.HTML(f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{source}">')
