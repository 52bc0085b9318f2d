import numpy as np
import pandas as pd
import pytest
from crossed_effects import crossed

from lib.constraint import Constraint
from lib.studies import breakdowns, claims, contrasts, measured, predictions


def test_a_change_counts_where_its_interval_leaves_zero_out():
    rows = [
        ("flattened", 0.01, 0.03), ("flattened", -0.01, 0.03), ("flattened", -0.03, -0.01),
        ("flattened", np.nan, np.nan),
        ("phases at random", -0.03, -0.01), ("phases at random", -0.3, -0.1),
        ("phases at random", 0.01, 0.03),
    ]  # fmt: skip
    found = predictions.of_cues(pd.DataFrame(rows, columns=["version", "low", "high"]))
    assert list(found.itertuples(index=False, name=None)) == [
        ("flattened", "rises", 4, 1, 1),
        ("phases at random", "falls", 3, 2, 1),
    ]
    with pytest.raises(KeyError, match="upside down"):
        predictions.of_cues(pd.DataFrame({"version": ["upside down"], "low": 0.0, "high": 1.0}))


def test_what_is_foretold_is_what_the_file_says():
    said = claims.rules()["predictions"]["cues"]["says"]
    rises, falls = said.split("falls")
    assert "rises" in rises and "random" in falls
    for version, words in (
        ("flattened", "flattened"),
        ("texture of another", "amplitudes of another image"),
        ("phases at random", "phases at random"),
    ):
        side = rises if predictions.CUES[version] == predictions.RISES else falls
        assert words in side and said.count(words) == 1


def test_every_measured_version_was_foretold():
    rows = measured.evidence("photographs", "stylised")
    found = predictions.of_cues(breakdowns.shifts(rows, contrasts.robust("photographs")))
    assert set(found["version"]) == set(predictions.CUES)
    assert (found["targets"] == rows["target"].nunique()).all()
    assert (found["borne_out"] + found["contrary"] <= found["targets"]).all()


def test_controls_are_held_against_what_was_foretold_of_each():
    kinds = {kind: Constraint(kind, 0.3) for kind in predictions.CONTROLS}
    flat, up, less = crossed(0), crossed(5), crossed(2)

    def came(robust, **others):
        found = {kinds[kind.replace("_", " " if "until" in kind else "-")]: pair
                 for kind, pair in others.items()}  # fmt: skip
        table = predictions.of_controls(Constraint("l2", 0.5), robust, found)
        return dict(zip(table["source"].map(lambda one: one.name), table["borne_out"], strict=True))

    as_foretold = came(up, low_pass=(up, flat), noise=(less, less), natural_until=(flat, up))
    assert as_foretold == {"l2": True, "low-pass": True, "noise": True, "natural until": True}
    otherwise = came(flat, low_pass=(up, up), noise=(flat, up), natural_until=(up, flat))
    assert otherwise == dict.fromkeys(as_foretold, False)
    assert not came(up, low_pass=(flat, up))["low-pass"]
    assert not came(up, noise=(up, flat))["noise"]


def test_of_each_control_the_file_foretells_something():
    said = claims.rules()["predictions"]["resolution_of_controls"]["says"]
    for words in ("blurred images gain as the robust ones do", "noise gain\n", "do not change"):
        assert words.strip() in said
    rows = measured.evidence("photographs", "resolutions_of_controls")
    assert {one.name for one in rows["constraint"]} == set(predictions.CONTROLS)
