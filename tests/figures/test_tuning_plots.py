import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex

from lib.constraint import NATURAL, UNTRAINED, Constraint
from lib.figures import looks, tuning_plots

AMONG = (NATURAL, Constraint("l2", 0.25), UNTRAINED)


@pytest.fixture
def ax():
    yield plt.subplots()[1]
    plt.close("all")


def frame(x, values):
    rows = [(c, v, 0.1 * i + 0.01 * j) for i, c in enumerate(AMONG) for j, v in enumerate(values)]
    found = pd.DataFrame(rows, columns=["constraint", x, "mean"])
    return found.assign(low=found["mean"] - 0.02, high=found["mean"] + 0.05)


def test_curves_along_the_epochs(ax):
    data = frame("epoch", [1, 10, 150])
    assert tuning_plots.against_epoch(data, ax) is ax
    for constraint, line in zip(AMONG, ax.lines, strict=True):
        part = data[data["constraint"] == constraint]
        assert line.get_label() == str(constraint)
        assert line.get_xdata().tolist() == [1, 10, 150]
        assert line.get_ydata().tolist() == pytest.approx((100 * part["mean"]).tolist())
    assert ax.get_xscale() == "log"
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["1", "10", "150"]
    assert len(ax.get_xticks(minor=True)) == 0


@pytest.mark.parametrize("zero", [False, True])
def test_all_blocks_come_last(ax, zero):
    data = frame("unfrozen_blocks", [-1, 0, 2]).sample(frac=1, random_state=0)
    tuning_plots.against_depth(data, ax, zero=zero)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["0", "2", "all"]
    drawn = {container.get_label(): container for container in ax.containers}
    assert list(drawn) == ["natural", "ℓ2 0.25", "untrained"]
    for place, (constraint, container) in enumerate(zip(AMONG, drawn.values(), strict=True)):
        line, caps, (whiskers,) = container
        assert not caps and line.get_linewidth() == whiskers.get_linewidth()[0] == 1
        part = data[data["constraint"] == constraint].set_index("unfrozen_blocks").loc[[0, 2, -1]]
        assert line.get_ydata().tolist() == pytest.approx((100 * part["mean"]).tolist())
        # Side by side, and nearest to the mark they belong to.
        assert line.get_xdata().tolist() == pytest.approx([i + 0.1 * (place - 1) for i in range(3)])
        ends = [segment[:, 1].tolist() for segment in whiskers.get_segments()]
        expected = [[100 * low, 100 * high] for low, high in part[["low", "high"]].to_numpy()]
        assert ends == [pytest.approx(pair) for pair in expected]
    marks = [line for line in ax.lines if list(line.get_ydata()) == [0, 0]]
    assert len(marks) == zero
    assert drawn["natural"][0].get_color() == looks.DARK


def test_depths_that_not_all_have_are_marked_one_by_one(ax):
    rows = [(NATURAL, 0, 0.5), (NATURAL, -1, 0.9), (NATURAL, 2, 0.7), (UNTRAINED, -1, 0.8)]
    few = pd.DataFrame(rows, columns=["constraint", "unfrozen_blocks", "mean"])
    few = few.assign(low=few["mean"] - 0.1, high=few["mean"] + 0.05)
    tuning_plots.against_depth(few, ax, joined=False)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0", "2", "all"]
    (natural, caps, _), (untrained, _, _) = (container.lines for container in ax.containers)
    assert natural.get_linestyle() == "None" and len(caps) == 2
    assert np.round(np.asarray(natural.get_xdata(), float)).tolist() == [0, 1, 2]
    assert natural.get_ydata().tolist() == [50, 70, 90]
    assert untrained.get_xdata()[0] > natural.get_xdata()[2]


