import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from lib.constraint import NATURAL, UNTRAINED, Constraint
from lib.stats import (
    NONE,
    best,
    by_doubling,
    interval,
    paired,
    rank_correlation,
    resampled,
    slopes,
    summary,
)

ROBUST = Constraint("l2", 0.25)
STRONGER = Constraint("l2", 0.5)


def frame(constraints=(NATURAL, ROBUST), seeds=4, subsets=3, sizes=(20, 40), noise=0.01):
    """Accuracies with a known lead of the later constraints, and luck of three kinds."""
    rng = np.random.default_rng(0)
    rows = []
    for size in sizes:
        for seed in range(seeds):
            for subset in range(subsets):
                shared = rng.normal(0, 0.1)  # what a pair has in common
                for lead, constraint in enumerate(constraints):
                    value = 0.5 + 0.1 * lead + shared + rng.normal(0, noise)
                    rows.append((size, seed, 10 * seed + subset, constraint, value))
    columns = ["n_train", "source_seed", "subset_seed", "constraint", "clean_accuracy"]
    return pd.DataFrame(rows, columns=columns).sample(frac=1, random_state=0)


def test_interval_is_that_of_the_one_sample_t_test():
    values = np.random.default_rng(1).normal(3, 2, 7)
    mean, low, high = interval(values)
    expected = scipy_stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (low, high) == pytest.approx((expected.low, expected.high))
    assert mean == pytest.approx(values.mean())
    # By hand: of −1 and 1 the mean is 0 with a standard error of 1, and t(0.975, 1) = 12.7062.
    assert interval([-1, 1]) == pytest.approx((0, -12.7062, 12.7062), rel=1e-5)
    # What agrees tells nothing of the spread, up to rounding.
    for same in ([2, 2, 2], [0.1 + 0.2, 0.3]):
        assert interval(same) == pytest.approx((same[0], np.nan, np.nan), nan_ok=True)


def test_interval_of_one_value_and_of_none():
    mean, low, high = interval([0.7])
    assert mean == 0.7 and np.isnan(low) and np.isnan(high)
    with pytest.raises(ValueError, match="no values"):
        interval([])


def test_resampled_widens_as_nadeau_and_bengio_do():
    # By hand: of 0.70 and 0.72 s is 0.014142; with half of the images tested on the variance of
    # the mean is (1/2 + 1)·s², and t(0.975, 1) = 12.7062.
    half = 12.7062 * (1.5 * 0.0002) ** 0.5
    assert resampled([0.70, 0.72], 0.5) == pytest.approx((0.71, 0.71 - half, 0.71 + half), rel=1e-5)
    values = np.random.default_rng(0).normal(0.5, 0.1, 9)
    mean, low, high = resampled(values, 0.25)
    half = scipy_stats.t.ppf(0.975, 8) * values.std(ddof=1) * (1 / 9 + 1 / 3) ** 0.5
    assert (mean, low, high) == pytest.approx((values.mean(), mean - half, mean + half))
    assert np.isnan(resampled([0.5], 0.25)[1:]).all()
    with pytest.raises(ValueError, match="no values"):
        resampled([], 0.25)


def test_resampled_covers_the_truth_where_plain_intervals_of_splits_do_not():
    """Accuracy by repeated splits of 60 images, each right with chance 0.7, whoever trains."""
    rng = np.random.default_rng(1)
    covered = {"plain": 0, "resampled": 0}
    for _ in range(200):
        right = rng.random(60) < 0.7
        values = [right[rng.permutation(60)[:15]].mean() for _ in range(20)]
        for name, (_, low, high) in (
            ("plain", interval(values)), ("resampled", resampled(values, 0.25)),
        ):  # fmt: skip
            covered[name] += low <= 0.7 <= high
    assert covered["plain"] < 150 and covered["resampled"] >= 185


