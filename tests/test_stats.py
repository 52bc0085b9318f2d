import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from lib.stats import (
    best,
    in_percent,
    in_points,
    interval,
    paired,
    percent,
    resampled,
    summary,
    tally,
    triple,
    verdict,
)


def frame(sources=("natural", "robust"), seeds=4, subsets=3, sizes=(20, 40), noise=0.01):
    """Accuracies with a known lead of the later sources, and luck of three kinds."""
    rng = np.random.default_rng(0)
    rows = []
    for size in sizes:
        for seed in range(seeds):
            for subset in range(subsets):
                shared = rng.normal(0, 0.1)  # what a pair has in common
                for lead, source in enumerate(sources):
                    value = 0.5 + 0.1 * lead + shared + rng.normal(0, noise)
                    rows.append((size, seed, 10 * seed + subset, source, value))
    columns = ["n_train", "source_seed", "subset_seed", "source", "clean_accuracy"]
    return pd.DataFrame(rows, columns=columns).sample(frac=1, random_state=0)


def test_interval_is_that_of_the_one_sample_t_test():
    values = np.random.default_rng(1).normal(3, 2, 7)
    for level in (0.5, 0.95, 0.99):
        mean, low, high = interval(values, level)
        expected = scipy_stats.ttest_1samp(values, 0).confidence_interval(level)
        assert (low, high) == pytest.approx((expected.low, expected.high))
        assert mean == pytest.approx(values.mean())
    # By hand: of −1 and 1 the mean is 0 with a standard error of 1, and t(0.975, 1) = 12.7062.
    assert interval([-1, 1]) == pytest.approx((0, -12.7062, 12.7062), rel=1e-5)
    assert interval([2, 2, 2]) == (2, 2, 2)


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
    mean, low, high = resampled(values, 0.25, level=0.9)
    half = scipy_stats.t.ppf(0.95, 8) * values.std(ddof=1) * (1 / 9 + 1 / 3) ** 0.5
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


def test_summary_by_a_plain_loop():
    rows = frame()
    found = summary(rows, "clean_accuracy", ["n_train", "source"])
    assert list(found) == ["n_train", "source", "mean", "low", "high", "seeds"]
    assert len(found) == 4 and (found["seeds"] == 4).all()
    for _, line in found.iterrows():
        part = rows[(rows["n_train"] == line["n_train"]) & (rows["source"] == line["source"])]
        means = [part[part["source_seed"] == s]["clean_accuracy"].mean() for s in range(4)]
        assert (line["mean"], line["low"], line["high"]) == pytest.approx(interval(means))


def test_every_seed_weighs_the_same():
    # Ten subsets of one seed, one of the other: the mean is that of the two seeds.
    rows = pd.DataFrame({"source_seed": [0] * 10 + [1], "k": 1, "value": [0.0] * 10 + [1.0]})
    (line,) = summary(rows, "value", ["k"]).to_dict("records")
    assert line["mean"] == 0.5 and line["seeds"] == 2


def test_pairing_takes_out_what_a_pair_shares():
    rows = frame()
    found = paired(rows, "clean_accuracy", ["n_train"])
    assert list(found) == ["n_train", "source", "mean", "low", "high", "seeds"]
    assert sorted(found["n_train"]) == [20, 40] and (found["source"] == "robust").all()
    wide = rows.pivot_table(
        "clean_accuracy", ["n_train", "source_seed", "subset_seed"], "source"
    ).reset_index()
    wide["gap"] = wide["robust"] - wide["natural"]
    for _, line in found.iterrows():
        part = wide[wide["n_train"] == line["n_train"]]
        means = part.groupby("source_seed")["gap"].mean()
        assert (line["mean"], line["low"], line["high"]) == pytest.approx(interval(means))
        assert line["low"] < 0.1 < line["high"]
    plain = summary(rows, "clean_accuracy", ["n_train", "source"])
    assert (found["high"] - found["low"]).max() < (plain["high"] - plain["low"]).min() / 3


def test_pairing_another_reference_turns_the_sign():
    rows = frame()
    one = paired(rows, "clean_accuracy", ["n_train"]).set_index("n_train")["mean"]
    two = paired(rows, "clean_accuracy", ["n_train"], reference="robust").set_index("n_train")
    assert one.to_dict() == pytest.approx((-two["mean"]).to_dict())


def test_a_source_without_a_partner_is_named():
    rows = frame()
    gone = (rows["source"] == "natural") & (rows["subset_seed"] == 11) & (rows["n_train"] == 40)
    with pytest.raises(ValueError, match=r"no natural row to pair with .*'subset_seed': 11"):
        paired(rows[~gone], "clean_accuracy", ["n_train"])
    with pytest.raises(ValueError, match="no natural row"):
        paired(rows[rows["source"] != "natural"], "clean_accuracy", ["n_train"])


@pytest.mark.parametrize("source", ["natural", "robust"])
def test_a_partner_too_many_is_named(source):
    rows = frame()
    twice = pd.concat([rows, rows[rows["source"] == source].head(1)])
    with pytest.raises(ValueError, match=f"{source} has two rows for the same n_train, source_se"):
        paired(twice, "clean_accuracy", ["n_train"])


