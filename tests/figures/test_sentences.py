"""What chapters say follows the numbers, whatever is missing and however things are called."""

import base64
import html
import itertools
import random
import re
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import papermill
import pytest
import yaml
from markdown_it.common.utils import escapeHtml
from markdown_it.renderer import RendererHTML
from matplotlib import pyplot as plt
from myst_parser.config.main import MdParserConfig
from myst_parser.parsers.mdit import create_md_parser

from lib.constraint import MIXED_TEXTURES, NATURAL, UNTRAINED, Constraint
from lib.figures import sentences
from lib.figures.sentences import NOTHING, Estimate

ROOT = Path(__file__).parents[2]
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


@pytest.fixture
def displayed(monkeypatch):
    kept = []
    monkeypatch.setattr(sentences, "display", lambda shown: kept.append(shown.data))
    return kept


@pytest.fixture
def stored(monkeypatch):
    kept = {}

    def glue(name, value, display):
        assert display is False
        kept[name] = value

    monkeypatch.setattr(sentences, "glue", glue)
    return kept


def test_what_is_said_is_markdown(displayed):
    sentences.say("With **one** row.")
    sentences.say_list("a", "b")
    sentences.say_table(("claim", "here"), ("x", "y"), ("z", ""))
    table = "| claim | here |\n|---|---|\n| x | y |\n| z |  |"
    assert displayed == ["With **one** row.", "- a\n- b", table]


def test_numbers_texts_and_figures_are_stored_for_other_pages(stored):
    figure = plt.figure()
    sentences.quote(n=3, share=np.float32(0.5), count=np.int64(2), word="higher", figure=figure)
    assert stored == {"n": 3.0, "share": 0.5, "count": 2.0, "word": "higher", "figure": figure}
    assert {type(stored[name]) for name in ("n", "share", "count")} == {float}
    assert plt.get_fignums() == []  # else the cell would show it as well


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """A notebook as papermill leaves it: the answer above, what it rests on below."""
    cells = [
        "from lib.figures import plots, sentences\nplots.begin('cpu');",
        "answer = sentences.answer()",
        "fig, axes = plots.panels(1)\nsentences.say('A *figure*.')",
        "answer('It is +4.2 points.')",
        "import pandas as pd\nsentences.styled(pd.DataFrame({'a': ['$x$ <b>']}))",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    kernel = {"name": "python3", "language": "python", "display_name": "Python 3"}
    notebook.metadata["kernelspec"] = kernel
    before, after = (tmp_path_factory.mktemp("run") / name for name in ("in.ipynb", "out.ipynb"))
    nbformat.write(notebook, before)
    papermill.execute_notebook(before, after, cwd=ROOT, progress_bar=False)
    return [cell.outputs for cell in nbformat.read(after, 4).cells if cell.cell_type == "code"]


def records(outputs):
    return [list(output.data) for output in outputs]


def test_the_answer_stands_at_the_top_of_a_run(executed):
    (shown,) = executed[1]
    assert shown.output_type == "display_data"
    assert shown.data["text/markdown"] == "**In short.** It is +4.2 points."
    assert set(shown.data) == {"text/markdown", "text/plain"}
    (kept,) = executed[3]  # where it is said nothing is seen of it
    assert kept.data == {"application/papermill.record/text/plain": "'It is +4.2 points.'"}
    assert kept.metadata["scrapbook"]["name"] == "answer"


def test_a_chapter_begins_without_a_word(executed):
    assert records(executed[0]) == [["application/papermill.record/text/plain"]]
    said, figure = executed[2]
    assert said.data["text/markdown"] == "A *figure*."
    png = base64.b64decode(figure.data["image/png"])
    # It has twice as many pixels as it is wide on the page.
    assert int.from_bytes(png[16:20], "big") // 2 == figure.metadata["image/png"]["width"]


def test_a_dollar_in_a_table_begins_no_formula(executed):
    (shown,) = executed[4]
    assert "tex2jax_ignore" in shown.data["text/html"]
    assert "$x$ &lt;b&gt;" in shown.data["text/html"]


def test_where_there_is_no_notebook_the_answer_is_only_kept(stored, capsys):
    sentences.answer()("so")
    assert stored == {"answer": "so"}


@pytest.mark.parametrize(
    ("values", "kind", "text", "short", "mean"),
    [
        ((4.21, -1.04, 7.38), {}, "+4.2 points (95 % interval -1.0 to +7.4)",
         "+4.2 [-1.0, +7.4]", "+4.2 points"),
        ((42, 30, 54.9), {"unit": "%", "signed": False}, "42.0 % (95 % interval 30.0 to 54.9)",
         "42.0 [30.0, 54.9]", "42.0 %"),
        ((0.514, 0.4, 0.6), {"unit": "", "signed": False, "digits": 2},
         "0.51 (95 % interval 0.40 to 0.60)", "0.51 [0.40, 0.60]", "0.51"),
        ((-0.01, -0.04, 0.04), {}, "+0.0 points (95 % interval +0.0 to +0.0)",
         "+0.0 [+0.0, +0.0]", "+0.0 points"),
        ((41.6, 30.2, 54.9), {"unit": "%", "signed": False, "digits": 0},
         "42 % (95 % interval 30 to 55)", "42 [30, 55]", "42 %"),
        ((4.21, np.nan, np.nan), {}, "+4.2 points (without an interval)", "+4.2",
         "+4.2 points"),
        ((np.nan, np.nan, np.nan), {}, "unknown", "unknown", "unknown"),
    ],
)  # fmt: skip
def test_an_estimate_writes_itself(values, kind, text, short, mean):
    estimate = Estimate(*map(np.float64, values), **kind)
    assert (str(estimate), f"{estimate}") == (text, text)
    assert (f"{estimate:short}", f"{estimate:mean}") == (short, mean)


def test_an_unknown_format_is_refused():
    with pytest.raises(ValueError, match=r"format is '\.1f'; allowed are mean and short"):
        f"{Estimate(1, 0, 2):.1f}"


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (0.01, 0.02, "ahead"),
        (-0.02, -0.01, "behind"),
        (-0.01, 0.01, NOTHING),
        (0.0, 0.01, NOTHING),
        (-0.01, 0.0, NOTHING),
        (np.nan, np.nan, NOTHING),
    ],
)
def test_the_interval_decides(low, high, word):
    assert sentences.verdict(low, high) == Estimate(0, low, high).verdict == word
    other = {"ahead": "higher", "behind": "lower"}.get(word, word)
    assert sentences.verdict(low, high, ("higher", "lower")) == other