def two_levels(trials, seeds, subsets, rng):
    """Rows of a world whose true mean is 0: luck of the source seed, and of the subsets in it."""
    source = rng.normal(0, 1, (trials, seeds, 1))
    value = source + rng.normal(0, 1, (trials, seeds, subsets))
    trial, seed, _ = np.indices(value.shape)
    names = ("trial", "source_seed", "value")
    parts = (trial.ravel(), seed.ravel(), value.ravel())
    return pd.DataFrame(dict(zip(names, parts, strict=True)))


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rows = two_levels(1500, seeds=5, subsets=10, rng=np.random.default_rng(0))
    found = summary(rows, "value", ["trial"])
    covered = ((found["low"] < 0) & (found["high"] > 0)).mean()
    assert abs(covered - 0.95) < 0.018  # three standard errors
    # Pooling all models as if they were independent covers far less.
    pooled = rows.groupby("trial")["value"].agg(["mean", "std", "size"])
    half = scipy_stats.t.ppf(0.975, pooled["size"] - 1) * pooled["std"] / pooled["size"] ** 0.5
    assert (pooled["mean"].abs() < half).mean() < 0.75


def with_subsets(rows, *, shared):
    """Number the subsets, the same for all source seeds or each seed's own."""
    number = rows.groupby(["trial", "source_seed"]).cumcount()
    return rows.assign(subset_seed=number + (0 if shared else 1000 * rows["source_seed"]))


def test_subsets_that_source_seeds_share_are_refused():
    rows = two_levels(3, seeds=3, subsets=4, rng=np.random.default_rng(0))
    own = summary(with_subsets(rows, shared=False), "value", ["trial"])
    pd.testing.assert_frame_equal(own, summary(rows, "value", ["trial"]))
    said = "several of source_seed share trial 0, subset_seed 0; an interval needs subsets of each"
    with pytest.raises(ValueError, match=said):
        summary(with_subsets(rows, shared=True), "value", ["trial"])
    # One is enough, and pairs hold to it too.
    one = frame(seeds=3)
    one.loc[one["subset_seed"] == 20, "subset_seed"] = 0
    with pytest.raises(ValueError, match=r"share n_train \d+, constraint ℓ2 0.25, subset_seed 0"):
        paired(one, "clean_accuracy", ["n_train"])
    # Of one source seed the subsets are the draws, and networks may share what they are shown.
    summary(frame(seeds=1), "clean_accuracy", ["n_train"])


@pytest.mark.long
@pytest.mark.parametrize(("seeds", "subsets"), [(3, 2), (3, 8), (5, 1), (5, 4), (10, 4)])
def test_intervals_of_nested_draws_cover_as_they_say_and_of_shared_ones_do_not(seeds, subsets):
    trials, rng = 2000, np.random.default_rng(seeds * 100 + subsets)
    own = two_levels(trials, seeds, subsets, rng)
    found = summary(with_subsets(own, shared=False), "value", ["trial"])
    covered = ((found["low"] < 0) & (found["high"] > 0)).mean()
    assert abs(covered - 0.95) < 4 * (0.95 * 0.05 / trials) ** 0.5
    # Two sources on the same draws: their difference has an interval of its own.
    both = pd.concat(
        own.assign(constraint=name, value=own["value"] + rng.normal(0, scale, len(own)))
        for name, scale in ((NATURAL, 0.5), (ROBUST, 2))
    )
    both["subset_seed"] = with_subsets(own, shared=False)["subset_seed"]
    gap = paired(both, "value", ["trial"])
    covered = ((gap["low"] < 0) & (gap["high"] > 0)).mean()
    assert abs(covered - 0.95) < 4 * (0.95 * 0.05 / trials) ** 0.5
    # Without the guard: the luck of subsets that all seeds share is in every mean, and in no
    # spread. Here that of their mean is twice that of the source.
    names = ["trial", "source_seed"]
    luck = rng.normal(0, 2 * subsets**0.5, (trials, subsets))
    luck = luck[own["trial"], own.groupby(names).cumcount()]
    shared = own.assign(value=own["value"] + luck)
    with pytest.raises(ValueError, match="several of source_seed share"):
        summary(with_subsets(shared, shared=True), "value", ["trial"])
    unguarded = summary(shared, "value", ["trial"])  # which are subsets, nothing tells
    covered = ((unguarded["low"] < 0) & (unguarded["high"] > 0)).mean()
    assert covered < 0.85


