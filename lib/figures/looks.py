"""How sources look in figures: a colour, a line and a marker for each constraint."""

import re
from collections.abc import Sequence

import pandas as pd
import seaborn as sns
from matplotlib.colors import to_rgb

from lib.constraint import FROM_SCRATCH, MIXED_TEXTURES, NATURAL, UNTRAINED, Constraint
from lib.figures.names import one_line

# Okabe and Ito's colours, told apart by colour-blind readers too.
VERMILLION, BLUE, GREEN, PURPLE = "#D55E00", "#0072B2", "#009E73", "#CC79A7"
DARK, LIGHT = "#3A3A3A", "#8C8C8C"
PLAIN = {
    NATURAL: {"color": DARK, "linestyle": "--", "marker": "s"},
    UNTRAINED: {"color": LIGHT, "linestyle": ":", "marker": "v"},
    FROM_SCRATCH: {"color": PURPLE, "linestyle": ":", "marker": "^"},
    MIXED_TEXTURES: {"color": GREEN, "linestyle": "--", "marker": "P"},
}
FAMILIES = {
    "l2": (VERMILLION, "o"), "linf": (BLUE, "D"),
    "low-pass": (GREEN, "*"), "natural until": (GREEN, "p"),
}  # fmt: skip
OTHERS = GREEN, "X"
DARKEST = 0.6
"""How bright the last of a family is, by the first, which has the full colour: paler ones are lost
on a white ground."""

_shaded: set[Constraint] = set()


def shade(*constraints: Constraint) -> None:
    """Shade these as one family in all figures from now on, whichever of them a figure has.

    So a source looks the same throughout a chapter. Without constraints: only what a figure has.
    """
    if not constraints:
        _shaded.clear()
    _shaded.update(constraints)


def look(constraint: Constraint, among: Sequence[Constraint]) -> dict:
    """Return the colour, line and marker of a constraint among others.

    Natural is dark grey and dashed, what was not pretrained dotted; the robust ones are solid,
    ℓ2 in vermillion and ℓ∞ in blue, darker as ε grows; any others dash-dotted, in greens, with a
    marker for each kind. Those of `shade` are among them, too.
    """
    if constraint in PLAIN:
        return PLAIN[constraint]
    hue, marker = FAMILIES.get(constraint.name, OTHERS)
    family = [c for c in {constraint, *among, *_shaded} if c not in PLAIN]
    family = sorted(c for c in family if FAMILIES.get(c.name, OTHERS)[0] == hue)
    darkest = [DARKEST * part for part in to_rgb(hue)]
    colour = sns.blend_palette([hue, darkest], len(family))[family.index(constraint)]
    return {"color": colour, "linestyle": "-" if constraint.ball else "-.", "marker": marker}


def lines(frame: pd.DataFrame) -> list[tuple[Constraint, pd.DataFrame, dict]]:
    """Split a frame by constraint, in order: (constraint, its rows, its look with a label).

    A look is one among all constraints of the figure, which `each_panel` notes in `frame.attrs`.
    "photographs ℓ2 0.25" looks, and has its place, as ℓ2 0.25 where the figure does not have both.
    """
    kinds = {c: _kind(c) for c in {*frame["constraint"], *frame.attrs.get("among", ())}}
    if len(set(kinds.values())) < len(kinds):
        kinds = {c: c for c in kinds}
    found = []
    for c in sorted(set(frame["constraint"]), key=lambda c: kinds[c]):
        # A legend leaves out what begins with _; before it stands a space of no width.
        style = look(kinds[c], list(kinds.values()))
        style = style | {"label": re.sub("^_", "\u200b_", one_line(c, 60))}
        found.append((c, frame[[value == c for value in frame["constraint"]]], style))
    return found


def _kind(constraint):
    """Return the constraint under which a source that comes with the book was trained."""
    rest = constraint.name.removeprefix("photographs ")
    try:
        return Constraint.parse(rest) if rest != constraint.name else constraint
    except ValueError:
        return constraint
