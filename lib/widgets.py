"""Figures that a reader moves with a slider, in Jupyter and in the static page alike."""

import base64
import html
import io

import ipywidgets
from matplotlib import pyplot as plt


def slider(label, options, figures, *, start=0):
    """Put figures on top of one another, the one shown chosen by a slider.

    label: of the slider. options: what the slider says at each position. figures: a matplotlib
    figure each, closed here. start: the position shown first. Linked in the browser, so that no
    kernel is needed to move it.

    Returns a widget. Raises ValueError where there are not as many options as figures.
    """
    pages = [_picture(figure, f"{label} {option}") for option, figure in _pairs(options, figures)]
    chooser = ipywidgets.SelectionSlider(
        options=[(str(option), i) for i, option in enumerate(options)],
        value=start,
        description=label,
        style={"description_width": "initial"},
        layout={"width": "min(100%, 32em)"},
    )
    stack = ipywidgets.Stack(pages, selected_index=start)
    ipywidgets.jslink((chooser, "index"), (stack, "selected_index"))
    return ipywidgets.VBox([chooser, stack])


def _pairs(options, figures):
    options, figures = list(options), list(figures)
    if len(options) != len(figures):
        raise ValueError(f"{len(options)} options for {len(figures)} figures; one each is needed")
    return zip(options, figures, strict=True)


def _picture(figure, alt):
    """Render a figure as an HTML image with an alternative text, and close it."""
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=80)
    plt.close(figure)
    source = base64.b64encode(out.getvalue()).decode()
    # Not an Image widget: that one has no alternative text.
    return ipywidgets.HTML(f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{source}">')
