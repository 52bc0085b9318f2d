"""What sources see in photographs: measured part by part, and set against each other."""

import numpy as np
import pandas as pd
import pytest

from lib import features
from lib.constraint import NATURAL, UNTRAINED, Constraint
from lib.images import sample
from lib.stats import interval
from lib.studies import claims, inverted, likeness, synthesis
from lib.training import pixels

ROBUST, STRONG = Constraint("l2", 0.25), Constraint("linf", 2 / 255)
NOISE, EARLY = Constraint("noise", 0.05), Constraint("natural until", 0.3)
BLURRED = Constraint("low-pass", 0.4)
SEARCH = {"steps": 4, "size": 1.0}


def test_parts_together_are_the_whole(natural, robust, world):
    images = sample(world[1], 40, seed=0)
    others = world[1][likeness.elsewhere(images.y, world[1].y, seed=0)]
    jury = {"one": [robust], "both": [natural, robust]}
    rows = inverted.inversions(natural, images, others, jury, **SEARCH)
    assert len(rows) == 2 * inverted.PARTS and rows["part"].nunique() == inverted.PARTS
    whole = synthesis.invert(natural, images, others, jury, keep=[], **SEARCH)
    for one in whole.rows:
        part = rows[rows["start"] == one["start"]]
        for measure in ("left", "covered", *jury):
            assert part[measure].mean() == pytest.approx(one[measure], rel=1e-3, abs=1e-3)
        (found,) = whole.pictures[one["start"]].values()
        wrong = pixels(images.x).unflatten(0, (inverted.PARTS, -1)).roll(1, 1).flatten(0, 1)
        other = float(likeness.similarity(found, wrong).mean())
        assert part["structure"].mean() == pytest.approx(one["ssim"] - other, abs=1e-3)
    right = likeness.recognised({"it": [natural]}, pixels(images.x), images.y)["it"]
    assert rows["told"].mean() == pytest.approx(right)
    assert rows["told_in_noise"].mean() <= 1


def made(value, kinds=(NATURAL, ROBUST, STRONG, NOISE, BLURRED, EARLY, UNTRAINED), seeds=4):
    """Make rows of one start. value: of a kind of source, and of a kind of judge or ""."""
    rng = np.random.default_rng(0)
    luck = rng.normal(scale=0.01, size=(seeds, inverted.PARTS))
    return pd.DataFrame(
        {
            "constraint": kind, "source_seed": seed, "start": "noise", "part": part,
            "structure": value(kind, "") + luck[seed, part], "told": 0.3, "told_in_noise": 0.2,
            **{inverted.judges(j): value(kind, j) + luck[seed, part] for j in kinds[:-1]},
        }
        for kind in kinds for seed in range(seeds) for part in range(inverted.PARTS)
    )  # fmt: skip


def test_pairs_share_seed_and_images():
    rows = made(lambda kind, judge: 0.5 if kind == ROBUST else 0.1)
    found = inverted.over_each(rows, ROBUST, [NATURAL, NOISE])
    assert found["mean"].to_numpy() == pytest.approx(0.4)  # their luck pairs away
    assert (found["high"] - found["low"]).to_numpy() == pytest.approx(0, abs=1e-9)
    assert list(found["against"].unique()) == [NATURAL, NOISE]


def test_intervals_are_of_seeds_and_of_images():
    rng = np.random.default_rng(1)
    rows = made(lambda kind, judge: 0.2)
    seeds = dict(enumerate(rng.normal(scale=0.05, size=4)))
    more = rows["source_seed"].map(seeds).where(rows["constraint"] == ROBUST, 0.0)
    found = inverted.over_each(rows.assign(structure=rows["structure"] + more), ROBUST, [NATURAL])
    row = found[found["measure"] == "structure"].iloc[0]
    assert (row["mean"], row["low"], row["high"]) == pytest.approx(interval(list(seeds.values())))
    wide = inverted.over_each(
        rows.assign(structure=rows["structure"] + more), ROBUST, [NATURAL], intervals=6
    ).iloc[0]
    assert wide["low"] < row["low"] < row["high"] < wide["high"]


def test_strangers_are_of_neither_family_and_none_joined_later():
    known = {NATURAL: 0.1, EARLY: 0.2, NOISE: 0.4, ROBUST: 0.8, STRONG: 0.9, BLURRED: 0.7}
    rows = made(lambda kind, judge: known.get(judge, 0.0) if kind == ROBUST else 0.0)
    found = inverted.over_each(rows, ROBUST, [NATURAL, NOISE, EARLY])
    found = found[found["measure"] == inverted.STRANGERS].set_index("against")["mean"]
    assert found[NATURAL] == found[EARLY] == pytest.approx(0.4)  # noise alone
    assert found[NOISE] == pytest.approx(0.15)  # natural ones, whenever they ended
    few = rows.drop(columns=[inverted.judges(kind) for kind in (NATURAL, EARLY)])
    few = inverted.over_each(few, ROBUST, [NOISE])
    assert inverted.STRANGERS not in set(few["measure"])


def test_shares_begin_with_what_judges_tell_of_the_photographs():
    found = inverted.shares(made(lambda kind, judge: 0.5 if judge == STRONG else 0.1))
    assert list(found.index[:2]) == ["the photographs", "the same in noise"]
    assert found.iloc[0].to_numpy() == pytest.approx(30)
    assert found.iloc[1].to_numpy() == pytest.approx(20)
    assert found.loc[ROBUST, STRONG] == pytest.approx(50, abs=1)
    assert UNTRAINED not in found and found.columns.name == "judged by"


def test_what_was_predicted_holds_together():
    rows = made(lambda kind, judge: 0.5 if kind == ROBUST else 0.1)
    found = inverted.predicted(rows, ROBUST)
    assert set(found["measure"]) == {"structure", inverted.judges(ROBUST)}
    assert list(found["against"].unique()) == [NATURAL, NOISE, EARLY] and len(found) == 6
    fixed = claims.rules()["predictions"]["inversion"]["says"]
    assert all(word in fixed for word in ("structure", "natural", "noise", "stopping early"))


def test_noise_is_that_of_the_start(natural, robust, world):
    images = sample(world[1], 20, seed=0)
    others = world[1][likeness.elsewhere(images.y, world[1].y, seed=0)]
    rows = inverted.inversions(natural, images, others, {}, **SEARCH)
    grain = features.noise(20, images.x.shape[-1], seed=0) - 0.5
    shown = (pixels(images.x) + grain).clamp(0, 1)
    right = likeness.recognised({"it": [natural]}, shown, images.y)["it"]
    assert rows["told_in_noise"].mean() == pytest.approx(right)
