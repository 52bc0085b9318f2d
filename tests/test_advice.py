import numpy as np
import pandas as pd
import pytest
import torch
from split_rows import rows_of

from lib import advice, data, models
from lib.images import Images
from lib.stats import resampled
from lib.tails import freeze_below, outputs, tune


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


def test_what_cannot_be_split_is_said():
    with pytest.raises(ValueError, match="class 'c1' has 1"):
        advice.splits(labelled([10, 1]), 1)
    with pytest.raises(ValueError, match="at least 12 are needed"):
        advice.splits(labelled([3, 3, 3]), 1)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [([50] * 10, [20, 40, 80, 160, 375]), ([4, 4], [4, 6]), ([16, 16], [4, 8, 16, 24])],
)
def test_sizes_double_up_to_all_of_a_split(counts, expected):
    images = labelled(counts)
    assert advice.sizes(images, advice.splits(images, 1)) == expected


@pytest.fixture
def network():
    return models.build("small_resnet", 10, seed=0, width=8).eval()


def test_measure_is_the_plain_loop(network):
    images = labelled([12, 12, 12])
    parts = advice.splits(images, 1)[:2]
    rows = advice.measure(network, images, parts, n=[6, 27], epochs=5, lr=0.05)
    for row in rows.itertuples():
        part = parts[row.split]
        train = images[part.train]
        chosen = data.choose(train, row.n_train, row.split)
        above, (below, held) = freeze_below(network, 0, [train[chosen], images[part.test]])
        ((tail, _),) = tune(
            above, [below], train.y[chosen][None], 3, seeds=[row.split], epochs=5, lr=0.05,
            batch_size=128, weight_decay=5e-4,
        )  # fmt: skip
        right = outputs(tail, [held]).argmax(1) == images.y[part.test]
        assert row.clean_accuracy == pytest.approx(float(right.double().mean()), abs=1e-9)
    assert rows[["split", "n_train"]].to_numpy().tolist() == [[0, 6], [1, 6], [0, 27], [1, 27]]


def test_one_split_at_a_time_gives_what_all_together_give(network):
    images = labelled([8, 8])
    parts = advice.splits(images, 1)
    settings = {"images": images, "n": [12], "unfrozen_blocks": 1, "epochs": 2}
    together = advice.measure(network, parts=parts, **settings)
    plan = [({"source": "s"}, {"source": network, "parts": [p], **settings}) for p in parts]
    apart = advice.measure_all(plan, label="splits")
    assert apart["clean_accuracy"].tolist() == together["clean_accuracy"].tolist()
    assert set(apart["source"]) == {"s"}


def test_summary_and_difference_are_those_of_the_corrected_interval():
    rng = np.random.default_rng(0)
    one, two = rng.uniform(0.9, 1, 8), rng.uniform(0.5, 0.6, 8)
    rows = rows_of({"a": one, "b": two})
    found = advice.summary(rows, ["source"]).set_index("source")
    mean, low, high = resampled(one, 0.25)
    expected = [mean, low, min(high, 1)]
    assert found.loc["a", ["mean", "low", "high"]].tolist() == pytest.approx(expected)
    gap = advice.difference(rows, "a", "b", ["n_train"]).iloc[0]
    assert gap["n_train"] == 30
    assert tuple(gap[["mean", "low", "high"]]) == pytest.approx(resampled(one - two, 0.25))


def test_leads_compare_the_best_with_each_at_a_level_for_all_together():
    rng = np.random.default_rng(1)
    values = {
        name: at + rng.normal(0, 0.02, 8) for name, at in zip("abc", (0.6, 0.8, 0.7), strict=True)
    }
    best, ahead = advice.leads(rows_of(values))
    assert best == "b" and ahead["source"].tolist() == ["c", "a"]
    for row in ahead.itertuples():
        gap = values["b"] - values[row.source]
        assert (row.mean, row.low, row.high) == pytest.approx(resampled(gap, 0.25, 0.975))
    with pytest.raises(ValueError, match="c lacks splits"):
        advice.leads(rows_of({**values, "c": values["c"][:4]}))


def test_the_best_of_equals_is_seldom_called_best():
    """The luck of choosing: of eight sources that are all alike one always has the highest mean."""
    rng = np.random.default_rng(2)
    wrong = 0
    for _ in range(200):
        alike = {str(i): 0.5 + rng.normal(0, 0.05, 8) for i in range(8)}
        _, ahead = advice.leads(rows_of(alike))
        wrong += (ahead["low"] > 0).all()
    assert wrong <= 10


def recommended(lows, best="a"):
    frame = pd.DataFrame(
        [(name, low + 0.02, low, low + 0.04) for name, low in lows.items()],
        columns=["source", "mean", "low", "high"],
    )
    return advice.recommendation(best, frame)


def test_a_recommendation_says_how_sure_it_is():
    assert recommended({}) == "Only a was measured, so there is nothing to choose."
    assert recommended({"b": 0.01, "c": 0.05}) == (
        "Start from a: it is ahead of b by 3.0 points (1.0 to 5.0), and of the others by more."
    )
    assert recommended({"b": 0.01}) == "Start from a: it is ahead of b by 3.0 points (1.0 to 5.0)."
    assert recommended({"b": -0.01, "c": -0.005}) == (
        "No difference can be told between a, b and c; a has the highest mean."
    )
    some = recommended({"b": -0.01, "c": 0.05})
    assert some.startswith("Start from a or b: no difference can be told between them")
    assert some.endswith("is ahead of c by 7.0 points (5.0 to 9.0).")
    # One split tells nothing of the spread.
    assert "No difference can be told" in recommended({"b": np.nan})


def test_depths_in_words():
    assert [advice.depth_in_words(k) for k in (0, 1, 2, -1)] == [
        "the head alone",
        "the head and the last block",
        "the head and the last 2 blocks",
        "everything",
    ]
