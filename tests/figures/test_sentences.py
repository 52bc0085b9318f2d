"""What chapters say follows the numbers, whatever is missing and however things are called."""

import base64
import re
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import papermill
import pytest
from matplotlib import pyplot as plt
from samples import GAP, ROBUST, text_of

from lib.constraint import MIXED_TEXTURES, NATURAL, UNTRAINED
from lib.figures import estimates, sentences
from lib.figures.estimates import NOTHING, Estimate

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.xdist_group("sentences")  # a notebook is executed once, for all of them


@pytest.fixture
def displayed(monkeypatch):
    kept = []
    monkeypatch.setattr(sentences, "display", lambda shown: kept.append(shown.data))
    return kept


@pytest.fixture
def stored(monkeypatch):
    kept = {}

    def glue(name, value, display=True):
        kept[name] = value
        kept.setdefault("displayed", []).extend([name] * display)

    monkeypatch.setattr(sentences, "glue", glue)
    return kept


def test_what_is_said_is_markdown(displayed):
    sentences.say("With **one** row.")
    sentences.say_list("a", "b")
    sentences.say_table(("claim", "here"), ("x", "y"), ("z", ""), (Estimate(4.2, 1, 7), 3))
    table = "| claim | here |\n|---|---|\n| x | y |\n| z |  |\n"
    table += "| +4.2 points (95 % interval +1.0 to +7.0) | 3 |"
    assert displayed == ["With **one** row.", "- a\n- b", table]


def test_numbers_texts_and_figures_are_stored_for_other_pages(stored):
    figure = plt.figure()
    table = pd.DataFrame({"a": [1]}).style
    given = {"n": 3, "share": np.float32(0.5), "count": np.int64(2), "word": "higher"}
    sentences.quote(**given, figure=figure, table=table)
    assert stored.pop("displayed") == [] and stored.pop("table") is table
    assert stored == {"n": 3.0, "share": 0.5, "count": 2.0, "word": "higher", "figure": figure}
    assert {type(stored[name]) for name in ("n", "share", "count")} == {float}
    assert plt.get_fignums() == []  # else the cell would show it as well


