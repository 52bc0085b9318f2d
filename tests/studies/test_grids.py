"""What the ends of grids change, on rows made by hand whose truth is known."""

import pandas as pd
import pytest
from paired_rows import OTHER, ROBUST, SEEDS, made

from lib.constraint import NATURAL
from lib.studies import contrasts, grids

SIZES = {"a": (100, 200), "b": (200,)}


def tuned(gain, **columns):
    """Rows of natural and robust sources, these ahead by `gain` points, two subsets a seed."""
    return made(gain, sizes=SIZES).assign(**columns)


@pytest.fixture
def narrow():
    return tuned(lambda t, s, n, i: 3 if n == 200 else 1 + 2 * i + s)


def higher(rows, points):
    """The same models with the fewest images, by points(row) better."""
    some = grids.fewest(rows)
    more = [points(row) / 100 for row in some.itertuples()]
    return some.assign(clean_accuracy=some["clean_accuracy"] + more)


def test_the_fewest_images_are_those_that_each_target_has(narrow):
    held = grids.fewest(narrow).groupby("target")["n_train"].unique()
    assert {target: sizes.tolist() for target, sizes in held.items()} == {"a": [100], "b": [200]}


def test_the_largest_value_is_counted_by_source():
    rates = {NATURAL: [0.1, 0.3, 0.3, 0.3], ROBUST: [0.01, 0.3, 0.1, 0.1], OTHER: [0.1] * 4}
    rows = pd.DataFrame([(c, lr) for c, tried in rates.items() for lr in tried])
    rows.columns = ["constraint", "lr"]
    found = grids.at_the_end(rows.sample(frac=1, random_state=0), "lr")
    assert found.to_dict() == {NATURAL: 0.75, ROBUST: 0.25, OTHER: 0}
    assert list(found.index) == sorted(rates)
    assert grids.at_the_end(rows, "lr", 1.0).tolist() == [
        0,
        0,
        0,
    ]  # which was tried, and never best


def test_a_change_is_paired_and_of_the_fewest_images_alone(narrow):
    wide = higher(narrow, lambda row: (row.constraint == ROBUST) * (2 + row.source_seed) - 1)
    found = grids.effects(wide, narrow, "clean_accuracy", ROBUST)
    # With the fewest images a has 1 + 2i + s, b 3; what is added is 2 + s for both.
    seeds = sum(SEEDS) / len(SEEDS)
    assert found["narrow"].mean == pytest.approx(((2 + seeds) + 3) / 2)
    assert found["change"].mean == pytest.approx(2 + seeds)
    assert found["wide"].mean == pytest.approx(found["narrow"].mean + found["change"].mean)
    assert found["change"].spread["target"] == pytest.approx(0)
    assert found["change"].seeds == len(SEEDS) and found["change"].targets == 2
    alike = contrasts.better(grids.fewest(narrow), ROBUST)
    assert found["narrow"].mean == pytest.approx(alike.mean)
    assert found["narrow"].se == pytest.approx(alike.se)
    assert grids.moved(wide, narrow, "clean_accuracy").to_dict() == pytest.approx(
        {NATURAL: -1, ROBUST: 1 + seeds}
    )


def test_the_same_models_change_nothing(narrow):
    shuffled = higher(narrow, lambda row: 0).sample(frac=1, random_state=0)
    found = grids.effects(shuffled, narrow, "clean_accuracy", ROBUST)
    assert found["wide"].mean == pytest.approx(found["narrow"].mean)
    assert found["change"].mean == found["change"].se == 0 and found["change"].p == 1


def test_models_of_other_draws_are_no_partners(narrow):
    wide = higher(narrow, lambda row: 0)
    lost = narrow.drop(grids.fewest(narrow).index[0])
    of_others = wide.assign(subset_seed=wide["subset_seed"] + 2000)
    for rows, known, partners in ((wide, lost, len(wide) - 1), (of_others, narrow, 0)):
        said = f"{len(wide)} models of the wider grid have {partners} partners"
        with pytest.raises(ValueError, match=said):
            grids.effects(rows, known, "clean_accuracy", ROBUST)
