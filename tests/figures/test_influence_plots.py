import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import pyplot as plt

from lib.constraint import NATURAL, Constraint
from lib.figures import influence_plots
from lib.images import Images
from lib.softmax_head import Seen
from lib.studies.attribution import Example

ROBUST = Constraint("l2", 0.25)


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
    rows = frame(constraint=[NATURAL] * 3, rank=[1, 2, 3], mean=[0.9, 0.5, 0.2], chance=[0.1] * 3)
    influence_plots.against_rank(rows, ax)
    curve, chance = ax.lines
    assert curve.get_ydata().tolist() == [90, 50, 20] and curve.get_marker() == ""
    assert chance.get_ydata()[0] == 10


def test_match_rate_against_damping_has_a_line_for_each_training(ax):
    rows = frame(
        constraint=[NATURAL] * 6, epochs=[0, 0, 15, 15, 150, 150], damping=[0.1, 1] * 3,
        cutoff=[0.0] * 6, mean=[0.5, 0.6, 0.1, 0.2, 0.3, 0.4],
    )  # fmt: skip
    influence_plots.against_rule(rows, ax)
    assert ax.get_xlabel() == "damping"
    assert [line.get_ydata().tolist() for line in ax.lines] == [[10, 20], [30, 40], [50, 60]]
    widths = [line.get_linewidth() for line in ax.lines]
    assert widths == sorted(widths) and ax.get_xscale() == "log"
    said = [line.get_label() for line in ax.lines]
    assert said == ["natural, 15 epochs", "natural, 150 epochs", "natural, to the optimum"]


def test_match_rate_against_the_cut_off(ax):
    cutoff = {"damping": [0.0, 0.0], "cutoff": [0.05, 0.2]}
    rows = frame(constraint=[NATURAL] * 2, epochs=[150, 150], mean=[0.5, 0.6], **cutoff)
    influence_plots.against_rule(rows, ax)
    assert ax.lines[0].get_xdata().tolist() == [0.05, 0.2] and ax.get_xlabel() == "cut-off"
    ax.figure.canvas.draw()
    ticks = [float(label.get_text()) for label in ax.get_xticklabels()]  # plain numbers
    assert 0.1 in ticks and ticks == pytest.approx(ax.get_xticks())


def test_rules_have_a_row_of_panels_each_and_a_column_for_each_target():
    rows = frame(
        constraint=[NATURAL] * 4, epochs=[1] * 4, target=["faces", "faces", "digits", "digits"],
        damping=[0.1, 0, 0.1, 0], cutoff=[0, 0.2, 0, 0.2], mean=[0.1, 0.2, 0.3, 0.4],
    )  # fmt: skip
    figure = influence_plots.against_rules(rows)
    titles = [ax.get_title() for ax in figure.axes]
    assert titles == ["faces, damping", "digits, damping", "faces, cut-off", "digits, cut-off"]
    assert [ax.lines[0].get_ydata()[0] for ax in figure.axes] == [10, 30, 20, 40]
    assert figure.axes[0].lines[0].get_label() == "natural, 1 epoch"
    plt.close(figure)


def test_definitions_side_by_side(ax):
    rows = frame(
        constraint=[ROBUST, NATURAL] * 2, definition=["a", "a", "b", "b"],
        mean=[0.6, 0.5, 0.8, 0.7],
    )  # fmt: skip
    influence_plots.by_definition(rows, ax)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["a", "b"]
    points = [container.lines[0].get_data() for container in ax.containers]
    assert [container.get_label() for container in ax.containers] == ["natural", "ℓ2 0.25"]
    for line, caps, (whiskers,) in (container.lines for container in ax.containers):
        assert line.get_linestyle() == "None" and not caps
        assert whiskers.get_linewidth()[0] == 1.2
    assert [y.tolist() for _, y in points] == [[50, 70], [60, 80]]
    assert (points[0][0] < points[1][0]).all()
    assert np.round(np.asarray(points[0][0], float)).tolist() == [0, 1]


def test_predicted_and_actual_on_one_scale(ax):
    influence_plots.predicted_against_actual([-0.1, 0, 0.001], [-0.2, 0, 0.002], NATURAL, ax)
    points = ax.collections[0].get_offsets()
    assert np.asarray(points).tolist() == [[-0.1, -0.2], [0, 0], [0.001, 0.002]]
    ax.figure.canvas.draw()
    (diagonal,) = ax.lines
    assert diagonal.get_xdata().tolist() == diagonal.get_ydata().tolist()
    ticks = [tick.get_text() for tick in ax.get_xticklabels()]
    assert ticks == ["-0.1", "0", "0.1"] and ax.get_xlim() == ax.get_ylim()


def test_networks_side_by_side_have_the_slope_of_their_points():
    changes = {
        (name, 0): (np.array([1.0, 2.0]), np.array([2.0, 4.0])) for name in (NATURAL, ROBUST)
    }
    figure = influence_plots.leave_one_out(changes)
    titles = [ax.get_title() for ax in figure.axes]
    assert titles == ["natural source, slope 2.0", "ℓ2 0.25 source, slope 2.0"]
    plt.close(figure)