def test_a_partner_that_is_not_asked_for_does_no_harm():
    rows = frame()
    more = rows[rows["source"] == "natural"].assign(subset_seed=lambda f: f["subset_seed"] + 5000)
    pd.testing.assert_frame_equal(
        paired(pd.concat([rows, more]), "clean_accuracy", ["n_train"]),
        paired(rows, "clean_accuracy", ["n_train"]),
    )


def test_the_best_and_what_cannot_be_told_from_it():
    clear = best(frame(("a", "b", "c")), "clean_accuracy", ["n_train"]).set_index("n_train")
    assert (clear["best"] == "c").all() and set(clear["ties"]) == {()}
    rows = frame(("a", "b"))
    twin = rows[rows["source"] == "b"].assign(source="like b")
    twin["clean_accuracy"] -= 1e-6 * (-1) ** np.arange(len(twin))
    near = best(pd.concat([rows, twin]), "clean_accuracy", ["n_train"])
    for _, line in near.iterrows():
        assert {line["best"], *line["ties"]} == {"b", "like b"}
        mean = rows[(rows["source"] == "b") & (rows["n_train"] == line["n_train"])]
        assert line["mean"] == pytest.approx(mean["clean_accuracy"].mean(), abs=1e-5)


def test_the_best_of_one_source_or_of_one_seed():
    alone = best(frame(("a",)), "clean_accuracy", ["n_train"])
    assert (alone["best"] == "a").all() and set(alone["ties"]) == {()}
    # With one seed there is no interval, so nothing can be told apart.
    single = best(frame(("a", "b"), seeds=1, subsets=1), "clean_accuracy", ["n_train"])
    assert (single["best"] == "b").all() and set(single["ties"]) == {("a",)}


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.01, 0.02, "higher"),
        (-0.02, -0.01, "lower"),
        (-0.01, 0.01, "no difference can be told"),
        (0.0, 0.01, "no difference can be told"),
        (np.nan, np.nan, "no difference can be told"),
    ],
)
def test_verdict(low, high, said):
    assert verdict(low, high) == said


def test_in_points():
    row = pd.Series({"mean": 0.0421, "low": -0.0104, "high": 0.0738})
    assert in_points(row) == "+4.2 ± 3.2"


def test_tally():
    rows = pd.DataFrame({"low": [1.0, -1.0, -3.0, 2.0], "high": [2.0, 1.0, -2.0, 3.0]})
    assert tally(rows) == "higher at 2 of 4 sizes, lower at 1 of 4 sizes"
    assert tally(rows[:0]) == "not measured in this run"


def test_percent():
    rows = pd.DataFrame({"source": ["a", "b"], "mean": [0.5, 0.1], "low": 0.05, "high": 0.9})
    assert percent(rows.set_index("source"), "a") == pytest.approx((50, 5, 90))
    assert np.isnan(percent(rows.set_index("source"), "left out")).all()


def test_triple():
    rows = pd.DataFrame({"source": ["a", "b"], "mean": [0.5, 0.1], "low": 0.05, "high": 0.9})
    assert triple(rows.set_index("source"), "b") == (0.1, 0.05, 0.9)
    assert np.isnan(triple(rows.set_index("source"), "left out")).all()
    pairs = rows.assign(n=3).set_index(["source", "n"])
    assert triple(pairs, ("a", 3)) == (0.5, 0.05, 0.9) and np.isnan(triple(pairs, ("a", 4))).all()
    for key in ("a", ("a", 3), 0.0):  # a run may have left out everything
        assert np.isnan(triple(pd.DataFrame(), key)).all()


def test_a_share_does_not_leave_its_limits():
    rows = pd.DataFrame({"source": "a", "source_seed": range(3), "share": [0.99, 1.0, 0.2]})
    free = summary(rows, "share", ["source"]).iloc[0]
    cut = summary(rows, "share", ["source"], limits=(0, 1)).iloc[0]
    assert free["low"] < 0 and free["high"] > 1 and cut["mean"] == free["mean"]
    assert (cut["low"], cut["high"]) == (0, 1)


def test_a_share_in_words():
    row = pd.Series({"source": "a", "mean": 0.421, "low": 0.3, "high": 0.549})
    assert in_percent(row) == "42 [30, 55]"


def test_of_one_network_a_source_the_subsets_are_the_draws():
    rows = pd.DataFrame(
        {"source": name, "source_seed": 0, "subset_seed": i, "n_train": n, "a": value + n / 100}
        for name, values in {"natural": (0.2, 0.3, 0.7), "robust": (0.5, 0.4, 0.9)}.items()
        for n in (1, 2)
        for i, value in enumerate(values)
    )
    found = summary(rows, "a", ["source", "n_train"])
    assert found["seeds"].tolist() == [3] * 4
    assert found.loc[0, ["mean", "low", "high"]].tolist() == pytest.approx(
        interval([0.21, 0.31, 0.71])
    )
    gap = paired(rows, "a", ["n_train"])
    assert gap.loc[0, ["mean", "low", "high"]].tolist() == pytest.approx(interval([0.3, 0.1, 0.2]))
    once = rows[rows["subset_seed"] == 1]
    assert paired(once, "a", ["n_train"])["low"].isna().all()
