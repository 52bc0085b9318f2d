import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import pyplot as plt

from lib.constraint import NATURAL, Constraint
from lib.figures import feature_plots

ROBUST = Constraint("l2", 0.5)


@pytest.mark.parametrize("titles", [None, ["a", "b", "c"]])
def test_a_sheet_shows_every_image_beside_its_label(titles):
    rows = {name: torch.rand(3, 3, 5, 7) for name in (NATURAL, ROBUST)}
    fig = feature_plots.sheet(rows, titles)
    (ax,) = fig.axes
    page = np.asarray(ax.images[0].get_array())
    assert page.shape == (14, 27, 3)
    for i, images in enumerate(rows.values()):
        for j, image in enumerate(images):
            found = page[7 * i : 7 * i + 5, 9 * j : 9 * j + 7]
            assert np.allclose(found, image.permute(1, 2, 0), atol=0.5 / 23 + 1e-6)
    assert (page[5:7] == 1).all() and (page[:, 7:9] == 1).all()
    assert [label.get_text() for label in ax.get_yticklabels()] == ["natural", "ℓ2 0.5"]
    assert [label.get_text() for label in ax.get_xticklabels()] == (titles or [])
    # Labels stand at the middle of their images.
    assert ax.get_yticks().tolist() == [2.5, 9.5]


@pytest.mark.parametrize("titles", [(), ["a", "b"]])
def test_searches_are_shown_step_by_step_their_starts_side_by_side(titles):
    made = {
        name: {
            start: {step: torch.rand(3, 3, 5, 5) for step in (0, 4)}
            for start in ("noise", "images")
        }
        for name in (NATURAL, ROBUST)
    }
    goal = torch.rand(2, 3, 5, 5)
    pages = feature_plots.by_step(made, 2, above={"goal": goal}, titles=titles)
    assert list(pages) == [0, 4]
    for step, page in pages.items():
        (ax,) = page.axes
        rows = {"goal": torch.cat([goal, goal])}
        for name, of in made.items():
            rows[name] = torch.cat([of["noise"][step][:2], of["images"][step][:2]])
        (expected,) = feature_plots.sheet(rows).axes
        assert np.array_equal(ax.images[0].get_array(), expected.images[0].get_array())
        over = [*titles] * 2 or ["", "from noise", "", "from images"]
        assert [label.get_text() for label in ax.get_xticklabels()] == over
        assert [label.get_text() for label in ax.get_yticklabels()] == ["goal", "natural", "ℓ2 0.5"]


@pytest.mark.parametrize("count", [1, 2])
def test_images_turn_into_others_above_their_pixels_mixed(count):
    paths = {name: torch.rand(5, 3, 3, 4, 4) for name in (NATURAL, ROBUST)}
    paths[ROBUST][0] = paths[NATURAL][0]  # all begin with the same images
    goals = torch.rand(3, 3, 4, 4)
    (ax,) = feature_plots.turns(paths, goals, count).axes
    start = paths[NATURAL][0]
    mixed = torch.stack([start, (start + goals) / 2, goals])
    rows = {
        str(label): torch.cat([torch.cat([path[:, i], goals[i][None]]) for i in range(count)])
        for label, path in (
            (NATURAL, paths[NATURAL][::2]),
            (ROBUST, paths[ROBUST][::2]),
            ("pixels mixed", mixed),
        )
    }
    (expected,) = feature_plots.sheet(rows).axes
    assert np.array_equal(ax.images[0].get_array(), expected.images[0].get_array())
    assert [label.get_text() for label in ax.get_yticklabels()] == list(rows)
    titles = [label.get_text() for label in ax.get_xticklabels()]
    assert titles == ["t = 0", "t = 0.5", "t = 1", "goal"] * count


