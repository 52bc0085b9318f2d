import pandas as pd
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex

from lib import advice_plots
from lib.plots import VERMILLION, look


@pytest.fixture
def ax():
    _, ax = plt.subplots()
    yield ax
    plt.close("all")


def test_sources_stand_behind_the_best_by_what_it_is_ahead(ax):
    ahead = pd.DataFrame(
        [("natural", 0.02, -0.01, 0.05), ("ℓ2 0.1", 0.1, 0.06, 0.14)],
        columns=["source", "mean", "low", "high"],
    )
    advice_plots.behind("ℓ2 0.5", ahead, ax)
    bars = list(ax.containers)
    for bar, place, (mean, left, right) in zip(
        bars, (0, 1), ((-2, -5, 1), (-10, -14, -6)), strict=True
    ):
        assert bar[0].get_xydata().tolist() == [[pytest.approx(mean), place]]
        ((start, end),) = bar[2][0].get_segments()
        assert (start[0], end[0]) == (pytest.approx(left), pytest.approx(right))
    # The colours are those that the sources have where the best is drawn with them.
    everywhere = ["natural", "ℓ2 0.1", "ℓ2 0.5"]
    assert to_hex(bars[1][0].get_color()) == to_hex(look("ℓ2 0.1", everywhere)["color"])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["natural", "ℓ2 0.1"]


def test_everything_stands_after_the_deepest(ax):
    frame = pd.DataFrame(
        [("natural", 0, 0.5), ("natural", -1, 0.9), ("natural", 2, 0.7), ("other", -1, 0.8)],
        columns=["source", "unfrozen_blocks", "mean"],
    )
    frame = frame.assign(low=frame["mean"] - 0.1, high=frame["mean"] + 0.05)
    advice_plots.against_depth(frame, ax)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0", "2", "all"]
    drawn = ax.containers[0][0].get_xydata()
    assert drawn[:, 0].round().tolist() == [0, 2, 1]
    assert drawn[:, 1].tolist() == [50, 90, 70]
    assert ax.containers[1][0].get_xydata()[0, 0] > drawn[1, 0]


def test_flips_found_are_drawn_beside_chance(ax):
    frame = pd.DataFrame(
        [(r, c, min(3 * c, 1)) for r in ("self-influence", "harm") for c in (0, 0.1, 0.2)],
        columns=["ranking", "checked", "mean"],
    )
    advice_plots.found(frame.assign(low=frame["mean"] - 0.1, high=frame["mean"] + 0.1), ax)
    lines = {line.get_label(): line.get_xydata().tolist() for line in ax.lines}
    assert lines["chance"] == [[0, 0], [20, 20]]
    flat = [value for point in lines["harm"] for value in point]
    assert flat == pytest.approx([0, 0, 10, 30, 20, 60])


def suspects():
    return pd.DataFrame(
        {
            "label": [0, 1],
            "answer": [1, 1],
            "sure": [0.915, 0.6],
            "self-influence": [1.234, 0.5],
            "harm": [0.002, -0.001],
        },
        index=[4, 2],
    )


def test_doubtful_images_are_shown_with_label_and_answer():
    x = torch.rand(5, 3, 8, 8)
    classes = ("a", "a class with a long name")
    tables = {"harm": suspects(), "other": suspects().head(1)}
    fig = advice_plots.doubtful(x, tables, classes, count=2)
    first, second, third, empty = fig.axes
    assert torch.allclose(torch.tensor(first.images[0].get_array()), x[4].permute(1, 2, 0))
    assert [text.get_text() for text in first.texts] == ["a", "says a class with…"]
    assert to_hex(first.texts[1].get_color()) == to_hex(VERMILLION)
    assert to_hex(second.texts[1].get_color()) != to_hex(VERMILLION)
    assert third.images and not empty.images
    plt.close(fig)


def test_the_table_names_the_images():
    names = ["0", "1", "left/2.png", "3", "right/4.png"]
    table = advice_plots.told(suspects(), names, ("left", "right"))
    assert table.iloc[0].tolist() == ["right/4.png", "left", "right", "92", "1.23", "2.00"]
    assert table["image"].tolist() == ["right/4.png", "left/2.png"]
