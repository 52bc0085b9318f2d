"""What is said of claims, controls and predictions."""

import pandas as pd
from crossed_effects import crossed

from lib.constraint import Constraint
from lib.figures import claim_words
from lib.studies import claims


def test_a_judgement_has_the_contrast_its_unit_and_the_interval_of_the_verdict():
    judged = claims.judge({"better": crossed(6), "most_with_few": crossed(0, 0.1)})
    said = claim_words.judgements(judged, "most_with_few", "better")
    few, better = said.split("; ")
    assert few.startswith("by contrasts fixed beforehand and with 95 % intervals for all claims")
    assert "“They do so most of all where the target has few labelled images” is " in few
    low, high = judged.set_index("claim").loc["most_with_few", ["low", "high"]]
    assert few.endswith(f"equivalent (+0.0 points a doubling, {low:+.1f} to {high:+.1f})")
    assert " is higher (+6.0 points, +" in better


def test_controls_are_grouped_by_what_their_intervals_tell():
    held = {"untrained": crossed(9), "noise": crossed(0), "blur": crossed(0.1), "luck": crossed(-9)}
    assert claim_words.beside_controls(held) == (
        "above zero (untrained), below zero (luck) and not to be told from zero (noise and blur)"
    )
    assert claim_words.beside_controls({"luck": crossed(-9)}) == "below zero (luck)"


def test_what_was_expected_of_controls_stands_beside_what_came():
    rows = [
        (Constraint("l2", 0.5), crossed(6), "rises", True),
        (Constraint("noise", 0.1), crossed(0), "rises by less", False),
    ]
    found = pd.DataFrame(rows, columns=["source", "change", "expected", "borne_out"])
    robust, noise = claim_words.of_controls(found)
    assert robust.startswith("ℓ2 0.5 − natural: +6.0 points (95 % interval")
    assert robust.endswith("), rises; expected was that it rises, which is borne out")
    assert noise.endswith("told; expected was that it rises by less, which is not borne out")


def test_what_was_not_found_is_said_first():
    judged = {
        "photographs": claims.judge({"better": crossed(6), "most_with_few": crossed(0, 0.1)}),
        "microcosm": claims.judge({"shape": crossed(-9)}),
    }
    called = {"better": "better", "most_with_few": "most with few", "shape": "shape"}
    assert claim_words.outcomes(called, judged["photographs"]) == [
        "What the paper leads one to expect is *not* borne out for 1 of the claims: most with few "
        "(equivalent).",
        "It is borne out for 1 of the claims: better (higher).",
        "Nothing was run for 1 of the claims: shape.",
    ]
    del called["better"], called["most_with_few"]
    missed, found = claim_words.outcomes(called, judged["microcosm"])
    assert missed.endswith("*not* borne out for 1 of the claims: shape (lower).")
    assert found == "It is borne out for none of the claims."


def test_a_prediction_is_said_with_the_targets_that_bear_it_out():
    found = {"version": ["flattened"], "expected": ["rises"], "targets": 3}
    found = pd.DataFrame(found | {"borne_out": 2, "contrary": 1})
    assert claim_words.predicted(found) == [
        "For the version “flattened” it was expected that the difference rises; "
        "this is borne out on 2 of 3 targets, and the contrary on 1."
    ]


def test_a_change_is_said_to_rise_or_to_fall_where_its_interval_tells():
    words = [claim_words.changed(crossed(mean)) for mean in (6, -6, 0.01)]
    assert words[0].startswith("+6.0 points (95 % interval +5") and words[0].endswith("), rises")
    assert words[1].endswith("), falls") and words[2].endswith("), no change can be told")


def test_what_falling_resolution_does_is_said_beside_what_was_expected():
    rises = pd.DataFrame({"target": ["a", "b", "c"], "low": [0.1, -1, -1], "high": [1, -0.1, 1]})
    assert claim_words.as_resolution_falls(rises, ["a"]) == (
        "As the resolution falls, the difference to natural sources changes as follows: rises on "
        "a; falls on b; no change can be told on c. A rise was expected on all targets, and is "
        "seen on 1 of 3. A change from below zero to above was expected on CIFAR-10; by intervals "
        "at both ends, it is seen on a."
    )


def test_how_many_expected_differences_are_borne_out():
    predicted = pd.DataFrame({"low": [0.04, -0.01, 0.02]})
    assert claim_words.borne_out(predicted) == (
        "Of the 3 differences that were expected to be above zero, 2 are, by intervals that hold "
        "together; the lowest begins at -1.0 points."
    )
