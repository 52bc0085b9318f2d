"""The table of the claims, and the figure that shows every seed."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from lib.figures import claim_plots, claim_tables
from lib.figures.looks import BLUE
from lib.random_effects import Effect, effect
from lib.studies import claims


def crossed(mean, spread=0.5):
    """Return the effect of a table of seven targets and six seeds."""
    noise = np.random.default_rng(0).normal(size=(7, 6))
    y = mean + spread * (noise - noise.mean())
    cells = [{"target": t, "source_seed": s, "gain": y[t, s]} for t, s in np.ndindex(7, 6)]
    return effect(pd.DataFrame(cells), "gain")


# The table.


@pytest.fixture(scope="module")
def table():
    called = {"better": "better", "most_with_few": "most with few", "shape": "shape"}
    paper = {"better": (3.04, 1.01, 5.06), "shape": (23.5, np.nan, np.nan)}
    judged = {
        "photographs": claims.judge({"better": crossed(6), "most_with_few": crossed(0, 0.1)}),
        "microcosm": claims.judge({"shape": crossed(-9)}),
    }
    controls = {
        "photographs": {"better": {"random weights": crossed(12), "noise": crossed(3)}},
        "microcosm": {"better": {"not said, since it was not run": crossed(1)}},
    }
    rows = claim_tables.overview(called, paper, judged, controls)
    return rows, judged, controls


def test_the_table_has_a_column_for_each_world_and_a_row_for_each_claim(table):
    rows, *_ = table
    assert rows[0] == ("claim", "the paper", "photographs", "microcosm")
    assert [row[0] for row in rows[1:]] == ["better", "most with few", "shape"]
    assert {len(row) for row in rows} == {4}
    assert all(isinstance(cell, str) and "|" not in cell for row in rows for cell in row)


def test_what_the_paper_has_no_number_of_and_what_was_not_run_says_so(table):
    (_, better, few, shape), *_ = table
    assert [row[1] for row in (better, few, shape)] == ["+3.0 [+1.0, +5.1]", "no number", "+23.5"]
    missing = [better[3], few[3], shape[2]]
    assert missing == ["not run"] * 3 == [claim_tables.NOT_RUN] * 3


def test_a_cell_says_verdict_interval_seeds_and_controls(table):
    (_, better, few, shape), judged, controls = table
    of_better = judged["photographs"].set_index("claim").loc["better"]
    low, high = of_better["low"], of_better["high"]
    against = controls["photographs"]["better"]
    (least, most), (low_noise, high_noise) = (e.interval() for e in against.values())
    assert better[2] == (
        f"**higher**, +6.0 [{low:+.1f}, {high:+.1f}], 6 of 6 seeds above 0; "
        f"random weights: +12.0 [{least:+.1f}, {most:+.1f}]; "
        f"noise: +3.0 [{low_noise:+.1f}, {high_noise:+.1f}]"
    )
    assert few[2].startswith("**equivalent**, +0.0 [") and ";" not in few[2]
    assert shape[3].startswith("**lower**, -9.0 [") and "0 of 6 seeds above 0" in shape[3]


def test_worlds_of_which_nothing_was_judged_are_not_run():
    judged = {"photographs": claims.judge({}), "microcosm": claims.judge({"shape": crossed(5)})}
    empty = {world: {} for world in judged}
    rows = claim_tables.overview({"shape": "shape"}, {}, judged, empty)
    assert rows[1][:3] == ("shape", "no number", "not run") and "**higher**" in rows[1][3]


def test_the_verdicts_alone():
    judged = {"photographs": claims.judge({"better": crossed(6)}), "microcosm": claims.judge({})}
    found = claim_tables.in_short({"shape": "to shape", "better": "better"}, judged)
    assert list(found.index) == ["to shape", "better"]
    assert found.loc["better"].tolist() == ["higher", "not run"]
    assert found.loc["to shape"].tolist() == ["not run", "not run"]


def test_what_was_not_found_is_said_first(table):
    _, judged, _ = table
    called = {"better": "better", "most_with_few": "most with few", "shape": "shape"}
    assert claim_tables.outcomes(called, judged["photographs"]) == [
        "Expected by the paper, and *not* borne out: most with few (equivalent).",
        "Expected, and borne out: better (higher).",
        "Not run: shape.",
    ]
    del called["better"], called["most_with_few"]
    missed, found = claim_tables.outcomes(called, judged["microcosm"])
    assert missed.endswith("*not* borne out: shape (lower).") and found.endswith("out: none.")


def test_an_effect_is_written_with_its_own_interval():
    found = crossed(6)
    written = claim_tables.estimate(found)
    assert (written.mean, written.low, written.high) == (found.mean, *found.interval(0.95))
    # That of the verdict, over all claims at once, is wider.
    judged = claims.judge({"better": found}).loc[0]
    assert judged["low"] < written.low and written.high < judged["high"]


def test_predictions_are_wider_than_the_means():
    by_size = {100: crossed(6, 2), 1600: crossed(-1, 2)}
    found = claim_tables.expected(by_size, "N", 0.99)
    assert list(found.index) == [100, 1600] and found.index.name == "N"
    assert found["targets"].tolist() == [7, 7]
    for n, known in by_size.items():
        low, high = known.interval(0.99)
        assert found.loc[n, "mean over targets"] == f"{known.mean:+.1f} [{low:+.1f}, {high:+.1f}]"
        least, most = known.prediction(0.99)
        assert found.loc[n, "a new target"] == f"{known.mean:+.1f} [{least:+.1f}, {most:+.1f}]"
        assert least < low and high < most


def test_spreads_are_standard_deviations():
    spread = {"target": 9.0, "seed": 4.0, "rest": 0.25}
    known = Effect(1.0, 1.0, 5.0, 1.0, 6.0, spread, 6, 6, 7)
    single = Effect(1.0, 1.0, 5.0, np.nan, np.nan, spread | {"target": np.nan}, 6, 6, 1)
    found = claim_tables.spreads({"better": known, "shape": single})
    assert list(found.index) == ["better", "shape"]
    assert found.loc["better"].to_dict() == {
        "target": 3, "seed": 2, "rest": 0.5,
    }  # fmt: skip
    assert np.isnan(found.loc["shape", "target"])


# The figure.


@pytest.fixture
def frame():
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


def test_every_seed_is_a_dot_and_the_means_have_whiskers(ax, frame):
    draw = claim_plots.seeds_against("n_train", "training images N", 2)
    assert draw(frame, ax) is ax
    dots = [line for line in ax.lines if line.get_marker() == "."]
    drawn = sorted(tuple(p) for line in dots for p in line.get_xydata().tolist())
    points = sorted((row.n_train, 100 * s) for row in frame.itertuples() for s in row.of_seeds)
    assert np.array(drawn) == pytest.approx(np.array(points))
    assert {to_hex(line.get_color()) for line in dots} == {BLUE.lower()}
    assert all(line.get_linestyle() == "None" for line in dots)
    (means,) = ax.containers
    line, _, (whiskers,) = means.lines
    ordered = frame.sort_values("n_train")
    assert line.get_xydata() == pytest.approx(ordered[["n_train", "mean"]].to_numpy() * [1, 100])
    for (bottom, top), row in zip(whiskers.get_segments(), ordered.itertuples(), strict=True):
        ends = [row.n_train, 100 * row.low, row.n_train, 100 * row.high]
        assert [*bottom, *top] == pytest.approx(ends)
    assert ax.get_xlabel() == "training images N" and ax.get_ylabel().endswith("points")


def test_the_band_is_of_effects_too_small_to_matter(ax, frame):
    claim_plots.seeds_against("n_train", "N", 0.4)(frame, ax)
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
    claim_plots.seeds_against(x, x, 2)(pd.DataFrame(rows), ax)
    ax.figure.canvas.draw()
    assert ax.get_xscale() == "log"
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ticks
    assert len(ax.get_xticks(minor=True)) == 0


def test_depths_begin_at_0_on_a_plain_axis(ax):
    rows = [{"depth": v, "mean": 0, "low": -1, "high": 1, "of_seeds": [0.5]} for v in (0, 1, 2, 5)]
    claim_plots.seeds_against("depth", "blocks", 2, doubling=False)(pd.DataFrame(rows), ax)
    ax.figure.canvas.draw()
    assert ax.get_xscale() == "linear"
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["0", "1", "2", "5"]