def test_a_value_that_is_not_a_number_is_named():
    rows = frame()
    cell = (rows["n_train"] == 40) & (rows["subset_seed"] == 21) & (rows["constraint"] == ROBUST)
    rows.loc[cell, "clean_accuracy"] = np.nan
    said = "clean_accuracy is not a number at constraint ℓ2 0.25, n_train 40, source_seed 2, "
    with pytest.raises(ValueError, match=f"{said}one of 1 such rows") as caught:
        summary(rows, "clean_accuracy", ["constraint", "n_train"])
    assert len(str(caught.value).splitlines()) == 1
    for reference in (NATURAL, ROBUST):  # on whichever side it is
        with pytest.raises(ValueError, match=f"{said}subset_seed 21"):
            paired(rows, "clean_accuracy", ["n_train"], reference=reference)
    with pytest.raises(ValueError, match="clean_accuracy is not a number at"):
        best(rows, "clean_accuracy", ["n_train"])


def test_summary_by_a_plain_loop():
    rows = frame()
    found = summary(rows, "clean_accuracy", ["n_train", "constraint"])
    assert list(found) == ["n_train", "constraint", "mean", "low", "high", "seeds", "of_seeds"]
    assert len(found) == 4 and (found["seeds"] == 4).all()
    for _, line in found.iterrows():
        part = rows[
            (rows["n_train"] == line["n_train"]) & (rows["constraint"] == line["constraint"])
        ]
        means = [part[part["source_seed"] == s]["clean_accuracy"].mean() for s in range(4)]
        assert (line["mean"], line["low"], line["high"]) == pytest.approx(interval(means))
        assert sorted(line["of_seeds"]) == pytest.approx(sorted(means))


def test_differences_over_sizes_are_one_of_each_seed():
    rows = frame()
    (line,) = paired(rows, "clean_accuracy", [], over=["n_train"]).to_dict("records")
    means = rows.groupby(["constraint", "source_seed"])["clean_accuracy"].mean().unstack(0)
    gaps = means[ROBUST] - means[NATURAL]
    assert line["seeds"] == 4 and sorted(line["of_seeds"]) == pytest.approx(sorted(gaps))
    assert (line["mean"], line["low"], line["high"]) == pytest.approx(interval(gaps))
    with pytest.raises(ValueError, match=r"two rows for constraint .*, subset_seed \d;"):
        paired(rows.assign(subset_seed=rows["source_seed"]), "clean_accuracy", [])


def test_a_seed_that_lacks_a_size_is_named():
    rows = frame()
    gone = (rows["source_seed"] == 1) & (rows["n_train"] == 20)
    with pytest.raises(ValueError, match="n_train 20 is there of 3 of 4 values of source_seed"):
        paired(rows[~gone], "clean_accuracy", [], over=["n_train"])
    each = paired(rows[~gone], "clean_accuracy", ["n_train"])
    assert dict(zip(each["n_train"], each["seeds"], strict=True)) == {20: 3, 40: 4}


def test_what_has_no_name_is_a_group_too():
    rows = pd.DataFrame({"filter": [None, None, "a", "a"], "source_seed": [0, 1, 0, 1], "v": 1.0})
    assert len(summary(rows, "v", ["filter"])) == 2


def test_every_seed_weighs_the_same():
    # Ten subsets of one seed, one of the other: the mean is that of the two seeds.
    rows = pd.DataFrame({"source_seed": [0] * 10 + [1], "k": 1, "value": [0.0] * 10 + [1.0]})
    (line,) = summary(rows, "value", ["k"]).to_dict("records")
    assert line["mean"] == 0.5 and line["seeds"] == 2