def test_of_very_many_pairs_some_are_drawn(ax, monkeypatch):
    monkeypatch.setattr(influence_plots, "POINTS", 50)
    predicted, actual = np.arange(400.0).reshape(20, 20), np.arange(400.0, 800).reshape(20, 20)
    influence_plots.predicted_against_actual(predicted, actual, NATURAL, ax)
    points = np.asarray(ax.collections[0].get_offsets())
    assert len(points) == len(np.unique(points[:, 0])) == 50
    assert (points[:, 1] - points[:, 0] == 400).all()  # pairs stay together
    assert len(np.unique(points[:, 0] % 20)) > 10  # of all columns


def test_found_against_checked(ax):
    rows = frame(
        constraint=[NATURAL] * 4, ranking=["self-influence"] * 2 + ["loss"] * 2,
        checked=[0, 1, 0, 1], mean=[0.0, 1.0, 0.2, 0.8],
    )  # fmt: skip
    influence_plots.found_against_checked(rows, ax)
    own, loss, chance = ax.lines
    assert own.get_data()[1].tolist() == [0, 100] and own.get_xdata().tolist() == [0, 100]
    assert loss.get_ydata().tolist() == [20, 80] and loss.get_linestyle() == ":"
    assert chance.get_ydata().tolist() == [0, 100]
    assert [line.get_label() for line in ax.lines] == ["natural", "natural, by loss", "chance"]


def images(y, classes):
    """Make grey images, each a tenth brighter than the one before."""
    grey = (25.5 * torch.arange(len(y))).to(torch.uint8)
    return Images(grey[:, None, None, None].expand(-1, 3, 4, 4), torch.tensor(y), classes)


def example(scores, members, labelled):
    """Make what is drawn of a network that was trained on some of the images."""
    seen = Seen(None, None, labelled.y[members])
    return Example(torch.tensor(members), seen, seen, torch.tensor(scores), torch.tensor(scores))


def test_the_most_helpful_and_most_harmful_images():
    labelled = images([0, 0, 1, 0, 1, 0, 1], ("cat", "dog"))
    members = [1, 2, 3, 4, 5, 6]  # cat dog cat dog cat dog
    found = {
        (NATURAL, 0): example([[0.0] * 6, [0.1, 0.9, 0.2, -0.3, -0.9, 0.0]], members, labelled),
        (ROBUST, 0): example([[0] * 6, [5, 4, 3, 2, 1, 0]], members, labelled),
    }
    held_out = images([1, 0], ("cat", "dog"))
    figure = influence_plots.most_influential(1, labelled, held_out, found, count=2)
    texts = [[text.get_text() for text in ax.texts] for ax in figure.axes]
    assert texts == [
        ["cat", "dog", "cat"], ["cat", "cat", "dog"], ["cat", "cat", "dog"], ["cat", "dog", "cat"],
    ]  # fmt: skip
    helpful = figure.axes[0]
    colours = [text.get_color() for text in helpful.texts]
    assert colours[1] == influence_plots.VERMILLION and colours[2] == influence_plots.DARK
    sheet = helpful.images[0].get_array()
    assert np.asarray(sheet)[-3, [0, 6, 12], 0] == pytest.approx([0.1, 0.2, 0.3], abs=0.01)
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert titles == [
        "natural: most helpful", "natural: most harmful",
        "ℓ2 0.25: most helpful", "ℓ2 0.25: most harmful",
    ]  # fmt: skip
    plt.close("all")


def test_a_gallery_has_a_test_image_of_each_class():
    both = images([1, 1, 0], ("cat", "dog"))
    found = {(NATURAL, 0): example([[1, 2, 3]] * 3, [0, 1, 2], both)}
    names, figures = influence_plots.gallery(both, both, found)
    assert names == ["cat", "dog"]
    assert [figure.axes[0].texts[0].get_text() for figure in figures] == names
    plt.close("all")


def test_a_class_is_named_as_it_is():
    both = images([1, 0], ("$a$ & $b$", "<c>\nd"))
    found = {(NATURAL, 0): example([[1, 2]], [0, 1], both)}
    figure = influence_plots.most_influential(0, both, both, found, count=2)
    figure.canvas.draw()
    drawn = [text._preprocess_math(text.get_text()) for text in figure.axes[0].texts]
    assert drawn == [("<c> d", False), ("$a$ & $b$", False), ("<c> d", False)]
    colours = [text.get_color() for text in figure.axes[0].texts]
    assert colours == [influence_plots.BLUE, influence_plots.VERMILLION, influence_plots.DARK]
    plt.close(figure)


def test_matrices_of_networks_side_by_side():
    labelled = images([1, 0], ("cat", "dog"))
    found = {(name, 0): example([[1, -1], [-1, 1]], [0, 1], labelled) for name in (NATURAL, ROBUST)}
    figure = influence_plots.matrices(found)
    assert [ax.get_title() for ax in figure.axes] == ["natural source", "ℓ2 0.25 source", "", ""]
    assert figure.axes[2].get_ylabel() == "test images"
    plt.close(figure)


def test_of_one_draw_there_are_means_without_intervals(ax):
    once = pd.DataFrame({"constraint": [NATURAL], "mean": [0.5], "low": np.nan, "high": np.nan})
    once = once.assign(rank=1, epochs=0, damping=0.1, cutoff=0.0, definition="a", checked=0.2)
    influence_plots.against_rank(once.assign(chance=0.1), ax)
    influence_plots.by_definition(once, ax)
    influence_plots.found_against_checked(once.assign(ranking="self-influence"), ax)
    influence_plots.against_rule(once, ax)
    ax.figure.canvas.draw()
    assert ax.containers[0].lines[0].get_ydata().tolist() == [50]
