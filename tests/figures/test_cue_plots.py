import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import to_hex, to_rgb

from lib.constraint import MIXED_TEXTURES, NATURAL, Constraint
from lib.figures import cue_plots, looks

ROBUST = Constraint("l2", 0.5)


def test_each_conflict_is_framed_by_its_decision():
    x = torch.rand(4, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    # Shapes in rows: right; for the texture; for neither of a and b; wrong.
    fig = cue_plots.conflict_grid(x, [0, 1, 2, 0], ("a", "b"))
    (ax,) = fig.axes
    sheet = np.asarray(ax.images[0].get_array())
    tall, wide = 5 + 6, 7 + 6
    for i, decision in enumerate((0, 1, 2, 2)):  # shape, texture, neither
        top, left = (i // 2) * tall, (i % 2) * wide
        assert sheet[top, left] == pytest.approx(to_rgb(cue_plots.DECIDED[decision]))
        inner = sheet[top + 2 : top + 7, left + 2 : left + 9]
        assert np.allclose(inner, x[i].permute(1, 2, 0), atol=1e-6)
        assert (sheet[top + 9 : top + 11, left] == 1).all()  # the gap is white
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]
    # Labels stand at the middle of their images, but for the frame's half.
    assert ax.get_yticks().tolist() == [tall / 2, 3 * tall / 2]
    assert ax.get_xticks().tolist() == [wide / 2, 3 * wide / 2]
    for cues, of in (((), fig), (("phase", "amplitude"), None)):
        of = of or cue_plots.conflict_grid(x, [0, 1, 2, 0], ("a", "b"), cues)
        first, second = cues or ("shape", "texture")
        legend = [text.get_text() for text in of.legends[0].get_texts()]
        assert legend == [first, second, "neither"]
        assert of.axes[0].get_ylabel() == f"{first} of"


def test_conflicts_of_one_class_and_of_odd_names():
    fig = cue_plots.conflict_grid(np.zeros((4, 3, 5, 5)), [0, 1, 2, 3], ("$a$ & $b$", "<c>\nd"))
    fig.canvas.draw()
    for labels in (fig.axes[0].get_xticklabels(), fig.axes[0].get_yticklabels()):
        drawn = [label._preprocess_math(label.get_text()) for label in labels]
        assert drawn == [("$a$ & $b$", False), ("<c> d", False)]
    cue_plots.conflict_grid(torch.zeros(1, 3, 5, 5), [0], ("a",)).canvas.draw()


def test_every_seed_and_the_mean_of_each_constraint_without_an_interval(ax):
    summary = pd.DataFrame(
        {"constraint": [ROBUST, NATURAL], "mean": [0.9, 0.1], "low": [0.8, 0], "high": [1, 0.3]}
    ).assign(of_seeds=[(0.8, 1.0), (0.0, 0.1, 0.2)])
    assert cue_plots.by_constraint(summary, ax) is ax
    dots = [c.get_offsets()[:, 1].tolist() for c in ax.collections if len(c.get_offsets()) > 1]
    assert dots == [[0, 10, 20], [80, 100]]
    means = [(line.get_marker(), *line.get_ydata()) for line in ax.lines]
    assert means == [("o", 10), ("o", 90)] and not ax.containers
    assert [label.get_text() for label in ax.get_xticklabels()] == ["natural", "ℓ2 0.5"]


def test_against_bias_draws_one_point_a_network(ax):
    rows = pd.DataFrame(
        {
            "constraint": [NATURAL, NATURAL, ROBUST, MIXED_TEXTURES],
            "shape_bias_of_all": [0.1, 0.2, 0.9, 1.0],
            "clean_accuracy": [0.5, 0.6, 0.7, 0.65],
        }
    )
    cue_plots.against_bias(rows, ax)
    found = {c.get_label(): c.get_offsets().tolist() for c in ax.collections}
    assert found["natural"] == [[10, 50], [20, 60]] and found["ℓ2 0.5"] == [[90, 70]]
    colours = {c.get_label(): to_hex(c.get_facecolor()[0]).upper() for c in ax.collections}
    assert colours["natural"] == looks.DARK.upper()
    assert len(set(colours.values())) == 3


@pytest.mark.parametrize("zero", [False, True])
def test_against_amplitude(ax, zero):
    frame = pd.DataFrame(
        {"amplitude": [0.1, 0.0], "mean": [0.2, 0.1], "low": 0.0, "high": 0.4}
    ).assign(constraint=ROBUST)
    cue_plots.against_amplitude(frame, ax, zero=zero)
    line = ax.containers[0].lines[0]
    assert line.get_xdata().tolist() == [0.0, 0.1] and line.get_ydata().tolist() == [10, 20]
    marks = [other for other in ax.lines if other.get_linestyle() == "--"]
    assert [list(mark.get_ydata()) for mark in marks] == [[0, 0]] * zero


def test_of_one_draw_there_are_means_without_whiskers(ax):
    once = pd.DataFrame({"constraint": [ROBUST], "amplitude": [0.1], "mean": [0.2]})
    once = once.assign(low=np.nan, high=np.nan, shape_bias_of_all=0.5, clean_accuracy=0.6)
    cue_plots.by_constraint(once.assign(of_seeds=[(0.2,)]), ax)
    cue_plots.against_bias(once, ax)
    cue_plots.against_amplitude(once, ax)
    ax.figure.canvas.draw()
    assert [line.get_ydata().tolist() for line in ax.lines][:2] == [[20], [20]]
    drawn = [len(s) for c in ax.containers for w in c.lines[2] for s in w.get_segments()]
    assert set(drawn) <= {0}


@pytest.mark.parametrize(
    ("kind", "axis"), [("high-pass", "cut-off, cycles per pixel"), ("low resolution", "pixels")]
)
def test_against_cutoff(ax, kind, axis):
    frame = pd.DataFrame({"at": [0.5, 0.1], "mean": [0.9, 0.4], "low": 0.1, "high": 1.0})
    cue_plots.against_cutoff(frame.assign(constraint=ROBUST, filter=kind), ax)
    (line,) = ax.lines
    assert line.get_xdata().tolist() == [0.1, 0.5] and line.get_ydata().tolist() == [40, 90]
    assert ax.get_xlabel() == axis and ax.get_ylim()[0] == 0


def test_dose_and_response_side_by_side():
    frame = pd.DataFrame({"amplitude": [0.0, 0.1], "mean": [0.8, 0.2], "low": 0.1, "high": 0.9})
    biases = pd.concat([frame.assign(constraint=name) for name in (NATURAL, ROBUST)])
    targets = ("my\npets", "faces")
    gains = pd.concat([frame.assign(constraint=ROBUST, target=name) for name in targets])
    biases["of_seeds"] = [(value - 0.1, value + 0.1) for value in biases["mean"]]
    fig = cue_plots.dose_response(biases, gains)
    left, *right = [ax for ax in fig.axes if ax.axison and ax.get_visible()]
    assert len(left.containers) == 2 and [len(ax.containers) for ax in right[:2]] == [1, 1]
    drawn = [len(s) for c in left.containers for w in c.lines[2] for s in w.get_segments()]
    assert set(drawn) <= {0}  # a bias has no whisker, a gain has
    (whisker,) = right[0].containers[0].lines[2]
    assert whisker.get_segments()[0][:, 1].tolist() == [10, 90]
    dots = [tuple(p) for line in left.lines if line.get_marker() == "." for p in line.get_xydata()]
    assert np.allclose(dots, [(0.0, 70), (0.0, 90), (0.1, 10), (0.1, 30)] * 2)
    assert [ax.get_title() for ax in right[:2]] == ["my pets", "faces"]
    assert right[0].get_ylim() == right[1].get_ylim()
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["natural", "ℓ2 0.5"]
