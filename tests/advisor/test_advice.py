import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.model_selection import RepeatedStratifiedKFold
from split_rows import rows_of

from lib.advisor import advice
from lib.constraint import FROM_SCRATCH, NATURAL, UNTRAINED, Constraint
from lib.images import Images, choose
from lib.stats import resampled
from lib.studies import By, Ladder
from lib.tuning import Recipe, freeze_below, outputs, tune
from lib.zoo import models

L2 = Constraint("l2", 0.5)


def labelled(counts, size=32, seed=0):
    """Images of noise, so many of each class; a class is told by its mean brightness."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    noise = torch.randint(0, 60, (len(y), 3, size, size), generator=generator)
    x = (noise + 150 * y[:, None, None, None] // max(len(counts) - 1, 1)).to(torch.uint8)
    return Images(x, y, tuple(f"c{i}" for i in range(len(counts))))


def test_each_round_tests_on_every_image_once_and_keeps_the_shares_of_the_classes():
    images = labelled([20, 40, 8])
    parts = advice.splits(images, rounds=3, seed=1)
    assert [part.number for part in parts] == list(range(12))
    for start in range(0, 12, 4):
        tested = torch.cat([part.test for part in parts[start : start + 4]])
        assert tested.sort().values.tolist() == list(range(68))
    for part in parts:
        assert not set(part.train.tolist()) & set(part.test.tolist())
        assert images.y[part.test].bincount().tolist() == [5, 10, 2]
    again = advice.splits(images, rounds=3, seed=1)
    assert all(torch.equal(a.test, b.test) for a, b in zip(parts, again, strict=True))
    other = advice.splits(images, rounds=3, seed=2)
    assert not all(torch.equal(a.test, b.test) for a, b in zip(parts, other, strict=True))


def test_a_rare_class_is_always_trained_on():
    images = labelled([30, 2])
    for part in advice.splits(images, rounds=3):
        assert images.y[part.train].bincount(minlength=2).min() >= 1


@pytest.mark.filterwarnings("ignore:The least populated class")
def test_without_copies_the_divisions_are_those_of_scikit_learn():
    images = labelled([9, 30, 2])
    folds = RepeatedStratifiedKFold(n_splits=4, n_repeats=3, random_state=5)
    theirs = folds.split(np.zeros(41), images.y.numpy())
    for part, (train, test) in zip(advice.splits(images, 3, seed=5), theirs, strict=True):
        assert torch.equal(part.train, torch.from_numpy(train))
        assert torch.equal(part.test, torch.from_numpy(test))


def with_copies(images, *pairs):
    """Put the pixels of the second of each pair in the place of those of the first."""
    x = images.x.clone()
    for one, other in pairs:
        x[one] = x[other]
    return Images(x, images.y, images.classes)


def test_identical_images_are_on_one_side_whatever_their_labels():
    twins = [(0, 50), (1, 51), (2, 60), (3, 61), (4, 5)]  # three classes, the last one of two
    images = with_copies(labelled([30, 30, 2]), *twins)
    parts = advice.splits(images, rounds=5)
    for start in range(0, 20, 4):
        tested = torch.cat([part.test for part in parts[start : start + 4]])
        assert tested.sort().values.tolist() == list(range(62))
    for part in parts:
        test = set(part.test.tolist())
        assert all((one in test) == (other in test) for one, other in twins)
        assert images.y[part.train].bincount(minlength=3).min() >= 1
        shares = images.y[part.test].bincount(minlength=3)[:2]
        assert (shares - 7.5).abs().max() <= len(twins)


def test_what_cannot_be_split_is_said():
    with pytest.raises(ValueError, match="class 'c1' has 1"):
        advice.splits(labelled([10, 1]), 1)
    with pytest.raises(ValueError, match="at least 12 are needed"):
        advice.splits(labelled([3, 3, 3]), 1)
    with pytest.raises(ValueError, match="class 'c1' has 1 different"):
        advice.splits(with_copies(labelled([10, 2]), (10, 11)), 1)
    pairs = [(i, i + 4) for i in range(4)]
    assert len(advice.splits(with_copies(labelled([4, 4]), *pairs), 1)) == 4  # of two labels each
    with pytest.raises(ValueError, match="4 different images of 2 classes are too few"):
        advice.splits(with_copies(labelled([4, 4]), *pairs, (0, 5)), 1)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [([50] * 10, [20, 40, 80, 160, 375]), ([4, 4], [4, 6]), ([16, 16], [4, 8, 16, 24])],
)
def test_sizes_double_up_to_all_of_a_split(counts, expected):
    images = labelled(counts)
    assert advice.sizes(images, advice.splits(images, 1)) == expected


@pytest.fixture
def network(monkeypatch):
    monkeypatch.setattr("lib.runtime.parallel.cpu_count", lambda: 1)  # no worker has to start
    return models.build("small_resnet", 10, seed=0, width=8).eval()


def test_measure_is_the_plain_loop(network):
    images = labelled([12, 12, 12])
    parts = advice.splits(images, 1)[:2]
    rows = advice.measure(network, images, parts, n=[6, 27], epochs=5, lr=0.05)
    for row in rows.itertuples():
        part = parts[row.split]
        train = images[part.train]
        chosen = choose(train, row.n_train, row.split)
        above, (below, held) = freeze_below(network, 0, [train[chosen], images[part.test]])
        ((tail, _),) = tune(
            above,
            below,
            torch.arange(len(chosen))[None],
            train.y[chosen][None],
            3,
            Recipe(epochs=5, lr=0.05),
            seeds=[row.split],
        )
        right = outputs(tail, [held]).argmax(1) == images.y[part.test]
        one_image = 1.01 / len(part.test)  # whose two best classes rounding may exchange
        assert row.clean_accuracy == pytest.approx(float(right.double().mean()), abs=one_image)
        assert row.n_test == len(part.test)
    assert rows[["split", "n_train"]].to_numpy().tolist() == [[0, 6], [1, 6], [0, 27], [1, 27]]


def test_one_split_at_a_time_gives_what_all_together_give(network):
    images = labelled([8, 8])
    parts = advice.splits(images, 1)
    settings = {"images": images, "n": [12], "unfrozen_blocks": 1, "epochs": 2}
    together = advice.measure(network, parts=parts, **settings)
    each = {part.number: [part] for part in parts}
    ladder = Ladder({(NATURAL, 0): network})
    apart = ladder.measure(advice.measure, over={"parts": each}, label="splits", **settings)
    one_image = 1.01 / min(len(part.test) for part in parts)  # threads add up in another order
    expected = together["clean_accuracy"].tolist()
    assert apart["clean_accuracy"].tolist() == pytest.approx(expected, abs=one_image)
    assert set(apart["constraint"]) == {NATURAL}


def test_networks_of_different_sizes_and_depths_are_measured_in_one_call(network):
    sets = {NATURAL: labelled([8, 8]), L2: labelled([8, 8], size=48)}
    parts = advice.splits(sets[NATURAL], 1)[:2]
    ladder = Ladder({(NATURAL, 3): network, (L2, 3): models.build("small_resnet", 10).eval()})
    rows = ladder.measure(
        advice.measure,
        over={"unfrozen_blocks": [0, -1]},
        images=By("constraint", sets),
        parts=parts,
        n=[12],
        epochs=By("unfrozen_blocks", {0: 5, -1: 1}),
        label="depths",
    )
    for (constraint, depth), part in rows.groupby(["constraint", "unfrozen_blocks"]):
        settings = {"n": [12], "unfrozen_blocks": depth, "epochs": 1 if depth else 5}
        plain = advice.measure(ladder.networks[constraint, 3], sets[constraint], parts, **settings)
        one_image = 1.01 / min(len(split.test) for split in parts)
        expected = plain["clean_accuracy"].tolist()
        assert part["clean_accuracy"].tolist() == pytest.approx(expected, abs=one_image)
    assert len(rows) == 8


def test_summary_and_difference_are_those_of_the_corrected_interval():
    rng = np.random.default_rng(0)
    one, two = rng.uniform(0.9, 1, 8), rng.uniform(0.5, 0.6, 8)
    rows = rows_of({"a": one, "b": two})
    found = advice.summary(rows, ["constraint"]).set_index("constraint")
    mean, low, high = resampled(one, 0.25)
    expected = [mean, low, min(high, 1), mean / 2]
    assert found.loc["a"].tolist() == pytest.approx(expected)
    gap = advice.difference(rows, "a", "b").iloc[0]
    assert gap["n_train"] == 30
    assert tuple(gap[["mean", "low", "high"]]) == pytest.approx(resampled(one - two, 0.25))


def test_leads_compare_the_best_with_each_at_a_level_for_all_together():
    rng = np.random.default_rng(1)
    values = {
        name: at + rng.normal(0, 0.02, 8) for name, at in zip("abc", (0.6, 0.8, 0.7), strict=True)
    }
    best, ahead = advice.leads(rows_of(values))
    assert best == "b" and ahead["constraint"].tolist() == ["c", "a"]
    for row in ahead.itertuples():
        gap, level = values["b"] - values[row.constraint], 1 - 0.05 / 3  # of three pairs
        assert (row.mean, row.low, row.high) == pytest.approx(resampled(gap, 0.25, level=level))
    with pytest.raises(ValueError, match="c lacks splits"):
        advice.leads(rows_of({**values, "c": values["c"][:4]}))


def test_choices_are_constraints_or_depths():
    rng = np.random.default_rng(1)
    rows = rows_of({L2: rng.uniform(0.8, 0.9, 8), NATURAL: rng.uniform(0.5, 0.6, 8)})
    best, ahead = advice.leads(rows)
    assert best == L2 and list(ahead["constraint"]) == [NATURAL]
    assert advice.difference(rows, L2, NATURAL)["low"].item() > 0
    assert list(advice.summary(rows, ["constraint", "n_train"])["constraint"]) == [L2, NATURAL]
    depths = rows_of({0: rng.uniform(0.5, 0.6, 8), -1: rng.uniform(0.8, 0.9, 8)})
    depths = depths.rename(columns={"constraint": "unfrozen_blocks"})
    best, ahead = advice.leads(depths, "unfrozen_blocks")
    assert best == -1 and list(ahead) == ["unfrozen_blocks", "mean", "low", "high"]


def test_of_equals_the_one_that_asks_least_is_taken():
    """Learned weights before random ones, and few blocks before many."""
    equal = {UNTRAINED: [0.5, 1.0], L2: [1.0, 0.5], NATURAL: [0.7, 0.75]}
    assert advice.leads(rows_of(equal))[0] == L2
    deep = pd.concat([rows_of(equal).assign(unfrozen_blocks=k) for k in (-1, 2, 0)])
    assert advice.leads(advice.plans(deep), "plan")[0] == advice.Plan(L2, 0)
    deep = deep[deep["unfrozen_blocks"] != 0]
    best, ahead = advice.leads(advice.plans(deep), "plan")
    assert best == advice.Plan(L2, 2) and len(ahead) == 5
    assert (ahead["mean"].abs() < 1e-9).sum() == 3


def test_no_difference_is_said_to_lie_beyond_all_images():
    rows = rows_of({"a": [1.0, 0.0], "b": [0.0, 1.0], "c": [0.5, 0.5]}, n_test=2)
    _, ahead = advice.leads(rows)
    assert ahead["low"].min() == -1 and ahead["high"].max() == 1
    gap = advice.difference(rows, "a", "b")
    assert gap[["low", "high"]].values.tolist() == [[-1, 1]]


def test_the_best_of_equals_is_seldom_called_best():
    """The luck of choosing: of eight sources that are all alike one always has the highest mean."""
    rng = np.random.default_rng(2)
    wrong = 0
    for _ in range(200):
        alike = {str(i): 0.5 + rng.normal(0, 0.05, 8) for i in range(8)}
        _, ahead = advice.leads(rows_of(alike))
        wrong += (ahead["low"] > 0).all()
    assert wrong <= 10


def test_the_best_of_several_that_guess_is_seldom_surely_above_guessing():
    """Splits that share images: their accuracies correlate by the share that is tested on."""
    rng, sources, trials = np.random.default_rng(3), 5, 400
    alarms = {1: 0, sources: 0}
    for _ in range(trials):
        shared, own = rng.normal(0, 0.05, (sources, 1)), rng.normal(0, 0.05, (sources, 8))
        values = 0.5 + 0.25**0.5 * shared + 0.75**0.5 * own
        rows = rows_of({str(i): value for i, value in enumerate(values)})
        for choices in alarms:
            found = advice.summary(rows, ["constraint"], choices)
            alarms[choices] += found.loc[found["mean"].idxmax(), "low"] > 0.5
    expected = 1 - (1 - 0.025 / sources) ** sources
    assert alarms[sources] <= trials * expected + 3 * (trials * expected) ** 0.5
    assert alarms[1] > 2 * trials * expected  # without it there are many


def test_intervals_are_no_narrower_than_the_images_allow():
    """Every split has 25 images, of which the same share is right."""
    alike = {"a": [0.96] * 8, "b": [0.96] * 8, "c": [0.2] * 8}
    rows = rows_of(alike, n_test=25)
    found = advice.summary(rows, ["constraint"]).set_index("constraint")
    assert found.loc["a", "low"] < 0.91 and 0.98 < found.loc["a", "high"] < 1
    _, ahead = advice.leads(rows)
    gaps = ahead.set_index("constraint")
    assert gaps.loc["b", "low"] < -0.01 < 0.01 < gaps.loc["b", "high"]
    assert 0.5 < gaps.loc["c", "low"] < 0.7
    few = rows_of({"a": [1.0] * 4, "b": [0.5] * 4}, n_test=2)  # 8 images, and all splits agree
    assert advice.leads(few)[1]["low"].item() < 0.2
    assert advice.difference(few, "a", "b")["high"].item() > 0.7


def test_plans_are_sources_with_depths_and_random_weights_all_trained_are_from_scratch():
    values = {UNTRAINED: [0.5] * 4, L2: [0.6] * 4}
    deep = pd.concat([rows_of(values).assign(unfrozen_blocks=k) for k in (0, -1)])
    deep.loc[(deep["constraint"] == UNTRAINED) & (deep["unfrozen_blocks"] == -1),
             "clean_accuracy"] = 0.9  # fmt: skip
    rows = advice.plans(deep)
    best, ahead = advice.leads(rows, "plan")
    assert best == advice.Plan(FROM_SCRATCH, -1)
    assert set(ahead["plan"]) == {
        advice.Plan(UNTRAINED, 0), advice.Plan(L2, 0), advice.Plan(L2, -1),
    }  # fmt: skip
    assert set(rows["constraint"]) == {UNTRAINED, FROM_SCRATCH, L2}
