"""What data/claims.yaml foretells besides the claims, and on how many targets it came so."""

from collections.abc import Mapping

import pandas as pd

from lib.constraint import Constraint
from lib.random_effects import Effect

RISES, FALLS = "rises", "falls"
CUES = {"flattened": RISES, "texture of another": RISES, "phases at random": FALLS}
"""What robust − natural was expected to do where a cue is taken from a target, by its version."""
CONTROLS = {
    "low-pass": "rises as that of the robust source does",
    "noise": "rises by less than that of the robust source",
    "natural until": "does not change",
}
"""What control − natural was expected to do as the resolution falls, by the kind of control."""


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


def of_controls(
    robust: Constraint, change: Effect, others: Mapping[Constraint, tuple[Effect, Effect]]
) -> pd.DataFrame:
    """Hold what each source gains over natural as the resolution falls against what was foretold.

    robust: of which it was expected that it rises. change: of robust − natural, for each halving.
    others: by control, that of control − natural and that of robust − control, as of
    `lib.studies.breakdowns.resolution_of_each`. A change is told where its interval leaves 0 out.

    Returns a row for each source: source, change, expected, and whether it came so (borne_out); the
    robust one first. Raises KeyError for a kind of source of which nothing was foretold.
    """
    rows = [(robust, change, RISES, _rises(change))]
    for source, (own, less) in others.items():
        came = {
            "low-pass": _rises(own) and not _changes(less),
            "noise": _rises(own) and _rises(less),
            "natural until": not _changes(own),
        }
        rows.append((source, own, CONTROLS[source.name], came[source.name]))
    return pd.DataFrame(rows, columns=["source", "change", "expected", "borne_out"])


def _rises(effect):
    """Tell whether the whole interval is above 0."""
    return effect.interval()[0] > 0


def _changes(effect):
    """Tell whether the interval leaves 0 out."""
    low, high = effect.interval()
    return low > 0 or high < 0
