"""The table of the claims."""

import numpy as np
import pandas as pd
import pytest
from crossed_effects import crossed

from lib.figures import claim_tables
from lib.random_effects import Effect
from lib.studies import claims


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
    assert few[2].startswith("**equivalent**, +0.0 [") and few[2].endswith("; no control")
    assert shape[3].startswith("**lower**, -9.0 [") and "6 of 6 seeds below 0" in shape[3]


def test_worlds_of_which_nothing_was_judged_are_not_run():
    judged = {"photographs": claims.judge({}), "microcosm": claims.judge({"shape": crossed(5)})}
    empty = {world: {} for world in judged}
    rows = claim_tables.overview({"shape": "shape"}, {}, judged, empty)
    assert rows[1][:3] == ("shape", "no number", "not run") and "**higher**" in rows[1][3]


def test_the_verdicts_alone():
    judged = {"photographs": claims.judge({"better": crossed(6)}), "microcosm": claims.judge({})}
    paper = {"shape": (23.5, np.nan, np.nan)}
    found = claim_tables.in_short({"shape": "to shape", "better": "better"}, paper, judged)
    assert list(found.index) == ["to shape", "better"]
    assert list(found) == ["the paper", "photographs", "microcosm"]
    assert found.loc["better"].tolist() == ["no number", "higher (+6.0)", "not run"]
    assert found.loc["to shape"].tolist() == ["+23.5", "not run", "not run"]


def test_each_target_has_a_verdict_of_its_own():
    rows = [("a", 0.03, 0.01, 0.05, "higher"), ("b", 0.001, -0.01, 0.012, "equivalent")]
    judged = pd.DataFrame(rows, columns=["target", "mean", "low", "high", "verdict"])
    found = claim_tables.by_target(judged)
    assert found["points"].to_dict() == {"a": "+3.0 [+1.0, +5.0]", "b": "+0.1 [-1.0, +1.2]"}
    assert found["verdict"].tolist() == ["higher", "equivalent"]


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
        least, most = known.prediction()
        assert found.loc[n, "by itself"] == f"{known.mean:+.1f} [{least:+.1f}, {most:+.1f}]"


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