def test_pairing_takes_out_what_a_pair_shares():
    rows = frame()
    found = paired(rows, "clean_accuracy", ["n_train"])
    assert list(found) == ["n_train", "constraint", "mean", "low", "high", "seeds", "of_seeds"]
    assert sorted(found["n_train"]) == [20, 40] and (found["constraint"] == ROBUST).all()
    wide = rows.pivot_table(
        "clean_accuracy", ["n_train", "source_seed", "subset_seed"], "constraint"
    ).reset_index()
    wide["gap"] = wide[ROBUST] - wide[NATURAL]
    for _, line in found.iterrows():
        part = wide[wide["n_train"] == line["n_train"]]
        means = part.groupby("source_seed")["gap"].mean()
        assert (line["mean"], line["low"], line["high"]) == pytest.approx(interval(means))
        assert line["low"] < 0.1 < line["high"]
    plain = summary(rows, "clean_accuracy", ["n_train", "constraint"])
    assert (found["high"] - found["low"]).max() < (plain["high"] - plain["low"]).min() / 3


def test_pairing_another_reference_turns_the_sign():
    rows = frame()
    one = paired(rows, "clean_accuracy", ["n_train"]).set_index("n_train")["mean"]
    two = paired(rows, "clean_accuracy", ["n_train"], reference=ROBUST).set_index("n_train")
    assert one.to_dict() == pytest.approx((-two["mean"]).to_dict())


def test_what_has_no_partner_is_named():
    rows = frame()
    gone = (rows["constraint"] == NATURAL) & (rows["subset_seed"] == 11) & (rows["n_train"] == 40)
    with pytest.raises(ValueError, match=r"no natural row .* ℓ2 0.25, .* subset_seed 11"):
        paired(rows[~gone], "clean_accuracy", ["n_train"])
    with pytest.raises(ValueError, match="no natural row"):
        paired(rows[rows["constraint"] != NATURAL], "clean_accuracy", ["n_train"])


@pytest.mark.parametrize("constraint", [NATURAL, ROBUST])
def test_a_partner_too_many_is_named(constraint):
    rows = frame()
    twice = pd.concat([rows, rows[rows["constraint"] == constraint].head(1)])
    with pytest.raises(
        ValueError, match=f"two rows for constraint {constraint}, n_train \\d+, source_se"
    ):
        paired(twice, "clean_accuracy", ["n_train"])


def test_a_partner_that_is_not_asked_for_does_no_harm():
    rows = frame()
    more = rows[rows["constraint"] == NATURAL].assign(subset_seed=lambda f: f["subset_seed"] + 5000)
    pd.testing.assert_frame_equal(
        paired(pd.concat([rows, more]), "clean_accuracy", ["n_train"]),
        paired(rows, "clean_accuracy", ["n_train"]),
    )


def test_the_best_and_what_cannot_be_told_from_it():
    three = frame((NATURAL, ROBUST, STRONGER))
    clear = best(three, "clean_accuracy", ["n_train"]).set_index("n_train")
    assert (clear["best"] == STRONGER).all() and set(clear["ties"]) == {()}
    rows = frame()
    twin = rows[rows["constraint"] == ROBUST].assign(constraint=STRONGER)
    twin["clean_accuracy"] -= 1e-6 * (-1) ** np.arange(len(twin))
    near = best(pd.concat([rows, twin]), "clean_accuracy", ["n_train"])
    for _, line in near.iterrows():
        assert {line["best"], *line["ties"]} == {ROBUST, STRONGER}
        mean = rows[(rows["constraint"] == ROBUST) & (rows["n_train"] == line["n_train"])]
        assert line["mean"] == pytest.approx(mean["clean_accuracy"].mean(), abs=1e-5)


