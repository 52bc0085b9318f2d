"""Differences by size, by target and by how it is shown, on rows made by hand."""

from statistics import mean

import numpy as np
import pandas as pd
import pytest
from paired_rows import OTHER, ROBUST, SIZES, made
from scipy.stats import t as student

from lib.constraint import NATURAL, UNTRAINED, Constraint
from lib.random_effects import effect
from lib.stats import interval
from lib.studies import breakdowns, claims

# By size, target and resolution.


def test_sizes_that_a_single_target_has_are_left_out():
    sizes = {"a": (100, 200, 400), "b": (100, 200), "c": (100,)}
    rows = made(lambda t, s, n, i: {100: 1, 200: 2, 400: 9}[n] + s, sizes=sizes)
    found = breakdowns.along(rows, ROBUST, "n_train")
    assert list(found) == [100, 200] and all(type(n) is int for n in found)
    assert [e.mean for e in found.values()] == pytest.approx([2, 3])
    assert [(e.targets, e.seeds) for e in found.values()] == [(3, 3), (2, 3)]
    alone = breakdowns.along(rows[rows["target"] == "a"], ROBUST, "n_train")
    assert {(n, e.targets) for n, e in alone.items()} == {(100, 1), (200, 1), (400, 1)}


def test_subsets_deviate_from_the_mean_of_their_seed():
    rows = made(lambda t, s, n, i: 10 * s + (3 if i else 1) * (1 if t == "a" else 2))
    variances = (2, 8)  # of 1 and 3, and of 2 and 6
    assert breakdowns.of_subsets(rows, ROBUST) == pytest.approx(mean(variances) ** 0.5)


def test_the_size_of_the_largest_lead():
    rows = made(lambda t, s, n, i: n if t == "a" else -n, value="mean", seeds=(0,), subsets=1)
    assert breakdowns.peaks(rows, ROBUST).to_dict() == {"a": 400, "b": 100}


def test_by_target_gives_the_interval_over_the_seeds_and_each_seed():
    own = {0: 1.0, 1: 3.0, 2: 2.0}
    rows = made(lambda t, s, n, i: own[s] * (1 if t == "a" else -1) + (2 * i - 1))
    found = breakdowns.by_target(rows, ROBUST, "n_train")
    places = set(found[["target", "n_train"]].itertuples(index=False, name=None))
    assert places == {(t, n) for t, sizes in SIZES.items() for n in sizes}
    assert len(found) == 5
    for row in found.itertuples():
        sign = 1 if row.target == "a" else -1
        assert row.of_seeds == pytest.approx([sign * gain / 100 for gain in own.values()])
        assert (row.mean, row.low, row.high) == pytest.approx(interval(row.of_seeds))
    plain = breakdowns.by_target(rows, ROBUST).set_index("target")["mean"]
    assert plain.to_dict() == pytest.approx({"a": 0.02, "b": -0.02})


def test_one_seed_has_no_interval():
    found = breakdowns.by_target(made(lambda t, s, n, i: 2, seeds=(0,), subsets=1), ROBUST)
    assert found["mean"].tolist() == pytest.approx([0.02, 0.02])
    assert found[["low", "high"]].isna().all(axis=None)


def test_intervals_that_hold_together_are_wider():
    rows = made(lambda t, s, n, i: s)
    alone, together = (
        breakdowns.by_target(rows, ROBUST, "n_train", level=claims.simultaneous(k)) for k in (1, 6)
    )
    assert alone["mean"].equals(together["mean"])
    assert (together["low"] < alone["low"]).all() and (together["high"] > alone["high"]).all()


def test_along_the_depths_the_sizes_weigh_the_same():
    gains = {0: 1.0, 5: 7.0}
    rows = pd.concat(
        made(lambda t, s, n, i, g=g: g + s + (n == 100), unfrozen_blocks=k)
        for k, g in gains.items()
    )
    found = breakdowns.along(rows, ROBUST, "unfrozen_blocks")
    assert list(found) == [0, 5]
    shares = [1 / len(sizes) for sizes in SIZES.values()]  # of the 100 among a target's sizes
    for k, e in found.items():
        assert e.mean == pytest.approx(gains[k] + 1 + mean(shares))