def test_numbers_of_one_row():
    key = {"target": "digits", "n_train": 20, "constraint": ROBUST}
    assert sentences.row(GAP, **key)["mean"] == 0.042
    assert f"{sentences.points(GAP, **key)}" == "+4.2 points (95 % interval +1.0 to +7.4)"
    assert f"{sentences.percent(GAP, **key):short}" == "4.2 [1.0, 7.4]"
    assert f"{sentences.plain(GAP, **key)}" == "0.04 (95 % interval 0.01 to 0.07)"
    assert f"{sentences.plain(GAP, digits=1, signed=True, **key):mean}" == "+0.0"
    assert f"{sentences.row(GAP.head(1))['target']}" == "digits"


SAYERS = [sentences.points, sentences.percent, sentences.plain]


@pytest.mark.parametrize("find", [sentences.row, *SAYERS])
def test_a_missing_row_is_named(find):
    # After a column in which nothing is left, too.
    key = {"target": "digits", "n_train": 80, "constraint": ROBUST}
    with pytest.raises(KeyError, match=r"0 rows with target digits, n_train 80, constraint ℓ2 0.2"):
        find(GAP, **key)
    with pytest.raises(KeyError, match="0 rows with target digits"):
        find(pd.DataFrame(), **key)  # a run may have left out everything
    with pytest.raises(KeyError, match="0 rows with target digits"):
        find(GAP[:0], **key)
    with pytest.raises(KeyError, match="2 rows with target digits; a sentence needs one"):
        find(GAP, target="digits")


@pytest.mark.parametrize("find", SAYERS)
def test_unless_the_sentence_says_what_then(find):
    for frame in (GAP, GAP[:0], pd.DataFrame()):
        assert find(frame, otherwise="not measured", target="none", n_train=20) == "not measured"
    assert isinstance(find(GAP, otherwise="not measured", constraint=UNTRAINED), Estimate)
    # What is wrong in the sentence itself stays an error.
    with pytest.raises(KeyError, match="no_column"):
        find(GAP, otherwise="not measured", no_column=1)
    with pytest.raises(KeyError, match="2 rows"):
        find(GAP, otherwise="not measured", target="digits")


def test_tallies_count_what_the_intervals_tell():
    assert sentences.tally(GAP) == "ahead at 1 and behind at 1 of 4 sizes"
    words = sentences.tally(GAP, "cells", ("higher", "lower"))
    assert words == "higher at 1 and lower at 1 of 4 cells"
    assert sentences.tally(GAP[:0]) == "not measured in this run"
    digits, faces = "ahead at 1 and behind at 0 of 2", "ahead at 0 and behind at 1 of 2"
    assert sentences.tallies(GAP, "target") == f"- digits: {digits} sizes\n- faces: {faces} sizes"
    assert sentences.tallies(GAP[:0], "target") == "not measured in this run"
    one = sentences.tallies(GAP, ["target"], "cells", inline=True)
    assert one == f"digits: {digits} cells; faces: {faces} cells"
    assert sentences.tallies(GAP[3:].assign(target="a_b"), ["target", "constraint"]) == (
        r"- a\_b, untrained: ahead at 0 and behind at 0 of 1 sizes"
    )