def test_the_best_of_one_constraint_or_of_one_seed():
    alone = best(frame((ROBUST,)), "clean_accuracy", ["n_train"])
    assert (alone["best"] == ROBUST).all() and set(alone["ties"]) == {()}
    # With one seed there is no interval, so nothing can be told apart.
    single = best(frame(seeds=1, subsets=1), "clean_accuracy", ["n_train"])
    assert (single["best"] == ROBUST).all() and set(single["ties"]) == {(NATURAL,)}


def test_a_share_does_not_leave_its_limits():
    rows = pd.DataFrame({"constraint": "a", "source_seed": range(3), "share": [0.99, 1.0, 0.2]})
    free = summary(rows, "share", ["constraint"]).iloc[0]
    cut = summary(rows, "share", ["constraint"], limits=(0, 1)).iloc[0]
    assert free["low"] < 0 and free["high"] > 1 and cut["mean"] == free["mean"]
    assert (cut["low"], cut["high"]) == (0, 1)
    assert interval([0.99, 1.0, 0.2], limits=(0, 1)) == (cut["mean"], 0, 1)
    assert interval([0.4, 0.5, 0.6], limits=(0, 1)) == interval([0.4, 0.5, 0.6])


def test_of_one_network_a_source_the_subsets_are_the_draws():
    rows = pd.DataFrame(
        {"constraint": name, "source_seed": 0, "subset_seed": i, "n_train": n, "a": value + n / 100}
        for name, values in {NATURAL: (0.2, 0.3, 0.7), ROBUST: (0.5, 0.4, 0.9)}.items()
        for n in (1, 2)
        for i, value in enumerate(values)
    )
    found = summary(rows, "a", ["constraint", "n_train"])
    assert found["seeds"].tolist() == [3] * 4
    assert found.loc[0, ["mean", "low", "high"]].tolist() == pytest.approx(
        interval([0.21, 0.31, 0.71])
    )
    gap = paired(rows, "a", ["n_train"])
    assert gap.loc[0, ["mean", "low", "high"]].tolist() == pytest.approx(interval([0.3, 0.1, 0.2]))
    once = rows[rows["subset_seed"] == 1]
    assert paired(once, "a", ["n_train"])["low"].isna().all()


def test_without_a_column_of_subsets_there_is_one():
    rows = frame(subsets=1)
    bare = rows.drop(columns="subset_seed")
    for function, by in ((summary, ["n_train", "constraint"]), (paired, ["n_train"])):
        expected = function(rows, "clean_accuracy", by)
        pd.testing.assert_frame_equal(function(bare, "clean_accuracy", by), expected)
    with pytest.raises(ValueError, match=r"two rows for .*, n_train \d+, source_seed \d;"):
        paired(frame(subsets=2).drop(columns="subset_seed"), "clean_accuracy", ["n_train"])


def test_anything_can_be_compared_and_in_no_group():
    rows = frame(sizes=(20,))
    rows["ranking"] = rows["constraint"].map({NATURAL: "loss", ROBUST: "score"})
    found = paired(rows, "clean_accuracy", [], compared="ranking", reference="loss")
    assert list(found) == ["ranking", "mean", "low", "high", "seeds", "of_seeds"]
    assert found["ranking"].tolist() == ["score"] and found["seeds"].tolist() == [4]
    by_name = best(rows, "clean_accuracy", ["n_train"], compared="ranking")
    assert (by_name["best"] == "score").all()
    turned = paired(rows, "clean_accuracy", ["n_train"], reference=ROBUST)
    assert (turned["constraint"] == NATURAL).all() and (turned["mean"] < 0).all()
    with pytest.raises(ValueError, match="no untrained row to pair with constraint"):
        paired(rows, "clean_accuracy", ["n_train"], reference=UNTRAINED)