def test_resolution_is_the_change_by_halving():
    slopes = {"a": 3, "b": 1}
    rows = pd.concat(
        made(lambda t, s, n, i, h=h: -4 + (slopes[t] + s - 1) * h, resolution=32 // 2**h)
        for h in (0, 1, 2)
    )
    assert breakdowns.resolution(rows, ROBUST).mean == pytest.approx(2)
    found = breakdowns.resolution_by_target(rows, ROBUST).set_index("target")
    assert (100 * found["mean"]).to_dict() == pytest.approx(slopes)
    assert (found["low"] <= found["mean"]).all() and (found["mean"] <= found["high"]).all()


def test_controls_are_compared_at_the_sizes_that_they_have():
    def shown(gain, sizes):
        return pd.concat(
            made(lambda t, s, n, i, h=h: gain * h * n / 100, sizes=sizes, resolution=32 // 2**h)
            for h in (0, 1, 2)
        )

    rows = shown(2, {"a": (100, 400), "b": (100, 400)})
    control = shown(1, {"a": (100,), "b": (100,)})
    control = control[control["constraint"] == ROBUST].assign(constraint=OTHER)
    ((one, (own, less)),) = breakdowns.resolution_of_each(rows, control, ROBUST).items()
    assert one == OTHER and (own.mean, less.mean) == pytest.approx((1, 1))
    assert breakdowns.resolution_of_each(rows, control[:0], ROBUST) == {}


def test_the_controls_of_one_accuracy_stand_beside_the_robust_source():
    rows = made(lambda t, s, n, i: {"a": 3, "b": 5}[t] + s - 1)
    noise, early = Constraint("noise", 0.05), Constraint("natural until", 0.29)
    others = [rows[rows["constraint"] == ROBUST].assign(constraint=one) for one in (early, noise)]
    random = rows[rows["constraint"] == NATURAL].assign(constraint=UNTRAINED)
    rows = pd.concat([rows, *others, random])
    found = breakdowns.over_natural(rows, ROBUST)
    assert list(found["source"].unique()) == [ROBUST, noise, early]
    for target, gain in (("a", 0.03), ("b", 0.05)):
        means = found.loc[found["target"] == target, "mean"]
        assert means.tolist() == pytest.approx([gain] * 3)
    beyond = breakdowns.by_target(rows, ROBUST, second=noise)
    assert beyond["mean"].tolist() == pytest.approx([0, 0], abs=1e-9)
    left = breakdowns.without_controls(rows)
    assert set(left["constraint"]) == {NATURAL, ROBUST}


def test_at_all_sizes_the_intervals_of_a_target_hold_together():
    rows = made(lambda t, s, n, i: s)
    other = rows[rows["constraint"] == ROBUST].assign(constraint=OTHER)
    found = breakdowns.at_all_sizes(pd.concat([rows, other]))
    assert set(found["constraint"]) == {ROBUST, OTHER}
    for target, sizes in SIZES.items():
        level = claims.simultaneous(len(sizes))
        expected = breakdowns.by_target(rows, ROBUST, "n_train", level=level)
        expected = expected[expected["target"] == target].sort_values("n_train")
        for one in (ROBUST, OTHER):
            part = found[(found["target"] == target) & (found["constraint"] == one)]
            part = part.sort_values("n_train")
            assert part["n_train"].tolist() == list(sizes)
            columns = ["mean", "low", "high"]
            assert np.allclose(part[columns], expected[columns])


def test_a_head_is_held_against_training_all_from_random_weights():
    head = made(lambda t, s, n, i: {"a": 3, "b": 5}[t]).assign(unfrozen_blocks=0)
    head["clean_accuracy"] += 0.2 * (head["constraint"] == UNTRAINED)  # plays no part
    whole = made(lambda t, s, n, i: 9).assign(unfrozen_blocks=5)  # nor do robust sources here
    natural = head[head["constraint"] == NATURAL].assign(constraint=UNTRAINED, unfrozen_blocks=5)
    whole = whole[whole["constraint"] == ROBUST]
    found = breakdowns.head_over_scratch(pd.concat([head, whole, natural]), ROBUST)
    assert found.groupby("target")["mean"].mean().to_dict() == pytest.approx({"a": 0.03, "b": 0.05})
    assert set(found["n_train"]) == set(head["n_train"])


# Descriptions.


def test_shifts_are_what_a_version_adds_to_the_difference():
    usual = made(lambda t, s, n, i: 1 + s).assign(version="as it is")
    flat = made(lambda t, s, n, i: {"a": 4, "b": 6}[t] + 2 * s).assign(version="flat")
    found = breakdowns.shifts(pd.concat([flat, usual]), ROBUST).set_index("target")
    assert set(found["version"]) == {"flat"}  # and the seeds add 0, 1, 2
    assert (100 * found["mean"]).to_dict() == pytest.approx({"a": 4 - 1 + 1, "b": 6 - 1 + 1})
    for target, centre in (("a", 4), ("b", 6)):
        expected = interval([centre - 1, centre, centre + 1])
        shares = found.loc[target, ["mean", "low", "high"]].tolist()
        assert [100 * share for share in shares] == pytest.approx(expected)


def test_the_interquartile_mean_is_that_of_the_middle_half():
    gains = iter([-90, 0, 1, 2, 3, 4, 5, 700])
    rows = made(lambda *_: next(gains), sizes={"a": (100, 200)}, seeds=(0, 1))
    assert breakdowns.interquartile(rows, ROBUST) == pytest.approx(mean([1, 2, 3, 4]))


def test_the_probability_of_improvement_by_hand():
    def of(target, natural, robust):
        sides = ((NATURAL, natural), (ROBUST, robust), (OTHER, [9, 9]))
        return [
            {"target": target, "n_train": 20, "constraint": name, "clean_accuracy": value}
            for name, values in sides
            for value in values
        ]

    # Of a the robust wins 3 of 4 pairs; of b 1 of 6, and 2 are ties.
    rows = pd.DataFrame(of("a", [1, 3], [2, 4]) + of("b", [2, 5, 5], [2, 3]))
    assert breakdowns.improvement(rows, ROBUST) == pytest.approx((3 / 4 + 1.5 / 6) / 2)
    assert breakdowns.improvement(rows, NATURAL, ROBUST) == pytest.approx((1 / 4 + 4.5 / 6) / 2)


def test_hidden_shares_are_means_in_percent():
    rows = pd.DataFrame(
        {"labels": labels, "constraint": name, "source_seed": s, "subset_seed": 0}
        | {"match": 0.5 + 0.1 * s, "three_of_five": 0.4, "chance": 0.1, "clean_accuracy": clean}
        for labels, clean in (("true", 0.9), ("random", 0.5))
        for name in (NATURAL, ROBUST)
        for s in (0, 1)
    )
    found = breakdowns.hidden_shares(rows)
    assert list(found) == ["first image", "three of five", "chance", "groups told apart"]
    assert list(found.index) == [(t, c) for t in ("true", "random") for c in (NATURAL, ROBUST)]
    assert found.loc[("true", ROBUST)].tolist() == pytest.approx([55, 40, 10, 90])


def test_a_target_turns_where_its_ends_lie_on_either_side_of_zero():
    rows = [("up", 32, -2, -1), ("up", 8, 1, 2), ("down", 8, -2, -1), ("down", 32, 1, 2)]
    rows += [("above", 8, 2, 3), ("above", 32, 1, 2), ("unsure", 8, -1, 3), ("unsure", 32, -3, -1)]
    at = pd.DataFrame(rows, columns=["target", "resolution", "low", "high"])
    assert breakdowns.turned(at) == ["up"]


def test_each_target_is_judged_by_intervals_for_all_of_them():
    gain, luck = {"a": 5, "b": 0, "c": -5, "d": 3}, {"a": 0.1, "b": 0.1, "c": 0.1, "d": 4}
    sizes = dict.fromkeys(gain, (100,))
    rows = made(lambda t, s, n, i: gain[t] + luck[t] * (s - 1), sizes=sizes)
    found = breakdowns.judged_by_target(rows, ROBUST).set_index("target")
    assert found["verdict"].to_dict() == {
        "a": "higher", "b": "equivalent", "c": "lower", "d": "undecided",
    }  # fmt: skip
    alone = breakdowns.by_target(rows, ROBUST).set_index("target")
    assert (found["low"] < alone["low"]).all() and (found["mean"] == alone["mean"]).all()


def test_images_that_lack_a_cue_are_named():
    rows = [("as it is", None, None), ("blurred", None, None), ("edges", None, None)]
    rows += [(f"high-pass {at}", "high-pass", at) for at in (0.06, 0.12)]
    found = breakdowns.cut_away(pd.DataFrame(rows, columns=["version", "filter", "at"]), at=0.12)
    shown = [("as it is", "as they are"), ("edges", "of edges")]
    shown += [("high-pass 0.12", "without low frequencies")]
    assert list(found[["version", "images"]].itertuples(index=False, name=None)) == shown


def test_so_many_targets_narrow_an_interval_as_they_would_if_they_were_measured():
    rng = np.random.default_rng(0)
    drawn = rng.normal(0, 4, (400, 1)) + np.zeros((400, 3))  # seeds agree: the targets alone count
    cells = [(f"t{t}", s, drawn[t, s]) for t in range(400) for s in range(3)]
    known = pd.DataFrame(cells, columns=["target", "source_seed", "gap"])
    found = effect(known, "gap")
    for half in (0.5, 2.0):
        n = breakdowns.targets_needed(found, half, 0.95)
        reach = [student.ppf(0.975, k - 1) * drawn[:, 0].std(ddof=1) / k**0.5 for k in (n - 1, n)]
        assert reach[0] > half >= reach[1]
