"""Fine-tuning at the rate that validation chooses, against `transfer` at that rate."""

import pandas as pd
import pytest
import torch

from lib import microcosm
from lib.images import Images, choose, positions
from lib.studies import best_rate
from lib.studies.best_rate import transfers_at_best_rate
from lib.training import NotFinite
from lib.transfer import transfer
from lib.zoo import models

HOW = {"epochs": 8, "unfrozen_blocks": 1, "batch_size": 8}
RATES = (1e-6, 0.05, 0.2)
"""The first is far too small to learn anything."""


@pytest.fixture(scope="module")
def source():
    return models.build("small_resnet", 4, seed=0, width=4).eval()


@pytest.fixture(scope="module")
def target():
    """Images of 8 × 8 pixels whose class is their colour."""

    def shown(n, seed):
        drawn = microcosm.draw(n, seed, size=8)
        y = torch.arange(n) % 4
        tint = torch.tensor([[100, 0, 0], [0, 100, 0], [0, 0, 100], [0, 0, 0]], dtype=torch.uint8)
        return Images(drawn.x // 2 + tint[y][:, :, None, None], y, ("red", "green", "blue", "none"))

    return shown(80, 0), shown(60, 1)


@pytest.fixture(scope="module")
def rows(source, target):
    return run(source, target, n=[40, 80], seeds=[0, 3])


def run(source, target, **call):
    call = {"rates": RATES, **HOW, **call}
    return pd.concat(transfers_at_best_rate(source, target, **call), ignore_index=True)


def test_a_row_is_the_last_of_the_transfer_at_its_rate(source, target, rows):
    assert rows[["n_train", "subset_seed"]].values.tolist() == [[40, 0], [40, 3], [80, 0], [80, 3]]
    for row in rows.to_dict("records"):
        call = {"n": row["n_train"], "seeds": [row["subset_seed"]], "lr": row["lr"], **HOW}
        (plain,) = transfer(source, target, **call).to_dict("records")
        assert row["epoch"] == plain["epoch"] == 8
        shares = ["clean_accuracy", "train_accuracy"]
        assert [row[k] for k in shares] == pytest.approx([plain[k] for k in shares], abs=0.06)
        told = set(plain) - {*shares, "seconds"}
        assert {k: row[k] for k in told} == {k: plain[k] for k in told}


def test_a_rate_chosen_with_fewer_images_serves_all_sizes_from_there_on(source, target, rows):
    fewer = run(source, target, n=[20, 40, 80], seeds=[0, 3], chosen_at=40)
    with_40 = rows[rows["n_train"] == 40]["lr"].tolist()
    by_size = fewer.groupby("n_train")["lr"].apply(list)
    assert by_size[40] == by_size[80] == with_40
    alone = run(source, target, n=[20], seeds=[0, 3])
    assert by_size[20] == alone["lr"].tolist()


def test_what_is_recorded_and_measured_is_of_the_last_fit_alone(source, target):
    seen = []

    def measure(network):
        seen.append(network)
        return 0.25

    call = {"n": [20], "evaluate_at": (2, 8), "measures": {"asked": measure}}
    rows = run(source, target, **call)
    assert rows["epoch"].tolist() == [2, 8] and rows["lr"].nunique() == 1
    assert (rows["asked"] == 0.25).all() and len(seen) == 1


def test_the_rate_is_that_of_a_plain_loop_over_the_training_images(source, target, monkeypatch):
    asked, fits = [], []

    def watched(source, parts, **call):
        asked.append(parts)
        fits.append(call)
        right = {0.1: 0.6, 0.2: 0.9, 0.3: 0.9, 0.4: 0.7}
        rates = call.get("rates") or [call["lr"]]
        return pd.DataFrame([{"lr": rate, "clean_accuracy": right[rate]} for rate in rates])

    monkeypatch.setattr(best_rate, "transfer", watched)
    (found,) = transfers_at_best_rate(
        source, target, n=[40], seeds=[5], rates=(0.1, 0.2, 0.3, 0.4), **HOW
    )
    assert found["lr"].tolist() == [0.2]  # of the two that are equally good the smaller
    assert [call.get("rates") or call["lr"] for call in fits] == [(0.1, 0.2, 0.3, 0.4), 0.2]
    some = target[0][choose(target[0], 40, 5)]
    held = torch.zeros(40, dtype=torch.bool)
    held[positions(some.y, 8, 5)] = True
    learned, validation = asked[0]
    assert torch.equal(learned.x, some.x[~held]) and torch.equal(validation.x, some.x[held])
    assert fits[0]["n"] == 32 and validation.y.bincount().tolist() == [2, 2, 2, 2]
    assert asked[-1] is target and fits[-1]["n"] == 40


def test_the_test_images_choose_nothing(source, target, rows):
    train, test = target
    turned = Images(test.x, (test.y + 1) % 4, test.classes)
    other = run(source, (train, turned), n=[40, 80], seeds=[0, 3])
    pd.testing.assert_series_equal(other["lr"], rows["lr"])
    assert other["train_accuracy"].tolist() == rows["train_accuracy"].tolist()
    assert other["clean_accuracy"].mean() < 0.3 < rows["clean_accuracy"].mean()


def test_one_rate_needs_no_validation(source, target, monkeypatch):
    calls = []

    def counted(*args, **call):
        calls.append(call["n"])
        return transfer(*args, **call)

    monkeypatch.setattr(best_rate, "transfer", counted)
    assert run(source, target, n=[20], rates=[0.05])["lr"].tolist() == [0.05]
    assert calls == [20]
    run(source, target, n=[20], rates=[0.05, 0.1])
    assert calls[1:] == [16, 20]


def test_a_rate_is_chosen_once_for_all_sizes_that_share_it(source, target, monkeypatch):
    tried = []

    def counted(*args, **call):
        tried.append((call["n"], *call["seeds"]))
        return transfer(*args, **call)

    monkeypatch.setattr(best_rate, "transfer", counted)
    run(source, target, n=[20, 40], seeds=[0, 3], rates=[0.05, 0.1], chosen_at=20)
    assert tried == [(16, 0), (20, 0), (16, 3), (20, 3), (40, 0), (40, 3)]


def test_a_rate_that_learns_nothing_is_not_chosen(rows):
    assert rows["lr"].isin(RATES).all()
    assert (rows["lr"] > min(RATES)).all()


def test_a_rate_that_diverges_loses(source, target):
    assert run(source, target, n=[40], rates=[1e-6, 0.05, 1e20, 1e30])["lr"].tolist() == [0.05]
    assert run(source, target, n=[20], rates=[0.05, 1e20, 1e30])["lr"].tolist() == [0.05]


def test_where_every_rate_diverges_the_smallest_is_named(source, target):
    with pytest.raises(NotFinite, match=r"lower lr, now 1e\+20"):
        run(source, target, n=[20], rates=[1e20, 1e30])


def test_one_image_a_class_is_enough(source, target):
    (row,) = run(source, target, n=[4]).to_dict("records")
    assert row["n_train"] == 4 and row["lr"] == RATES[1]


def test_more_images_than_there_are_are_refused(source, target):
    with pytest.raises(ValueError, match="n is 81; allowed are 4, one image a class, to 80"):
        run(source, target, n=[81])
