import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.colors import to_hex, to_rgb

from lib import cue_plots, plots
from lib.cue_plots import DECISIONS


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture
def ax():
    return plt.subplots()[1]


def test_each_conflict_is_framed_by_its_decision():
    x = torch.rand(4, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    # Shapes in rows: right; for the texture; for neither of a and b; wrong.
    fig = cue_plots.conflict_grid(x, [0, 1, 2, 0], ("a", "b"))
    (ax,) = fig.axes
    sheet = np.asarray(ax.images[0].get_array())
    tall, wide = 5 + 6, 7 + 6
    expected = ["shape", "texture", "neither", "neither"]
    for i, decision in enumerate(expected):
        top, left = (i // 2) * tall, (i % 2) * wide
        assert sheet[top, left] == pytest.approx(to_rgb(DECISIONS[decision]))
        inner = sheet[top + 2 : top + 7, left + 2 : left + 9]
        assert np.allclose(inner, x[i].permute(1, 2, 0), atol=1e-6)
        assert (sheet[top + 9 : top + 11, left] == 1).all()  # the gap is white
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]
    assert [text.get_text() for text in fig.legends[0].get_texts()] == list(DECISIONS)


def test_by_source_draws_every_seed_and_the_interval(ax):
    rows = pd.DataFrame({"source": ["natural"] * 3 + ["ℓ2 0.5"] * 2, "bias": [0, 0.1, 0.2, 0.8, 1]})
    summary = pd.DataFrame(
        {"source": ["natural", "ℓ2 0.5"], "mean": [0.1, 0.9], "low": [0, 0.8], "high": [0.3, 1]}
    )
    assert cue_plots.by_source(rows, summary, "bias", ax) is ax
    dots = [c.get_offsets()[:, 1].tolist() for c in ax.collections if len(c.get_offsets()) > 1]
    assert dots == [[0, 10, 20], [80, 100]]
    (whisker,) = ax.containers[0].lines[2]
    assert whisker.get_segments()[0][:, 1].tolist() == [0, 30]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["natural", "ℓ2 0.5"]


def test_against_bias_draws_one_point_a_network(ax):
    rows = pd.DataFrame(
        {
            "source": ["natural", "natural", "ℓ2 0.5", "natural, mixed textures"],
            "shape_bias_of_all": [0.1, 0.2, 0.9, 1.0],
            "clean_accuracy": [0.5, 0.6, 0.7, 0.65],
        }
    )
    cue_plots.against_bias(rows, ax)
    found = {c.get_label(): c.get_offsets().tolist() for c in ax.collections}
    assert found["natural"] == [[10, 50], [20, 60]] and found["ℓ2 0.5"] == [[90, 70]]
    colours = {c.get_label(): to_hex(c.get_facecolor()[0]).upper() for c in ax.collections}
    assert colours["natural"] == plots.DARK.upper()
    assert len(set(colours.values())) == 3


@pytest.mark.parametrize("zero", [False, True])
def test_against_amplitude(ax, zero):
    frame = pd.DataFrame(
        {"source": "ℓ2 0.5", "amplitude": [0.1, 0.0], "mean": [0.2, 0.1], "low": 0.0, "high": 0.4}
    )
    cue_plots.against_amplitude(frame, ax, zero=zero)
    line = ax.containers[0].lines[0]
    assert line.get_xdata().tolist() == [0.0, 0.1] and line.get_ydata().tolist() == [10, 20]
    marks = [other for other in ax.lines if other.get_linestyle() == "--"]
    assert [list(mark.get_ydata()) for mark in marks] == [[0, 0]] * zero
