"""Radii at which robust sources are attacked, those of their own training among them."""

from collections.abc import Iterable

import pandas as pd

DOUBLING = {"l2": (0.125, 0.25, 0.5, 1, 2), "linf": tuple(k / 255 for k in (1, 2, 4, 8, 16))}
"""By norm, in pixels of [0, 1]: from what hardly any network minds to what few withstand."""
SAME = 0.02
"""Share of a radius within which another would tell nothing new: 0.0157 is 4/255."""


def with_own(**own: Iterable[float]) -> dict[str, list[float]]:
    """Return growing radii for each norm: 0, those of the rungs, and those of DOUBLING.

    own: by norm, "l2" or "linf", the radii of the rungs, in pixels of [0, 1]; they are kept as they
    are, and what lies as near to one as SAME says is left out for it. Raises KeyError for another
    norm.
    """
    found = {}
    for norm, rungs in own.items():
        kept = {float(eps) for eps in rungs}
        more = (e for e in DOUBLING[norm] if all(abs(e - eps) > SAME * eps for eps in kept))
        found[norm] = sorted({0.0, *kept, *map(float, more)})
    return found


def at_own(found: pd.DataFrame) -> pd.DataFrame:
    """Keep of each robust source what is said of attacks within the ball of its own training.

    found: of attacks as `lib.robustness.curve` names them: columns constraint, norm and attack_eps.
    """
    balls = zip(found["constraint"], found["norm"], found["attack_eps"], strict=True)
    return found[[one.name == norm and one.amount == eps for one, norm, eps in balls]]
