"""Names, above all of the reader's folders and classes, written so that they show as they are."""

import re
import warnings
from functools import cache

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

NAMES = {
    "n_train": "N",
    "n": "N",
    "constraint": "source",
    "lr": "learning rate",
    "unfrozen_blocks": "unfrozen blocks",
    "source_seed": "seed",
    "clean_accuracy": "accuracy",
    "cutoff": "cut-off",
    "match_head": "matches by the head, %",
    "match_blocks": "matches by the tail, %",
    "spearman": "rank correlation",
}
"""What tables call columns of rows, where the field's word is another."""
LETTERS = "日あ한ไहবத"
"""One of each of the scripts that matplotlib's own font lacks: who has it has the others."""


def in_one_line(name: object) -> str:
    """Write a name in one line."""
    return " ".join(str(name).split())


def one_line(name: object, longest: int = 28) -> str:
    """Write a name in a figure: in one line, cut where it would run into its neighbour.

    A letter that none of the figures' fonts has is drawn as a box; of that one warning tells in a
    run.
    """
    text = in_one_line(name)
    fonts = [font_manager.FontProperties(family=[family]) for family in mpl.rcParams["font.family"]]
    known = [_letters(font_manager.findfont(font)) for font in fonts]
    if not all(any(ord(letter) in letters for letters in known) for letter in text):
        _warn_of_boxes()
    return text if len(text) <= longest else f"{text[: longest - 1].rstrip()}…"


def literal(text: object) -> str:
    """Write a name in Markdown, so that no letter of it means anything there."""
    text = re.sub(r"""([\\`*_[\]{}<>|$~#&'"]|^[-+=%:(])""", r"\\\1", in_one_line(text))
    return re.sub(r"^(\d+)([.)](?: |$))", r"\1\\\2", text)  # no numbered list


def fonts() -> list[str]:
    """Name fonts for figures: matplotlib's own, then of this machine's those with LETTERS."""
    chosen, missing = ["DejaVu Sans"], {ord(letter) for letter in LETTERS}
    entries = font_manager.fontManager.ttflist
    upright = {entry.name: entry.fname for entry in entries if entry.style == "normal"}
    for name, file in sorted(upright.items()):
        # The "last resort" of newer versions has a box for every letter.
        if missing & _letters(file) and not name.startswith("Last Resort"):
            chosen.append(name)
            missing -= _letters(file)
    return chosen


@cache
def _letters(file):
    """Return the letters, as numbers, that the font in a file has."""
    try:
        return frozenset(FT2Font(file).get_charmap())
    except (OSError, RuntimeError):  # of a kind that matplotlib cannot draw
        return frozenset()


@cache  # once, which the filters of warnings do not promise: others reset them
def _warn_of_boxes():
    # No Markdown, which would take the caption of the figure that its cell draws.
    warnings.warn(
        "some names have letters that no font of this machine has, and figures show boxes for "
        "them; install a font that has them, such as Noto Sans CJK, and run the chapter again",
        stacklevel=3,
    )
