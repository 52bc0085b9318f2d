import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex

from lib.constraint import NATURAL, Constraint
from lib.figures import advice_plots
from lib.figures.looks import VERMILLION, look

BEST, WEAK = Constraint("l2", 0.5), Constraint("l2", 0.1)


@pytest.fixture
def ax():
    _, ax = plt.subplots()
    yield ax
    plt.close("all")


def test_sources_stand_behind_the_best_by_what_it_is_ahead(ax):
    ahead = pd.DataFrame(
        [(NATURAL, 0.02, -0.01, 0.05), (WEAK, 0.1, 0.06, 0.14)],
        columns=["constraint", "mean", "low", "high"],
    )
    advice_plots.behind(BEST, ahead, ax)
    bars = list(ax.containers)
    for bar, place, (mean, left, right) in zip(
        bars, (0, 1), ((-2, -5, 1), (-10, -14, -6)), strict=True
    ):
        assert bar[0].get_xydata().tolist() == [[pytest.approx(mean), place]]
        ((start, end),) = bar[2][0].get_segments()
        assert (start[0], end[0]) == (pytest.approx(left), pytest.approx(right))
    # The colours are those that the sources have where the best is drawn with them.
    everywhere = [NATURAL, WEAK, BEST]
    assert to_hex(bars[1][0].get_color()) == to_hex(look(WEAK, everywhere)["color"])
    assert [len(bar[1]) for bar in bars] == [2, 2]  # caps
    assert [label.get_text() for label in ax.get_yticklabels()] == ["natural", "ℓ2 0.1"]


def test_behind_the_only_source_there_is_nothing(ax):
    none = pd.DataFrame(columns=["constraint", "mean", "low", "high"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        advice_plots.behind(BEST, none, ax)
        ax.figure.canvas.draw()
    assert ax.get_ylim() == (0.5, -0.5) and not ax.containers


def test_flips_found_are_drawn_beside_chance(ax):
    frame = pd.DataFrame(
        [(r, c, min(3 * c, 1)) for r in ("self-influence", "harm") for c in (0, 0.1, 0.2)],
        columns=["ranking", "checked", "mean"],
    )
    advice_plots.flips_found(frame.assign(low=frame["mean"] - 0.1, high=frame["mean"] + 0.1), ax)
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
    fig = advice_plots.doubtful(x, tables, classes)
    first, second, third, empty = fig.axes
    assert torch.allclose(torch.tensor(first.images[0].get_array()), x[4].permute(1, 2, 0))
    assert [text.get_text() for text in first.texts] == ["a", "says a class with…"]
    assert to_hex(first.texts[1].get_color()) == to_hex(VERMILLION)
    assert to_hex(second.texts[1].get_color()) != to_hex(VERMILLION)
    assert third.images and not empty.images
    plt.close(fig)


def test_the_table_names_the_images():
    names = ["0", "1", "left/2.png", "3", "right/4.png"]
    table = advice_plots.suspects(suspects(), names, ("left", "right"))
    assert table.iloc[0].tolist() == ["right/4.png", "left", "right", "92", "1.23", "2.00"]
    assert table["image"].tolist() == ["right/4.png", "left/2.png"]


def test_small_influences_are_no_zeros():
    values = {"self-influence": [0.001, 0.0], "harm": [-4.2e-6, 0.000012]}
    table = advice_plots.suspects(suspects().assign(**values), list("01234"), ("left", "right"))
    assert table["self-influence"].tolist() == ["0.0010", "0.00"]
    assert table["harm × 1000"].tolist() == ["-0.0042", "0.012"]


def test_classes_are_named_as_they_are():
    odd = ("$a$ & $b$", "<c>\nd")
    fig = advice_plots.doubtful(torch.rand(5, 3, 8, 8), {"harm": suspects()}, odd)
    fig.canvas.draw()
    drawn = [text._preprocess_math(text.get_text()) for text in fig.axes[0].texts]
    assert drawn == [("$a$ & $b$", False), ("says <c> d", False)]
    table = advice_plots.suspects(suspects(), list("01234"), odd)
    assert table.iloc[0, 1:3].tolist() == ["$a$ & $b$", "<c> d"]
    plt.close(fig)


def test_of_one_split_there_are_leads_without_whiskers(ax):
    ahead = pd.DataFrame([(NATURAL, 0.02)], columns=["constraint", "mean"])
    advice_plots.behind(BEST, ahead.assign(low=np.nan, high=np.nan), ax)
    frame = pd.DataFrame([("harm", 0.0, 0.0), ("harm", 1.0, 1.0)])
    frame = frame.set_axis(["ranking", "checked", "mean"], axis=1)
    advice_plots.flips_found(frame.assign(low=np.nan, high=np.nan), ax)
    ax.figure.canvas.draw()
    ((line, _, (whiskers,)),) = ax.containers
    assert line.get_xydata().tolist() == [[-2, 0]]
    assert not any(len(segment) for segment in whiskers.get_segments())


def test_the_outlook_has_the_mean_over_the_classes_beside_the_accuracy():
    accuracy = pd.DataFrame(
        [(NATURAL, 0.96, 0.9, 0.98, 0.5), (BEST, 0.97, 0.9, 0.99, 0.8)],
        columns=["constraint", "mean", "low", "high", "balanced"],
    )
    gains = pd.DataFrame({"constraint": [NATURAL, BEST], "mean": [0.1, np.nan]})
    gains = gains.assign(low=np.nan, high=np.nan, miss=np.nan)
    table = advice_plots.outlook(accuracy, gains)
    assert table.loc["ℓ2 0.5"].tolist() == ["97.0 [90.0, 99.0]", "80.0", "unknown", "unknown"]
    assert table.iloc[1, 1:].tolist() == ["50.0", "+10.0", "unknown"]