def test_each_kind_of_judge_has_a_panel_and_its_chance():
    frame = pd.DataFrame({"mean": [0.5, 0.2], "low": [0.4, 0.1], "high": [0.6, 0.3]})
    frame = frame.assign(constraint=[ROBUST, NATURAL], what="a class", start="noise")
    both = pd.concat([frame.assign(measure=judge) for judge in ("of shape", "of texture")])
    axes = feature_plots.judged(both, chance=0.1).axes
    assert [ax.get_title() for ax in axes] == ["of shape", "of texture"]
    for ax in axes:
        (points,) = [c.lines[0] for c in ax.containers if c.get_label() == "ℓ2 0.5"]
        assert points.get_xdata().tolist() == [50]
        assert any(np.allclose(line.get_xdata(), 10) for line in ax.lines)
    assert [label.get_text() for label in axes[0].get_yticklabels()] == ["a class,\nfrom noise"]


def test_grey_is_darkest_where_the_energy_is_largest():
    energy = torch.tensor([[[0.0, 0.25], [1.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]]])
    found = feature_plots.grey(energy)
    assert found.shape == (2, 3, 2, 2)
    assert torch.allclose(found[0, 1], torch.tensor([[1.0, 0.75], [0.5, 0.0]]))
    assert bool((found[1] == 1).all())


def test_marks():
    frame = pd.DataFrame(
        {
            "what": ["inverted", "inverted", "feature"],
            "constraint": [ROBUST, NATURAL, NATURAL],
            "mean": [0.6, 0.2, 0.1],
            "low": [0.5, 0.1, 0.0],
            "high": [0.7, 0.4, 0.2],
        }
    )
    ax = plt.subplots()[1]
    assert feature_plots.marks(frame, ax, mark=10) is ax
    points = {c.get_label(): c.lines[0] for c in ax.containers}
    assert list(points) == ["natural", "ℓ2 0.5"]
    assert np.allclose(points["natural"].get_xdata(), [20, 10])
    assert np.allclose(points["ℓ2 0.5"].get_xdata(), [60])
    (whiskers,) = ax.containers[0].lines[2]
    assert np.allclose([s[:, 0] for s in whiskers.get_segments()], [[10, 40], [0, 20]])
    # The first is the highest, and no two constraints lie on each other.
    assert [label.get_text() for label in ax.get_yticklabels()] == ["inverted", "feature"]
    assert ax.get_ylim() == (1.5, -0.5)
    assert points["natural"].get_ydata()[0] < 0 < points["ℓ2 0.5"].get_ydata()[0]
    assert any(set(line.get_xdata()) == {10} for line in ax.lines)
    renamed = frame.rename(columns={"what": "measure"})
    ax = feature_plots.marks(renamed, plt.subplots()[1], by="measure", scale=1)
    assert np.allclose(ax.containers[0].lines[0].get_xdata(), [0.2, 0.1])


def test_odd_names_and_one_image_are_shown_as_they_are():
    fig = feature_plots.sheet({"$a$\n& $b$": np.zeros((1, 3, 5, 7))}, ["<c>\n$d$ $e$"])
    fig.canvas.draw()
    (row,), (column,) = fig.axes[0].get_yticklabels(), fig.axes[0].get_xticklabels()
    assert row._preprocess_math(row.get_text()) == ("$a$ & $b$", False)
    assert column._preprocess_math(column.get_text()) == ("<c> $d$ $e$", False)


def test_of_one_draw_there_are_means_without_whiskers():
    once = pd.DataFrame({"what": ["a"], "constraint": [ROBUST], "mean": 0.3})
    ax = feature_plots.marks(once.assign(low=np.nan, high=np.nan), plt.subplots()[1])
    ax.figure.canvas.draw()
    line, _, (whiskers,) = ax.containers[0].lines
    assert line.get_xydata().tolist() == [[30, 0]]
    assert not any(len(segment) for segment in whiskers.get_segments())


def test_what_others_found_is_more_or_less_or_neither_can_be_told():
    found = pd.DataFrame({"measure": "structure", "low": [0.1, -1.0], "high": [0.2, 1.0]})
    found["against"] = [NATURAL, Constraint("noise", 0.1)]
    assert feature_plots.than_others(found, "structure") == (
        "more than what was found by natural sources; as far as can be told, no more and no less "
        "than what was found by noise 0.1 sources"
    )
    fewer = found[:1].assign(low=-0.2, high=-0.1)
    assert feature_plots.than_others(fewer, "structure", "often") == (
        "less often than what was found by natural sources"
    )
    assert feature_plots.than_others(found, "judges") == "not measured in this run"