def test_one_depth_one_epoch_and_one_draw(ax):
    once = pd.DataFrame({"constraint": [UNTRAINED], "mean": [0.5], "low": np.nan, "high": np.nan})
    tuning_plots.against_depth(once.assign(unfrozen_blocks=-1), ax)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["all"]
    tuning_plots.against_epoch(once.assign(epoch=3), plt.subplots()[1]).figure.canvas.draw()
    ax.figure.canvas.draw()
    line, _, (whiskers,) = ax.containers[0].lines
    assert line.get_ydata().tolist() == [50]
    assert not any(len(segment) for segment in whiskers.get_segments())


@pytest.fixture
def gaps():
    """Differences at three sizes, the rows in no order; of the last one seed less."""
    return pd.DataFrame(
        {"n_train": n, "mean": np.mean(seeds), "low": low, "high": high, "of_seeds": seeds}
        for n, low, high, seeds in [
            (400, -0.01, 0.03, [0.0, 0.01, 0.02]),
            (100, 0.02, 0.06, [0.03, 0.045, 0.045]),
            (3200, -0.04, 0.0, [-0.03, -0.01]),
            (200, 0.01, 0.02, [0.01, 0.015, 0.02]),
        ]
    )


def test_every_seed_is_a_dot_and_the_means_have_whiskers(ax, gaps):
    draw = tuning_plots.seeds_against("n_train", "training images N", 2)
    assert draw(gaps, ax) is ax
    dots = [line for line in ax.lines if line.get_marker() == "."]
    drawn = sorted(tuple(p) for line in dots for p in line.get_xydata().tolist())
    points = sorted((row.n_train, 100 * s) for row in gaps.itertuples() for s in row.of_seeds)
    assert np.array(drawn) == pytest.approx(np.array(points))
    assert {to_hex(line.get_color()) for line in dots} == {looks.BLUE.lower()}
    assert all(line.get_linestyle() == "None" for line in dots)
    (means,) = ax.containers
    line, _, (whiskers,) = means.lines
    ordered = gaps.sort_values("n_train")
    assert line.get_xydata() == pytest.approx(ordered[["n_train", "mean"]].to_numpy() * [1, 100])
    for (bottom, top), row in zip(whiskers.get_segments(), ordered.itertuples(), strict=True):
        ends = [row.n_train, 100 * row.low, row.n_train, 100 * row.high]
        assert [*bottom, *top] == pytest.approx(ends)
    assert ax.get_xlabel() == "training images N" and ax.get_ylabel().endswith("points")


def test_the_band_is_of_effects_too_small_to_matter(ax, gaps):
    tuning_plots.seeds_against("n_train", "N", 0.4)(gaps, ax)
    (band,) = ax.patches
    assert band.get_y() == -0.4 and band.get_height() == pytest.approx(0.8)
    zero = [line for line in ax.lines if set(line.get_ydata()) == {0}]
    assert len(zero) == 1 and zero[0].get_linestyle() == "--"


@pytest.mark.parametrize(
    ("x", "values", "ticks"),
    [
        ("n_train", [100, 200, 400, 800, 1600, 3200], ["3,200", "800", "200"]),
        ("resolution", [8, 12, 16, 24, 32], ["32", "16", "8"]),
        ("n_train", [400], ["400"]),
    ],
)
def test_ticks_are_plain_numbers_on_a_doubling_axis(ax, x, values, ticks):
    rows = [{x: v, "mean": 0, "low": -1, "high": 1, "of_seeds": [0.5]} for v in values]
    tuning_plots.seeds_against(x, x, 2)(pd.DataFrame(rows), ax)
    ax.figure.canvas.draw()
    assert ax.get_xscale() == "log"
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ticks
    assert len(ax.get_xticks(minor=True)) == 0


def test_depths_begin_at_0_on_a_plain_axis(ax):
    rows = [{"depth": v, "mean": 0, "low": -1, "high": 1, "of_seeds": [0.5]} for v in (0, 1, 2, 5)]
    tuning_plots.seeds_against("depth", "blocks", 2, doubling=False)(pd.DataFrame(rows), ax)
    ax.figure.canvas.draw()
    assert ax.get_xscale() == "linear"
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["0", "1", "2", "5"]
