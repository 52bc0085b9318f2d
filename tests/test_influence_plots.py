import matplotlib
import numpy as np
import pandas as pd
import pytest

matplotlib.use("Agg")

from matplotlib import pyplot as plt

from lib import influence_plots


@pytest.fixture
def ax():
    _, ax = plt.subplots()
    yield ax
    plt.close("all")


def frame(**columns):
    rows = pd.DataFrame(columns)
    return rows.assign(low=rows["mean"] - 0.1, high=rows["mean"] + 0.1)


def test_a_matrix_is_sorted_by_class(ax):
    row_y, column_y = np.array([1, 0, 1]), np.array([1, 0, 1, 0])
    scores = np.where(row_y[:, None] == column_y, 1.0, -1.0)
    influence_plots.matrix(scores, row_y, column_y, ax)
    drawn = ax.images[0].get_array()
    assert drawn.tolist() == [[1, 1, -1, -1], [-1, -1, 1, 1], [-1, -1, 1, 1]]
    low, high = ax.images[0].get_clim()
    assert low == -high
    at = [tuple(np.ravel(line.get_data()[k])[:1]) for line, k in zip(ax.lines, (1, 0), strict=True)]
    assert at == [(0.5,), (1.5,)]  # after the one row and the two columns of class 0


def test_match_rate_against_rank(ax):
    rows = frame(source=["natural"] * 3, rank=[1, 2, 3], mean=[0.9, 0.5, 0.2])
    influence_plots.against_rank(rows, 0.1, ax)
    curve, chance = ax.lines
    assert curve.get_ydata().tolist() == [90, 50, 20] and curve.get_marker() == ""
    assert chance.get_ydata()[0] == 10


def test_match_rate_against_damping_has_a_line_for_each_training(ax):
    rows = frame(
        source=["natural"] * 6, epochs=[0, 0, 15, 15, 150, 150], damping=[0.1, 1] * 3,
        mean=[0.5, 0.6, 0.1, 0.2, 0.3, 0.4],
    )  # fmt: skip
    influence_plots.against_rule(rows, ax, x="damping", label="damping")
    assert [line.get_ydata().tolist() for line in ax.lines] == [[10, 20], [30, 40], [50, 60]]
    widths = [line.get_linewidth() for line in ax.lines]
    assert widths == sorted(widths) and ax.get_xscale() == "log"
    said = [line.get_label() for line in ax.lines]
    assert said == ["natural, 15 epochs", "natural, 150 epochs", "natural, to the optimum"]


def test_definitions_side_by_side(ax):
    rows = frame(
        source=["natural", "ℓ2 0.25"] * 2, definition=["a", "a", "b", "b"],
        mean=[0.5, 0.6, 0.7, 0.8],
    )  # fmt: skip
    influence_plots.by_definition(rows, ax)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["a", "b"]
    points = [container.lines[0].get_data() for container in ax.containers]
    assert [y.tolist() for _, y in points] == [[50, 70], [60, 80]]
    assert (points[0][0] < points[1][0]).all()
    assert np.round(np.asarray(points[0][0], float)).tolist() == [0, 1]


def test_predicted_and_actual_on_one_scale(ax):
    influence_plots.predicted_against_actual([-0.1, 0, 0.001], [-0.2, 0, 0.002], "natural", ax)
    points = ax.collections[0].get_offsets()
    assert np.asarray(points).tolist() == [[-0.1, -0.2], [0, 0], [0.001, 0.002]]
    ax.figure.canvas.draw()
    (diagonal,) = ax.lines
    assert diagonal.get_xdata().tolist() == diagonal.get_ydata().tolist()
    ticks = [tick.get_text() for tick in ax.get_xticklabels()]
    assert ticks == ["-0.1", "0", "0.1"] and ax.get_xlim() == ax.get_ylim()


def test_of_very_many_pairs_some_are_drawn(ax, monkeypatch):
    monkeypatch.setattr(influence_plots, "POINTS", 50)
    predicted, actual = np.arange(400.0).reshape(20, 20), np.arange(400.0, 800).reshape(20, 20)
    influence_plots.predicted_against_actual(predicted, actual, "natural", ax)
    points = np.asarray(ax.collections[0].get_offsets())
    assert len(points) == len(np.unique(points[:, 0])) == 50
    assert (points[:, 1] - points[:, 0] == 400).all()  # pairs stay together
    assert len(np.unique(points[:, 0] % 20)) > 10  # of all columns


def test_found_against_checked(ax):
    rows = frame(
        source=["natural"] * 4, ranking=["self-influence"] * 2 + ["loss"] * 2,
        checked=[0, 1, 0, 1], mean=[0.0, 1.0, 0.2, 0.8],
    )  # fmt: skip
    influence_plots.found_against_checked(rows, ax)
    own, loss, chance = ax.lines
    assert own.get_data()[1].tolist() == [0, 100] and own.get_xdata().tolist() == [0, 100]
    assert loss.get_ydata().tolist() == [20, 80] and loss.get_linestyle() == ":"
    assert chance.get_ydata().tolist() == [0, 100]
    assert [line.get_label() for line in ax.lines] == ["natural", "natural, by loss", "chance"]


def test_the_most_helpful_and_most_harmful_images():
    x_train = np.stack([np.full((3, 4, 4), i / 10) for i in range(6)])
    figure = influence_plots.most_influential(
        np.zeros((3, 4, 4)),
        "cat",
        {"natural": [0.1, 0.9, 0.2, -0.3, -0.9, 0.0], "robust": [5, 4, 3, 2, 1, 0]},
        x_train,
        ["cat", "dog", "cat", "dog", "cat", "dog"],
        count=2,
    )
    texts = [[text.get_text() for text in ax.texts] for ax in figure.axes]
    assert texts == [
        ["cat", "dog", "cat"], ["cat", "cat", "dog"], ["cat", "cat", "dog"], ["cat", "dog", "cat"],
    ]  # fmt: skip
    helpful = figure.axes[0]
    colours = [text.get_color() for text in helpful.texts]
    assert colours[1] == influence_plots.VERMILLION and colours[2] == influence_plots.DARK
    sheet = helpful.images[0].get_array()
    assert sheet[6, 6, 0] == pytest.approx(0.1) and sheet[6, 12, 0] == pytest.approx(0.2)
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert titles == [
        "natural: most helpful", "natural: most harmful",
        "robust: most helpful", "robust: most harmful",
    ]  # fmt: skip
    plt.close("all")