def test_a_figure_that_another_page_quotes_is_shown_and_no_other_stays_open(stored):
    plt.figure()
    figure = plt.figure()
    sentences.show(evidence=figure)
    assert stored == {"evidence": figure, "displayed": ["evidence"]} and plt.get_fignums() == []


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """A notebook as papermill leaves it: the answer above, what it rests on below."""
    cells = [
        "from lib.figures import plots, sentences, tables\nplots.begin('cpu');",
        "answer = sentences.Answer()",
        "fig, axes = plots.panels(1)\nsentences.say('A *figure*.')",
        "answer('So.')\nanswer('It is +4.2 points.', at=0)\nanswer.say()",
        "import pandas as pd\ntables.styled(pd.DataFrame({'a': ['$x$ <b>']}))",
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
    assert shown.data["text/markdown"] == "**In short.** It is +4.2 points. So."
    assert set(shown.data) == {"text/markdown", "text/plain"}
    *said, kept, listed = executed[3]  # where it is measured, and all of it at the end
    assert [s.data["text/markdown"] for s in said] == ["So.", "It is +4.2 points."]
    assert kept.data == {"application/papermill.record/text/plain": "'It is +4.2 points. So.'"}
    assert listed.data["text/markdown"] == "- It is +4.2 points.\n- So."
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


def test_where_there_is_no_notebook_the_answer_is_only_kept(stored, displayed):
    answer = sentences.Answer()
    answer("so")
    answer.say()
    assert stored == {"answer": "so", "displayed": []} and displayed == ["so", "- so"]


def test_a_cell_that_is_run_again_says_its_sentence_anew(stored):
    answer = sentences.Answer()
    below = "answer(f'two: {n}')\n\nanswer(\n    f'first: {n}',\n    at=0,\n)"
    cells = [compile("answer(f'one: {n}')", "cell 1", "exec"), compile(below, "cell 2", "exec")]
    runs = {
        "first: 0 one: 0 two: 0": cells,
        "first: 1 one: 1 two: 1": cells,
        "first: 2 one: 1 two: 2": cells[1:],
        "first: 2 one: 3 two: 2": cells[:1],
    }
    for n, (said, several) in enumerate(runs.items()):
        for cell in several:
            exec(cell, {"answer": answer, "n": n})
        answer.say()
        assert stored["answer"] == said
    exec("# A cell that was changed, but says the same.\nanswer('one: 3')", {"answer": answer})
    answer.say()
    assert stored["answer"] == said


def test_what_differences_are_is_said_above_them(displayed):
    sentences.say_differences(GAP, ["target", "n_train"], "radii")
    how = {"words": estimates.HIGHER, "of": ROBUST, "what": "match rate"}
    sentences.say_differences(GAP, ["target", "n_train"], **how)
    sentences.say_differences(GAP[:0], "target")
    sentences.say_differences(GAP[:1], "target", of=ROBUST, other="random weights")
    every, of_one, none, over_others = displayed
    assert over_others.startswith("In accuracy, ℓ2 0.25 differs from random weights by so many")
    ends = "differs from natural sources by so many points, as a mean over the"
    intervals = ", with 95 % intervals:"
    assert every.startswith(f"In accuracy, each source {ends} radii{intervals}\n\n- ")
    assert of_one.startswith(f"In match rate, ℓ2 0.25 {ends} sizes{intervals}\n\n- ")
    assert of_one.split("\n\n")[1] == (
        "- digits, N = 20: +4.2 [+1.0, +7.4], higher\n"
        "- digits, N = 40: +1.0 [-2.0, +4.0], no difference can be told\n"
        "- faces, N = 20: -3.0 [-5.0, -1.0], lower"
    )
    assert every.count("\n- ") == len(GAP) and none.endswith(":\n\nnot measured in this run")


def test_single_seeds_in_order():
    frame = GAP[:1].assign(of_seeds=[(0.97, 0.0, 0.494)])
    told = estimates.of_seeds(frame, NATURAL, ROBUST)
    assert told == "natural: not known; ℓ2 0.25: 0, 49, 97"
    assert estimates.of_seeds(frame[:0], ROBUST) == "ℓ2 0.25: not known"


def test_the_sides_of_one_source_are_said_with_its_name(displayed):
    at_most = GAP[GAP["n_train"] == 20]
    for part in (at_most, at_most[:1], at_most[1:2], at_most.assign(low=-1.0, high=1.0), GAP[:0]):
        sentences.say_standing(part, "target", ROBUST, link="on")
    sentences.say_standing(at_most, "target", ROBUST, link="on", called="it")
    unsure = pd.concat([at_most[:1], at_most[:1].assign(target="a_b", low=-0.1)])
    sentences.say_standing(unsure, "target", ROBUST, link="on")
    against = [
        sentences.standing(part, "target", ROBUST, link="on", other="noise")
        for part in (at_most, at_most[1:2], at_most.assign(low=-1.0, high=1.0), GAP[:0])
    ]
    assert against == [
        "ℓ2 0.25 is ahead of noise on digits, and behind on faces",
        "ℓ2 0.25 is behind noise on faces",
        "no difference between ℓ2 0.25 and noise can be told on digits and faces",
        "ℓ2 0.25 and noise: not measured in this run",
    ]
    nothing = "No difference between ℓ2 0.25 and natural sources can be told on"
    assert displayed == [
        "ℓ2 0.25 is ahead of natural sources on digits, and behind on faces.",
        "ℓ2 0.25 is ahead of natural sources on digits.",
        "ℓ2 0.25 is behind natural sources on faces.",
        f"{nothing} digits and faces.",
        "ℓ2 0.25 and natural sources: not measured in this run.",
        "It is ahead of natural sources on digits, and behind on faces.",
        r"ℓ2 0.25 is ahead of natural sources on digits; no difference can be told on a\_b.",
    ]


def test_sources_are_compared_one_after_another():
    few = GAP[GAP["n_train"] == 20]
    faces, called = few[few["target"] == "faces"], {ROBUST: "the robust one", UNTRAINED: "luck"}
    assert sentences.compared(faces, called) == (
        "the robust one is 3.0 points behind natural sources (95 % interval 1.0 to 5.0); no "
        "difference between luck and natural sources can be told (-10.0 points, without an "
        "interval)"
    )
    assert sentences.compared(few[:1], called).startswith("the robust one is 4.2 points ahead of")
    assert sentences.compared(few[:0], called) == (
        "the robust one and luck: not measured in this run"
    )


def test_series_of_estimates():
    line = sentences.series(GAP[:2], "n_train")
    assert line == "N = 20: +4.2 [+1.0, +7.4]; N = 40: +1.0 [-2.0, +4.0]"
    one = sentences.series(GAP, "target", estimates.HIGHER, of=UNTRAINED)
    assert one == "faces: -10.0, no difference can be told"
    escaped = sentences.series(GAP[3:].assign(target="a_b"), ["target", "constraint"])
    assert escaped == r"a\_b, untrained: -10.0"
    assert sentences.series(GAP[2:], "constraint", unit="%") == (
        "ℓ2 0.25: -3.0 [-5.0, -1.0]; untrained: -10.0"
    )
    assert (
        sentences.series(GAP[:1], "target", unit="", signed=True) == "digits: +0.04 [+0.01, +0.07]"
    )


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


def test_image_sets_are_listed(render, displayed):
    class Some(list):
        classes = ("a", "b")

    splits = {"digits": (Some([0] * 1234), Some([0] * 3)), "my_*photos*": (Some([0]), Some())}
    sentences.say_sets(splits, {"digits": "**digits** of optdigits"})
    sentences.say_sets({}, {}, ["*a* is small"])
    taken, above, found = displayed
    items = [text_of(item) for item in re.findall("<li>(.*)</li>", render(taken))]
    assert items == [
        "digits of optdigits: 2 classes, 1,234 training and 3 test images",
        "my_*photos*: 2 classes, 1 training and 0 test images",
    ]
    assert above.endswith(":") and text_of(render(found)).strip() == "*a* is small"


def test_depths_in_words():
    assert [sentences.depth_in_words(k) for k in (0, 1, 2, -1)] == [
        "the head alone",
        "the head and the last block",
        "the head and the last 2 blocks",
        "everything",
    ]


def test_on_which_side_of_zero_the_intervals_lie():
    few = GAP[GAP["n_train"] == 20]
    assert sentences.sides(few, "target", link="on", of=ROBUST) == (
        "ahead on digits; behind on faces"
    )
    assert sentences.sides(few, "constraint", estimates.HIGHER) == (
        f"ℓ2 0.25 is higher; ℓ2 0.25 is lower; {NOTHING} for untrained"
    )
    told = ("rises", "falls", "no change can be told")
    assert sentences.sides(few, "target", told, link="on", of=UNTRAINED) == f"{told[2]} on faces"
    many = pd.DataFrame({"target": range(9), "low": -1.0, "high": 1.0})
    assert sentences.sides(many, "target", link="on") == f"{NOTHING} on all 9"
    many.loc[9] = 9, 0.5, 1.0
    assert sentences.sides(many, "target", link="on") == f"ahead on 9; {NOTHING} on the other 9"
    both = few.assign(low=0.1, high=0.2, target=["a_b", "c", "d"])
    assert sentences.sides(both, "target") == r"a\_b, c and d are ahead"
    for say in (sentences.sides, sentences.series):
        assert say(pd.DataFrame(), "target") == "not measured in this run"
