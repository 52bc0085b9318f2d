"""Numbers write themselves with their intervals, and missing ones are named."""

import numpy as np
import pandas as pd
import pytest
from samples import GAP, ROBUST

from lib.constraint import UNTRAINED
from lib.figures import estimates
from lib.figures.estimates import NOTHING, Estimate


@pytest.mark.parametrize(
    ("values", "kind", "text", "short", "mean"),
    [
        ((4.21, -1.04, 7.38), {}, "+4.2 points (95 % interval -1.0 to +7.4)",
         "+4.2 [-1.0, +7.4]", "+4.2 points"),
        ((42, 30, 54.9), {"unit": "%", "signed": False}, "42.0 % (95 % interval 30.0 to 54.9)",
         "42.0 [30.0, 54.9]", "42.0 %"),
        ((0.514, 0.4, 0.6), {"unit": "", "signed": False, "digits": 2},
         "0.51 (95 % interval 0.40 to 0.60)", "0.51 [0.40, 0.60]", "0.51"),
        ((0.01, -0.04, 0.06), {}, "+0.01 points (95 % interval -0.04 to +0.06)",
         "+0.01 [-0.04, +0.06]", "+0.01 points"),  # else no one could tell the sides of 0
        ((-1.0, -2.0, -0.03), {}, "-1.00 points (95 % interval -2.00 to -0.03)",
         "-1.00 [-2.00, -0.03]", "-1.00 points"),
        ((-0.001, -0.002, 0.0), {}, "+0.0 points (95 % interval +0.0 to +0.0)",
         "+0.0 [+0.0, +0.0]", "+0.0 points"),
        ((41.6, 30.2, 54.9), {"unit": "%", "signed": False, "digits": 0},
         "42 % (95 % interval 30 to 55)", "42 [30, 55]", "42 %"),
        ((4.21, np.nan, np.nan), {}, "+4.2 points (without an interval)", "+4.2",
         "+4.2 points"),
        ((np.nan, np.nan, np.nan), {}, "unknown", "unknown", "unknown"),
    ],
)  # fmt: skip
def test_an_estimate_writes_itself(values, kind, text, short, mean):
    estimate = Estimate(*map(np.float64, values), **kind)
    assert (str(estimate), f"{estimate}") == (text, text)
    assert (f"{estimate:short}", f"{estimate:mean}") == (short, mean)


def test_an_unknown_format_is_refused():
    with pytest.raises(ValueError, match=r"format is '\.1f'; allowed are mean and short, or none"):
        f"{Estimate(1, 0, 2):.1f}"


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((4.21, 1.04, 7.38), "a is 4.2 points ahead of b (95 % interval 1.0 to 7.4)"),
        ((-4.21, -7.38, -1.04), "a is 4.2 points behind b (95 % interval 1.0 to 7.4)"),
        ((-1.0, -2.0, -0.03), "a is 1.00 points behind b (95 % interval 0.03 to 2.00)"),
        ((4.21, -1.04, 9.5), "no difference between a and b can be told "
         "(+4.2 points, 95 % interval -1.0 to +9.5)"),
        ((4.21, np.nan, np.nan), "no difference between a and b can be told "
         "(+4.2 points, without an interval)"),
    ],
)  # fmt: skip
def test_a_difference_is_said_in_words(values, text):
    estimate = Estimate(*map(np.float64, values))
    assert estimate.between("a", "b") == text
    other = text.replace("ahead of", "above").replace("behind", "below")
    assert estimate.between("a", "b", ("above", "below")) == other


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (0.01, 0.02, "ahead"),
        (-0.02, -0.01, "behind"),
        (-0.01, 0.01, NOTHING),
        (0.0, 0.01, NOTHING),
        (-0.01, 0.0, NOTHING),
        (np.nan, np.nan, NOTHING),
    ],
)
def test_the_interval_decides(low, high, word):
    assert estimates.verdict(low, high) == Estimate(0, low, high).verdict == word
    other = {"ahead": "higher", "behind": "lower"}.get(word, word)
    assert estimates.verdict(low, high, estimates.HIGHER) == other


def test_numbers_of_one_row():
    key = {"target": "digits", "n_train": 20, "constraint": ROBUST}
    assert estimates.row(GAP, **key)["mean"] == 0.042
    assert f"{estimates.points(GAP, **key)}" == "+4.2 points (95 % interval +1.0 to +7.4)"
    assert f"{estimates.percent(GAP, **key):short}" == "4.2 [1.0, 7.4]"
    assert f"{estimates.plain(GAP, **key)}" == "0.04 (95 % interval 0.01 to 0.07)"
    assert f"{estimates.plain(GAP, digits=1, **key):mean}" == "0.0"
    assert f"{estimates.row(GAP.head(1))['target']}" == "digits"


SAYERS = [estimates.points, estimates.percent, estimates.plain]


@pytest.mark.parametrize("find", [estimates.row, *SAYERS])
def test_a_missing_row_is_named(find):
    # After a column in which nothing is left, too.
    key = {"target": "digits", "n_train": 80, "constraint": ROBUST}
    with pytest.raises(KeyError, match=r"0 rows with target digits, n_train 80, constraint ℓ2 0.2"):
        find(GAP, **key)
    with pytest.raises(KeyError, match="0 rows with target digits"):
        find(pd.DataFrame(), **key)  # a run may have left out everything
    with pytest.raises(KeyError, match="0 rows with target digits"):
        find(GAP[:0], **key)
    with pytest.raises(KeyError, match="2 rows with target digits; a sentence needs one"):
        find(GAP, target="digits")


@pytest.mark.parametrize("find", SAYERS)
def test_unless_the_sentence_says_what_then(find):
    for frame in (GAP, GAP[:0], pd.DataFrame()):
        assert find(frame, otherwise="not measured", target="none", n_train=20) == "not measured"
    assert isinstance(find(GAP, otherwise="not measured", constraint=UNTRAINED), Estimate)
    # What is wrong in the sentence itself stays an error.
    with pytest.raises(KeyError, match="no_column"):
        find(GAP, otherwise="not measured", no_column=1)
    with pytest.raises(KeyError, match="2 rows"):
        find(GAP, otherwise="not measured", target="digits")


def test_rows_are_chosen_by_their_columns():
    assert estimates.where(GAP, target="digits", n_train=40)["mean"].tolist() == [0.01]
    assert len(estimates.where(GAP, constraint=ROBUST)) == 3
    assert estimates.where(GAP, target="none").empty
    assert estimates.where(GAP[:0], target="digits").empty
