"""Names of the reader's show as they are: in Markdown, in figures, in any letters."""

import itertools
import re
import warnings

import matplotlib
import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it.common.utils import escapeHtml
from matplotlib import font_manager
from matplotlib import pyplot as plt
from samples import NAMES, text_of

from lib.figures import names, plots


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_read_as_it_is(render, name):
    one = " ".join(name.split())
    said = names.literal(name)
    assert "\n" not in said
    assert render(said) == f"<p>{escapeHtml(one)}</p>\n"
    for before, after in (("The class ", " is one."), ("It is ", "."), ("", ", and more")):
        assert text_of(render(before + said + after)) == before + one + after
    assert text_of(render(f"x **{said}**: 3")) == f"x {one}: 3"
    (item,) = re.findall("<li>(.*)</li>", render(f"- {said}"))
    assert text_of(item) == one
    cells = re.findall("<td>(.*)</td>", render(f"| a | b |\n|---|---|\n| {said} | x{said}y |"))
    assert [text_of(cell) for cell in cells] == [one, f"x{one}y"]


def test_two_names_do_not_work_together(render):
    for one, other in itertools.product(["*", "_a", "$", "`", "[a]", "(b)", "{", "~~"], repeat=2):
        said = f"{names.literal(one)} and {names.literal(other)}{names.literal(one)}"
        assert text_of(render(said)) == f"{one} and {other}{one}"


def test_plain_names_stay_plain():
    for name in ("digits", "Fashion-MNIST", "ℓ2 0.25", "ℓ∞ 4/255", "runs/photos v1.0", "0.1", "20"):
        assert names.literal(name) == name


def any_name(render, name):
    """Hold a name in a sentence, an item and a cell against what a reader sees."""
    one, said = " ".join(name.split()), names.literal(name)
    assert text_of(render(f"x {said} y")) == f"x {one} y".strip()
    (item,) = re.findall("<li>(.*)</li>", render(f"- x{said}"))
    assert text_of(item) == f"x{one}"
    cells = re.findall("<td>(.*)</td>", render(f"| a | b |\n|---|---|\n| x{said} | y |"))
    assert [text_of(cell) for cell in cells] == [f"x{one}", "y"]


# What Markdown may take for something else, among letters.
ODD = st.text(
    st.sampled_from("ab1 \\`*_[]{}<>|$~#&'\"-+=%:()!.^@/\n\té漢;lt"), min_size=1, max_size=12
)
ODD = ODD.filter(str.strip)


@settings(max_examples=60, deadline=None)
@given(ODD)
def test_any_name_is_read_as_it_is(render, name):
    any_name(render, name)


@pytest.mark.long
@settings(max_examples=4000, deadline=None)
@given(ODD)
def test_thousands_of_names_are_read_as_they_are(render, name):
    any_name(render, name)


def test_a_long_name_is_cut():
    assert names.one_line("a name that is longer than it should be", 14) == "a name that i…"
    assert names.one_line("short enough!!", 14) == "short enough!!"


@pytest.fixture
def as_it_was():
    fonts = [*font_manager.fontManager.ttflist]
    names._warn_of_boxes.cache_clear()
    with matplotlib.rc_context():
        yield
    font_manager.fontManager.ttflist[:] = fonts
    names._warn_of_boxes.cache_clear()


def font_with(letter, name, file):
    """Write a font of one letter, a square."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 700), (700, 700), (700, 0)):
        pen.lineTo(corner)
    pen.closePath()
    square, empty = pen.glyph(), TTGlyphPen(None).glyph()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "square"])
    builder.setupCharacterMap({ord(letter): "square"})
    builder.setupGlyf({".notdef": empty, "square": square})
    builder.setupHorizontalMetrics({".notdef": (800, 0), "square": (800, 0)})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": name, "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=800)
    builder.setupPost()
    builder.save(file)
    font_manager.fontManager.addfont(file)


def drawn(text):
    """Draw a title; return how many of its pixels are not white."""
    figure, (ax,) = plots.panels(1)
    ax.axis("off")
    ax.set_title(names.one_line(text))
    figure.canvas.draw()
    return int((np.asarray(figure.canvas.buffer_rgba())[..., 0] < 128).sum())


def test_letters_are_drawn_by_a_font_of_the_machine_that_has_them(as_it_was, monkeypatch, tmp_path):
    monkeypatch.setattr(names, "LETTERS", "日\ue123")
    only = [font for font in font_manager.fontManager.ttflist if font.name == "DejaVu Sans"]
    font_manager.fontManager.ttflist[:] = only
    font_with("日", "Of Days", tmp_path / "days.ttf")
    font_with("\ue123", "Of Others", tmp_path / "others.ttf")
    (tmp_path / "damaged.ttf").write_bytes(b"no font")
    damaged = font_manager.FontEntry(fname=str(tmp_path / "damaged.ttf"), name="A", style="normal")
    font_manager.fontManager.ttflist.append(damaged)
    plots.begin("cpu")
    assert matplotlib.rcParams["font.family"] == ["DejaVu Sans", "Of Days", "Of Others"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one, two = drawn("日"), drawn("日日")
    assert one > 20 and two == pytest.approx(2 * one, rel=0.2)


def test_one_warning_tells_of_letters_that_no_font_has(as_it_was):
    with pytest.warns(UserWarning) as said:
        for name in ("plain", "é ℓ∞ Ж", "日\ue123", "\ue124"):
            names.one_line(name)
    (warning,) = said
    text = str(warning.message)
    assert "no font of this machine has" in text and "Noto" in text


def test_fonts_for_other_letters_change_no_picture_of_plain_ones(as_it_was, tmp_path):
    pictures = []
    for families in (["DejaVu Sans"], ["DejaVu Sans", "Of Days"]):
        font_with("日", "Of Days", tmp_path / "days.ttf")
        with matplotlib.rc_context({"font.family": families}):
            figure = plt.figure()
            figure.text(0.1, 0.5, "Naïve ℓ2 0.25, N = 80")
            figure.canvas.draw()
            pictures.append(np.asarray(figure.canvas.buffer_rgba()).copy())
    assert np.array_equal(*pictures)
