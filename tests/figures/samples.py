"""Names that mean something to Markdown, and rows of differences, for several tests."""

import html
import re

import numpy as np
import pandas as pd

from lib.constraint import UNTRAINED, Constraint

ROBUST = Constraint("l2", 0.25)
GAP = pd.DataFrame(
    [
        ("digits", 20, ROBUST, 0.042, 0.0104, 0.0738),
        ("digits", 40, ROBUST, 0.01, -0.02, 0.04),
        ("faces", 20, ROBUST, -0.03, -0.05, -0.01),
        ("faces", 20, UNTRAINED, -0.1, np.nan, np.nan),
    ],
    columns=["target", "n_train", "constraint", "mean", "low", "high"],
)
NAMES = [
    "plain", "a_b_c", "__init__", "*bold* **x**", "`code`", "<b>tag</b>", "x < y > z", "R&D",
    "&amp;", "&#38; &copy;", "$x$ costs $5", "$$y$$", r"\(z\)", r"back\slash\\", "[a](b)",
    "![a](b)", "{cite}`a`", "{{ sub }}", "a | b", "~~gone~~", "# heading", "- item", "+ item",
    "1. first", "2) second", "10.5 mm", "-4", "> quote", ": definition", "::: fence", "% comment",
    "+++", "---", "===", "(target)=", "it's \"so\"", "<http://a.b>", "http://a_b.c/d_e",
    "two\nlines", "tab\tand\r\nline", "  spaces  ", "![", "a^2^", "@x", r"\begin{equation}",
    "é ℓ∞ 漢字", "#1", "|", "***", "a\\", "|a|b|\n|-|-|", "[^1]", "[^1]: note", "\u00a0x",
    "- [ ] task",
]  # fmt: skip


def text_of(page):
    """Return what a reader sees of HTML."""
    return html.unescape(re.sub(r"<[^<>]*>", "", page)).strip("\n")
