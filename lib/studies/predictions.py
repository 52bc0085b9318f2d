"""What data/claims.yaml foretells besides the claims, and on how many targets it came so."""

import pandas as pd

RISES, FALLS = "rises", "falls"
CUES = {"flattened": RISES, "texture of another": RISES, "phases at random": FALLS}
"""What robust − natural was expected to do where a cue is taken from a target, by its version."""


def of_cues(shifts: pd.DataFrame) -> pd.DataFrame:
    """Hold what a version of a target adds to robust − natural against what CUES foretells.

    shifts: of `lib.studies.breakdowns.shifts`. A change is told where its interval leaves 0 out; of
    one seed there is none, and nothing is told.

    Returns a row for each version: version, expected, and the numbers of targets, of those on which
    the change is as expected (borne_out) and of those on which it is the contrary. Raises KeyError
    for a version of which nothing was foretold.
    """
    rows = []
    for version, part in shifts.groupby("version", sort=False):
        expected = CUES[version]
        changes = {RISES: int((part["low"] > 0).sum()), FALLS: int((part["high"] < 0).sum())}
        told = {"version": version, "expected": expected, "targets": len(part)}
        told |= {"borne_out": changes.pop(expected), "contrary": sum(changes.values())}
        rows.append(told)
    return pd.DataFrame(rows)