def test_series_of_estimates():
    line = sentences.series(GAP[:2], "n_train")
    assert line == "N 20: +4.2 [+1.0, +7.4]; N 40: +1.0 [-2.0, +4.0]"
    assert sentences.series(GAP[2:], "constraint", unit="%") == (
        "ℓ2 0.25: -3.0 [-5.0, -1.0]; untrained: -10.0"
    )
    assert (
        sentences.series(GAP[:1], "target", unit="", signed=True) == "digits: +0.04 [+0.01, +0.07]"
    )


def test_rows_are_chosen_by_their_columns():
    assert sentences.where(GAP, target="digits", n_train=40)["mean"].tolist() == [0.01]
    assert len(sentences.where(GAP, constraint=ROBUST)) == 3
    assert sentences.where(GAP, target="none").empty
    assert sentences.where(GAP[:0], target="digits").empty


def test_names_with_commas_are_told_apart_in_a_list():
    mixed = GAP.assign(constraint=[NATURAL, ROBUST, MIXED_TEXTURES, UNTRAINED])
    assert sentences.sides(mixed, "constraint") == (
        "natural is ahead; “natural, mixed textures” is behind; "
        "no difference can be told for ℓ2 0.25 and untrained"
    )


def test_listing():
    found = [sentences.listing("abc"[:n]) for n in range(4)]
    assert found == ["none", "a", "a and b", "a, b and c"]
    assert sentences.listing([NATURAL, ROBUST], "or") == "natural or ℓ2 0.25"


