import base64
import html
import re

import ipywidgets
import pytest
from matplotlib import pyplot as plt

from lib.figures.widgets import slider

PICTURE = r'<img alt="(?P<alt>[^"]*)" src="data:image/png;base64,(?P<content>[^"]*)">'


@pytest.fixture(autouse=True)
def closed():
    plt.close("all")
    yield
    plt.close("all")


def figures(count):
    """Figures of different colours."""
    made = []
    for i in range(count):
        made.append(plt.figure(figsize=(1, 1)))
        made[-1].patch.set_facecolor((i / 5, 0, 0))
    return made


def test_a_slider_that_works_without_a_kernel():
    made = figures(3)
    box = slider("ε", [0, 0.25, 0.5], made)
    chooser, stack = box.children
    assert isinstance(chooser, ipywidgets.SelectionSlider) and isinstance(stack, ipywidgets.Stack)
    assert chooser.description == "ε"
    assert [label for label, _ in chooser.options] == ["0", "0.25", "0.5"]
    assert chooser.index == stack.selected_index == 0
    found = [re.fullmatch(PICTURE, page.value) for page in stack.children]
    pictures = [base64.b64decode(match["content"]) for match in found]
    assert all(picture.startswith(b"\x89PNG") for picture in pictures) and len(set(pictures)) == 3
    # Each picture says what it shows.
    assert [match["alt"] for match in found] == ["ε 0", "ε 0.25", "ε 0.5"]
    assert plt.get_fignums() == []


def test_the_browser_links_the_two():
    made = []
    original = ipywidgets.jslink

    def watched(source, target):
        made.append((source, target, original(source, target)))
        return made[-1][2]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ipywidgets, "jslink", watched)
        chooser, stack = slider("ε", "ab", figures(2)).children
    (source, target, link) = made[0]
    assert source == (chooser, "index") and target == (stack, "selected_index")
    assert link.source == source and link.target == target
    assert len(made) == 1


def test_equal_options_are_told_apart():
    chooser, _ = slider("step", ["a", "a"], figures(2)).children
    assert [value for _, value in chooser.options] == [0, 1]


@pytest.mark.parametrize(("options", "count"), [([0, 1], 3), ([0, 1, 2], 2)])
def test_one_option_for_each_figure(options, count):
    with pytest.raises(ValueError, match=f"{len(options)} options for {count} figures"):
        slider("ε", options, figures(count))


def test_another_picture_may_be_shown_first():
    chooser, stack = slider("ε", [0, 0.25, 0.5], figures(3), start=2).children
    assert chooser.index == stack.selected_index == 2


def test_an_odd_name_is_one_line_of_text():
    chooser, stack = slider("class", ['<b> & "c"\nd'], figures(1)).children
    assert [label for label, _ in chooser.options] == ['<b> & "c" d']
    alt = re.fullmatch(PICTURE, stack.children[0].value)["alt"]
    assert html.unescape(alt) == 'class <b> & "c" d'
