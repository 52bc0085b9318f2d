"""What is asked of fine-tuned networks besides their accuracy: speed, and robustness kept."""

from collections.abc import Callable, Sequence
from functools import partial

import pandas as pd

from lib import stats
from lib.attacks import L2
from lib.constraint import Constraint
from lib.images import Images
from lib.robustness import accuracy, robust_accuracy

PAIR = ["source_seed", "subset_seed"]
UNATTACKED = "no attack"


def head_start(curves: pd.DataFrame, early: int) -> pd.DataFrame:
    """Summarise what each source gains over the natural one by being faster rather than better.

    That is its difference to the natural source after the epoch `early` minus that after the last
    one, pair by pair. curves: rows of `lib.transfer.transfer` of one target, size and depth, each
    model recorded after both epochs.

    Returns constraint, mean, low, high and seeds, as `lib.stats.paired` does.
    """
    keys = ["constraint", *PAIR]
    last = curves[curves["epoch"] == curves["epoch"].max()]
    both = curves[curves["epoch"] == early].merge(last, on=keys, suffixes=("_early", ""))
    both["head_start"] = both["clean_accuracy_early"] - both["clean_accuracy"]
    return stats.paired(both, "head_start", [])


def area(curves: pd.DataFrame) -> pd.DataFrame:
    """Return the last row of each fine-tuned model, and area, the mean of its accuracy, 0 to 1.

    curves: rows of `lib.transfer.transfers` in their order, recorded after every epoch.
    """
    model = (curves["epoch"] <= curves["epoch"].shift(fill_value=0)).cumsum()
    ended = curves.groupby(model).tail(1)
    means = curves.groupby(model)["clean_accuracy"].mean()
    return ended.assign(area=means.to_numpy()).reset_index(drop=True)


def attacks(images: Images, l2: Sequence[float], *, steps: int) -> dict[str, Callable]:
    """Return measures for `lib.transfer.transfer`: accuracy on images as they are, and attacked.

    l2: radii, in pixels of [0, 1]. steps: of PGD. The measures are named "no attack" and as the
    constraints are, ℓ2 0.5, in order of growing radius.
    """
    measures: dict[str, Callable] = {UNATTACKED: partial(accuracy, images=images)}
    for eps in sorted(l2):
        attacked = partial(robust_accuracy, ball=L2(eps), images=images, steps=steps)
        measures[str(Constraint("l2", eps))] = attacked
    return measures


def by_attack(rows: pd.DataFrame, measures: Sequence[str]) -> pd.DataFrame:
    """Give each attack that was measured a row of its own: columns attack and robust_accuracy."""
    others = [column for column in rows if column not in measures]
    return rows.melt(others, list(measures), var_name="attack", value_name="robust_accuracy")