@pytest.fixture(scope="module")
def render():
    """Render Markdown to HTML by the parser of the book, with its extensions."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text())
    extensions = set(config["parse"]["myst_enable_extensions"])
    parser = create_md_parser(MdParserConfig(enable_extensions=extensions), RendererHTML)
    return parser.render


def text_of(page):
    return html.unescape(re.sub(r"<[^<>]*>", "", page)).strip("\n")


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_read_as_it_is(render, name):
    one = " ".join(name.split())
    said = sentences.literal(name)
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
        said = f"{sentences.literal(one)} and {sentences.literal(other)}{sentences.literal(one)}"
        assert text_of(render(said)) == f"{one} and {other}{one}"


def test_plain_names_stay_plain():
    for name in ("digits", "Fashion-MNIST", "ℓ2 0.25", "ℓ∞ 4/255", "runs/photos v1.0", "0.1", "20"):
        assert sentences.literal(name) == name


def test_image_sets_are_listed(render):
    class Some(list):
        classes = ("a", "b")

    splits = {"digits": (Some([0] * 1234), Some([0] * 3)), "my_*photos*": (Some([0]), Some())}
    said = sentences.describe(splits, {"digits": "**digits** of optdigits"})
    items = [text_of(item) for item in re.findall("<li>(.*)</li>", render(said))]
    assert items == [
        "digits of optdigits: 2 classes, 1,234 training and 3 test images",
        "my_*photos*: 2 classes, 1 training and 0 test images",
    ]


def test_a_table_in_order_of_appearance():
    table = sentences.text_table(GAP, ["target", "n_train"], "constraint")
    assert table.index.tolist() == [("digits", 20), ("digits", 40), ("faces", 20)]
    assert table.columns.tolist() == ["ℓ2 0.25", "untrained"]
    assert table.to_numpy().tolist() == [
        ["+4.2 [+1.0, +7.4]", ""], ["+1.0 [-2.0, +4.0]", ""], ["-3.0 [-5.0, -1.0]", "-10.0"],
    ]  # fmt: skip
    assert (table.index.names, table.columns.name) == (["target", "N"], "source")
    few = GAP[GAP["n_train"] == 20][::-1]
    turned = sentences.text_table(few, "constraint", "target", unit="%", names={"target": "on"})
    assert turned.index.tolist() == ["untrained", "ℓ2 0.25"]
    assert turned.columns.tolist() == ["faces", "digits"] and turned.columns.name == "on"
    assert turned.to_numpy().tolist() == [["-10.0", ""], ["-3.0 [-5.0, -1.0]", "4.2 [1.0, 7.4]"]]
    short = sentences.text_table(few, "constraint", "target", unit="%", digits=0)
    assert short.to_numpy().tolist() == [["-10", ""], ["-3 [-5, -1]", "4 [1, 7]"]]


@pytest.mark.parametrize("seed", range(20))
def test_each_estimate_stands_where_it_belongs(seed):
    draw = random.Random(seed)
    every = list(itertools.product("ba", (20, 5, 80), (UNTRAINED, NATURAL, ROBUST)))
    keys = draw.sample(every, draw.randint(1, len(every)))
    frame = pd.DataFrame(keys, columns=["target", "n_train", "constraint"])
    frame = frame.assign(mean=np.arange(len(keys)) / 100, low=np.nan, high=np.nan)
    by_target, by_source = (
        (["target", "n_train"], "constraint"),
        (["constraint", "target"], "n_train"),
    )
    for rows, column in (by_target, by_source):
        table = sentences.text_table(frame, rows, column)
        keys = frame[rows].astype(str).itertuples(index=False, name=None)
        assert [tuple(map(str, key)) for key in table.index] == list(dict.fromkeys(keys))
        assert list(map(str, table)) == list(dict.fromkeys(map(str, frame[column])))
        cells = {value: where for where, value in np.ndenumerate(table.to_numpy()) if value}
        assert len(cells) == len(frame)
        for i, line in frame.iterrows():
            down, across = cells[f"+{i}.0"]
            found = (*table.index[down], table.columns[across])
            assert list(map(str, found)) == [str(line[name]) for name in (*rows, column)]


def test_a_table_of_one_row_of_odd_names():
    one = pd.DataFrame({"target": ["<b>\n&"], "constraint": [NATURAL], "mean": [0.5]})
    table = sentences.text_table(one.assign(low=np.nan, high=np.nan), "target", "constraint")
    assert table.shape == (1, 1) and table.iloc[0, 0] == "+50.0"
    assert "<th>&lt;b&gt; &amp;</th>" in table.to_html()
    correlation = one.assign(low=0.25, high=0.75)
    assert sentences.text_table(correlation, "target", "constraint", unit="").iloc[0, 0] == (
        "0.50 [0.25, 0.75]"
    )


def test_names_in_a_styled_table_are_text():
    frame = pd.DataFrame(
        {"<b>&": [0.123, np.nan], "name": ["$x$ <i>\ny", None], "best": [NATURAL, "R&D"]},
        index=pd.Index([Constraint("x<&\ny"), 0.1], name="source"),
    )
    page = sentences.styled(frame, precision=1).to_html()
    cells = [html.unescape(cell) for cell in re.findall(r"<t[dh] [^>]*>([^<]*)<", page)]
    assert cells[:4] == ["\xa0", "<b>&", "name", "best"]
    assert cells[-8:] == ["x<& y", "0.1", "$x$ <i> y", "natural", "0.1", "", "", "R&D"]
    by_column = sentences.styled(frame, formatter={"<b>&": "{:+.2f}"}, na_rep="–").to_html()
    assert "+0.12" in by_column and "–" in by_column


def recommended(lows, best="a"):
    frame = pd.DataFrame(
        [(name, low + 0.02, low, low + 0.04) for name, low in lows.items()],
        columns=["constraint", "mean", "low", "high"],
    )
    return sentences.recommendation(best, frame)


def test_a_recommendation_says_how_sure_it_is():
    assert recommended({}) == "Only a was measured, so there is nothing to choose."
    assert recommended({"b": 0.01, "c": 0.05}) == (
        "Start from a: it is ahead of b by 3.0 points (1.0 to 5.0), and of the others by more."
    )
    assert recommended({"b": 0.01}) == "Start from a: it is ahead of b by 3.0 points (1.0 to 5.0)."
    assert recommended({"b": -0.01, "c": -0.005}) == (
        "No difference can be told between a, b and c; a has the highest mean."
    )
    some = recommended({"b": -0.01, "c": 0.05})
    assert some.startswith("Start from a or b: no difference can be told between them")
    assert some.endswith("is ahead of c by 7.0 points (5.0 to 9.0).")
    # One split tells nothing of the spread.
    assert "No difference can be told" in recommended({"b": np.nan})
    assert recommended({}, NATURAL).startswith("Only natural was measured")


def test_depths_in_words():
    assert [sentences.depth_in_words(k) for k in (0, 1, 2, -1)] == [
        "the head alone",
        "the head and the last block",
        "the head and the last 2 blocks",
        "everything",
    ]


def test_on_which_side_of_zero_the_intervals_lie():
    few = GAP[GAP["n_train"] == 20]
    assert sentences.sides(few[few["constraint"] == ROBUST], "target", link="on") == (
        "ahead on digits; behind on faces"
    )
    assert sentences.sides(few, "constraint", ("higher", "lower")) == (
        f"ℓ2 0.25 is higher; ℓ2 0.25 is lower; {NOTHING} for untrained"
    )
    both = few.assign(low=0.1, high=0.2, target=["a_b", "c", "d"])
    assert sentences.sides(both, "target") == r"a\_b, c and d are ahead"
    for say in (sentences.sides, sentences.series):
        assert say(pd.DataFrame(), "target") == "not measured in this run"