def test_combinations_come_in_the_order_in_which_they_first_occur():
    rows = frame((STRONGER, NATURAL, ROBUST), sizes=(40, 10, 20))
    rows = rows.sort_values(["n_train", "source_seed"], key=lambda c: -c, kind="stable")
    first = rows.drop_duplicates(["n_train", "constraint"])[["n_train", "constraint"]]
    found = summary(rows, "clean_accuracy", ["n_train", "constraint"])
    assert found[["n_train", "constraint"]].values.tolist() == first.values.tolist()
    gaps = paired(rows, "clean_accuracy", ["n_train"])
    kept = first[first["constraint"] != NATURAL]
    assert gaps[["n_train", "constraint"]].values.tolist() == kept.values.tolist()
    assert gaps.set_index(["n_train", "constraint"]).sort_index().index[0] == (10, ROBUST)


def test_intervals_of_shares_and_of_ranks_stay_where_these_can_lie():
    bias = {0: [0.1, 0.5, 0.9], 1: [0.1, 0.5, 0.9], 2: [0.5, 0.1, 0.9]}  # ranks 1, 1 and 0.5
    rows = pd.DataFrame(
        {"source_seed": seed, "constraint": constraint, "bias": value, "accuracy": accuracy}
        for seed, values in bias.items()
        for constraint, value, accuracy in zip("abc", values, (0.1, 0.2, 0.3), strict=True)
    )
    (ranked,) = rank_correlation(rows, "bias", "accuracy").to_dict("records")
    assert ranked["mean"] == pytest.approx(5 / 6) and ranked["high"] == 1
    wide = rows.assign(bias=[0, 1, 1, 0, 0, 1, 0, 1, 0])
    call = {"by": [], "reference": "a"}
    free = paired(wide, "bias", **call, limits=NONE).set_index("constraint")
    cut = paired(wide, "bias", **call).set_index("constraint")
    larger = paired(wide.assign(bias=2 * wide["bias"]), "bias", **call).set_index("constraint")
    assert larger["high"].tolist() == pytest.approx((2 * free["high"]).tolist())
    assert (free["high"] > 1).all() and (cut["high"] == 1).all()
    assert cut["mean"].tolist() == free["mean"].tolist()


def test_rank_correlation_within_each_seed():
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"n_train": 20, "source_seed": np.repeat([0, 1, 2, 3], 6)})
    rows["bias"] = rng.normal(size=24)
    rows["accuracy"] = rows["bias"] + rng.normal(size=24)
    rows.loc[rows["source_seed"] == 3, "bias"] = 0.5  # does not vary
    per_seed = [
        scipy_stats.spearmanr(part["bias"], part["accuracy"]).statistic
        for seed, part in rows.groupby("source_seed")
        if seed < 3
    ]
    for by in ([], ["n_train"]):
        (found,) = rank_correlation(rows, "bias", "accuracy", by).to_dict("records")
        values = [found[name] for name in ("mean", "low", "high")]
        assert values == pytest.approx(interval(per_seed)) and found["seeds"] == 3
    assert rank_correlation(rows[rows["source_seed"] == 3], "bias", "accuracy").empty


def test_slopes_are_those_of_least_squares_lines():
    """Each line by its own places, several rows of one place as their mean."""
    rows = pd.DataFrame(
        [
            {"target": target, "depth": k, "value": at + slope * k + shift}
            for target, at, slope in (("b", 0.3, -0.02), ("a", 0.1, 0.05))
            for k in (1, 2, 5)
            for shift in (-0.1, 0.1)
        ]
    )
    found = slopes(rows, "value", ["target"], over="depth")
    assert list(found["target"]) == ["b", "a"]
    np.testing.assert_allclose(found["slope"], [-0.02, 0.05], atol=1e-12)
    doubled = by_doubling(rows.assign(n_train=10 * 2 ** rows["depth"]), "value", ["target"])
    pd.testing.assert_frame_equal(doubled, found)
    alone = slopes(rows[rows["depth"] == 2], "value", ["target"], over="depth")
    assert alone.empty and list(alone) == ["target", "slope"]
    rows.loc[0, "value"] = np.nan
    with pytest.raises(ValueError, match="value is not a number at target b, depth 1"):
        slopes(rows, "value", ["target"], over="depth")
