import numpy as np
import pandas as pd
import pytest

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
