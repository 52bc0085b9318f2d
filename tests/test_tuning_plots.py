import matplotlib
import pandas as pd
import pytest

matplotlib.use("Agg")

from matplotlib import pyplot as plt

from lib import plots, tuning_plots


@pytest.fixture
def ax():
    yield plt.subplots()[1]
    plt.close("all")


def frame(x, values, sources=("natural", "ℓ2 0.25", "untrained")):
    rows = [(s, v, 0.1 * i + 0.01 * j) for i, s in enumerate(sources) for j, v in enumerate(values)]
    found = pd.DataFrame(rows, columns=["source", x, "mean"])
    return found.assign(low=found["mean"] - 0.02, high=found["mean"] + 0.05)


def test_curves_along_the_epochs(ax):
    data = frame("epoch", [1, 10, 150])
    assert tuning_plots.against_epoch(data, ax) is ax
    for line in ax.lines:
        part = data[data["source"] == line.get_label()]
        assert line.get_xdata().tolist() == [1, 10, 150]
        assert line.get_ydata().tolist() == pytest.approx((100 * part["mean"]).tolist())
    assert ax.get_xscale() == "log"
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["1", "10", "150"]
    assert len(ax.get_xticks(minor=True)) == 0


@pytest.mark.parametrize("zero", [False, True])
def test_all_blocks_come_last(ax, zero):
    data = frame("unfrozen_blocks", [-1, 0, 2])
    tuning_plots.against_depth(data, ax, zero=zero)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["0", "2", "all"]
    drawn = {container.get_label(): container for container in ax.containers}
    assert list(drawn) == ["natural", "ℓ2 0.25", "untrained"]
    for place, (source, container) in enumerate(drawn.items()):
        line, _, (whiskers,) = container
        part = data[data["source"] == source].set_index("unfrozen_blocks").loc[[0, 2, -1]]
        assert line.get_ydata().tolist() == pytest.approx((100 * part["mean"]).tolist())
        # Side by side, and nearest to the mark they belong to.
        assert line.get_xdata().tolist() == pytest.approx([i + 0.1 * (place - 1) for i in range(3)])
        ends = [segment[:, 1].tolist() for segment in whiskers.get_segments()]
        expected = [[100 * low, 100 * high] for low, high in part[["low", "high"]].to_numpy()]
        assert ends == [pytest.approx(pair) for pair in expected]
    marks = [line for line in ax.lines if list(line.get_ydata()) == [0, 0]]
    assert len(marks) == zero
    assert drawn["natural"][0].get_color() == plots.DARK
