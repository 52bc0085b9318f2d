import copy
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from lib import augmentation, datasets, freezing, microcosm, robustness, tuning
from lib import transfer as transfer_module
from lib.attacks import L2
from lib.images import Images, choose, subset
from lib.training import thirds
from lib.transfer import transfer, transfers

COLUMNS = {
    "n_train", "unfrozen_blocks", "subset_seed", "epochs", "lr", "batch_size", "weight_decay",
    "augment", "views", "epoch", "clean_accuracy", "train_accuracy", "seconds",
}  # fmt: skip
SAME = sorted(COLUMNS - {"seconds"})


@pytest.fixture(scope="module")
def digits():
    return datasets.load("digits", n=200), datasets.load("digits", "test", n=100)


@pytest.fixture
def tuned(monkeypatch):
    """What was trained to what on what, model by model: (weights, labels)."""
    models = []

    def watched(fit):
        def call(tails, lessons):
            for (tail, fitted), labels in zip(fit(tails, lessons), lessons.y, strict=True):
                models.append((weights(tail), labels.tolist()))
                yield tail, fitted

        return call

    for name in ("fit_heads", "fit_tails"):
        monkeypatch.setattr(tuning, name, watched(getattr(tuning, name)))
    return models


def weights(module):
    return [v.clone() for v in module.state_dict().values()]


def slowly(
    source,
    train,
    test,
    *,
    n,
    unfrozen_blocks,
    seed,
    epochs,
    lr,
    batch_size,
    weight_decay,
    stop=None,
    show=None,
):
    """Fine-tune the whole network in a plain loop, the frozen part run again for each batch.

    show: gives the images of an epoch, uint8 (N, 3, H, W), or None.
    """
    model = copy.deepcopy(source).requires_grad_(True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model.head = nn.Linear(source.head.in_features, len(train.classes))
    freezing.freeze(model, unfrozen_blocks)
    images = subset(train, n, seed)
    x, y = images.x.float() / 255, images.y
    optimiser = torch.optim.SGD(
        [p for p in model.parameters() if p.requires_grad],
        lr=lr,
        momentum=0.9,
        nesterov=True,
        weight_decay=weight_decay,
    )
    generator = torch.Generator().manual_seed(seed)
    batches = -(-n // batch_size)
    for epoch in range(stop or epochs):
        model.train()
        x = show(epoch).float() / 255 if show else x
        for step, batch in enumerate(torch.randperm(n, generator=generator).tensor_split(batches)):
            progress = (epoch * batches + step) / (epochs * batches)
            optimiser.param_groups[0]["lr"] = lr * thirds(progress)
            optimiser.zero_grad()
            cross_entropy(model(x[batch]), y[batch]).backward()
            optimiser.step()
    return model.eval(), robustness.accuracy(model, test)


@pytest.mark.parametrize("unfrozen_blocks", [0, 1, 5, -1])
def test_equals_a_slow_twin(robust, digits, tuned, unfrozen_blocks):
    settings = {
        "n": 50, "unfrozen_blocks": unfrozen_blocks, "epochs": 3, "lr": 0.05, "batch_size": 20,
        "weight_decay": 0.01,
    }  # fmt: skip
    rows = transfer(robust, digits, seeds=[4, 9], **settings)
    for (_, row), (found, _) in zip(rows.iterrows(), tuned, strict=True):
        model, accuracy = slowly(robust, *digits, seed=row["subset_seed"], **settings)
        _, tail = freezing.split(model, unfrozen_blocks)
        for ours, expected in zip(found, weights(tail), strict=True):
            torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-3)
        assert row["clean_accuracy"] == pytest.approx(accuracy, abs=0.011)
    assert rows["subset_seed"].tolist() == [4, 9]


@pytest.fixture
def colourful():
    """A target in colour."""
    return microcosm.draw(120, 50), microcosm.draw(60, 51)


@pytest.mark.parametrize(
    ("views", "policy"), [(1, "paper"), (3, "paper"), (4, "crops"), (0, "paper"), (0, "crops")]
)
@pytest.mark.parametrize("unfrozen_blocks", [0, 1])
def test_views_are_shown_in_turn_as_a_slow_twin_shows_them(
    robust, colourful, tuned, unfrozen_blocks, views, policy
):
    settings = {
        "n": 50, "unfrozen_blocks": unfrozen_blocks, "epochs": 4, "lr": 0.05, "batch_size": 20,
        "weight_decay": 0.01,
    }  # fmt: skip
    (row,) = transfer(
        robust, colourful, seeds=[4], augment=policy, views=views, **settings
    ).to_dict("records")
    members = choose(colourful[0], 50, 4)

    def show(epoch):
        number = epoch % views if views else epoch
        return augmentation.one_view(colourful[0].x[members], members, number, policy=policy)

    model, accuracy = slowly(robust, *colourful, seed=4, show=show, **settings)
    _, tail = freezing.split(model, unfrozen_blocks)
    ((found, _),) = tuned
    for ours, expected in zip(found, weights(tail), strict=True):
        torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-3)
    assert row["clean_accuracy"] == pytest.approx(accuracy, abs=0.018)
    assert (row["augment"], row["views"]) == (policy, views)


def test_as_many_views_as_epochs_are_new_ones_in_each(robust, colourful, tuned):
    settings = {"n": [20, 60], "seeds": [0, 1], "epochs": 5, "augment": "paper"}
    kept = transfer(robust, colourful, views=5, **settings)
    fresh = transfer(robust, colourful, views=0, **settings)
    for (one, _), (other, _) in zip(tuned[:4], tuned[4:], strict=True):
        for ours, expected in zip(one, other, strict=True):
            torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-3)
    few = transfer(robust, colourful, views=1, **settings)
    assert not torch.allclose(tuned[8][0][0], tuned[0][0][0], atol=1e-3)
    assert len(kept) == len(fresh) == len(few) == 4


def test_grey_targets_are_shown_as_they_are(robust, digits):
    settings = {"n": 30, "seeds": [0], "epochs": 3}
    plain = transfer(robust, digits, **settings)
    shown = transfer(robust, digits, augment="paper", views=3, **settings)
    pd.testing.assert_frame_equal(shown[SAME], plain[SAME])
    assert shown["augment"][0] == "none" and shown["views"][0] == 1


def test_one_row_for_each_model(natural, digits):
    rows = transfer(natural, digits, n=[20, 40], seeds=[0, 3], epochs=2, lr=0.2, batch_size=16)
    assert isinstance(rows, pd.DataFrame) and set(rows) == COLUMNS
    assert sorted(zip(rows["n_train"], rows["subset_seed"], strict=True)) == [
        (20, 0), (20, 3), (40, 0), (40, 3),
    ]  # fmt: skip
    assert (rows[["epochs", "lr", "batch_size"]] == [2, 0.2, 16]).all(axis=None)
    assert (rows["epoch"] == 2).all() and (rows["unfrozen_blocks"] == 0).all()
    for share in (rows["clean_accuracy"], rows["train_accuracy"]):
        assert share.between(0, 1).all()
    # Each row alone is the same: what else is asked for does not matter.
    for _, row in rows.iterrows():
        alone = transfer(
            natural, digits, n=np.int64(row["n_train"]), seeds=int(row["subset_seed"]), epochs=2,
            lr=0.2, batch_size=16,
        )  # fmt: skip
        for share in ("clean_accuracy", "train_accuracy"):
            assert alone[share][0] == pytest.approx(row[share], abs=0.011)


@pytest.mark.parametrize(("unfrozen_blocks", "views"), [(0, 1), (1, 2), (0, 0)])
def test_sizes_come_one_by_one_and_the_trunk_runs_once(
    natural, colourful, monkeypatch, unfrozen_blocks, views
):
    runs, usual = [], transfer_module.freeze_below
    monkeypatch.setattr(
        transfer_module, "freeze_below", lambda *given: runs.append(1) or usual(*given)
    )
    settings = {"seeds": [0, 3], "epochs": 2, "unfrozen_blocks": unfrozen_blocks}
    settings |= {"augment": "crops", "views": views, "evaluate_at": [1, 2]}
    parts = transfers(natural, colourful, n=[40, 20, 80], **settings)
    assert runs == []
    first = next(parts)
    assert set(first["n_train"]) == {40} and len(first) == 4 and set(first) == COLUMNS
    found = pd.concat([first, *parts], ignore_index=True)
    assert found["n_train"].tolist() == [40] * 4 + [20] * 4 + [80] * 4 and len(runs) == 1
    together = transfer(natural, colourful, n=[40, 20, 80], **settings)
    pd.testing.assert_frame_equal(found[SAME], together[SAME], check_exact=True)
    # What is left after a kill has the largest size too: bit for bit the same.
    left = transfer(natural, colourful, n=[20, 80], **settings)
    pd.testing.assert_frame_equal(
        left[SAME], found[SAME][4:].reset_index(drop=True), check_exact=True
    )


def test_features_are_held_once_for_all_subsets_and_rates(natural, digits, monkeypatch):
    held, usual = [], transfer_module.tune
    monkeypatch.setattr(
        transfer_module, "tune", lambda *given, **how: held.append(given[1]) or usual(*given, **how)
    )
    transfer(natural, digits, n=[40, 20], seeds=[0, 3], rates=[0.1, 0.3, 1], epochs=1)
    assert held[0] is held[1] and len(held[0]) <= 80


def slow_curve(source, train, test, at, **settings):
    """Fine-tune in the plain loop, anew for each epoch of the curve, and stop there."""
    return [slowly(source, train, test, stop=epoch, **settings)[1] for epoch in at]


@pytest.mark.parametrize("unfrozen_blocks", [0, 1, -1])
def test_a_curve_is_that_of_the_plain_loop_stopped_on_the_way(robust, digits, unfrozen_blocks):
    settings = {
        "n": 50, "unfrozen_blocks": unfrozen_blocks, "epochs": 6, "lr": 0.05, "batch_size": 20,
        "weight_decay": 0.01,
    }  # fmt: skip
    rows = transfer(robust, digits, seeds=[4, 9], evaluate_at=[1, 4, 6], **settings)
    assert set(rows) == COLUMNS
    assert (
        rows["epoch"].tolist() == [1, 4, 6] * 2
        and rows["subset_seed"].tolist() == [4] * 3 + [9] * 3
    )
    expected = slow_curve(robust, *digits, [1, 4, 6], seed=9, **settings)
    assert rows["clean_accuracy"][3:].tolist() == pytest.approx(expected, abs=0.011)
    assert len(set(rows["clean_accuracy"])) > 2  # it moves


@pytest.mark.parametrize("unfrozen_blocks", [0, 2])
def test_looking_on_the_way_changes_nothing(robust, digits, tuned, unfrozen_blocks):
    settings = {"n": [20, 40], "seeds": [0, 1], "epochs": 5, "unfrozen_blocks": unfrozen_blocks}
    plain = transfer(robust, digits, **settings)
    seen = transfer(robust, digits, evaluate_at=[2, 5], **settings)
    for (one, _), (other, _) in zip(tuned[:4], tuned[4:], strict=True):
        assert all(map(torch.equal, one, other))
    last = seen[seen["epoch"] == 5].reset_index(drop=True)
    pd.testing.assert_frame_equal(last[SAME], plain[SAME])  # curves end at the final accuracy
    again = transfer(robust, digits, evaluate_at=[2, 5], **settings)
    pd.testing.assert_frame_equal(seen[SAME], again[SAME])


@pytest.mark.parametrize("unfrozen_blocks", [0, 2])
def test_rates_share_a_trunk_and_are_those_of_one_after_another(
    robust, digits, tuned, unfrozen_blocks, monkeypatch
):
    settings = {"n": [20, 40], "seeds": [3, 1], "epochs": 5, "unfrozen_blocks": unfrozen_blocks}
    runs = []
    frozen = transfer_module.freeze_below
    monkeypatch.setattr(
        transfer_module, "freeze_below", lambda *args: runs.append(args) or frozen(*args)
    )
    together = transfer(robust, digits, rates=[0.3, 0.01], **settings)
    assert len(runs) == 1
    models = tuned[:]
    assert together["lr"].tolist() == [0.3, 0.3, 0.01, 0.01] * 2
    alone = pd.concat([transfer(robust, digits, lr=rate, **settings) for rate in (0.3, 0.01)])
    # Those of one size stand together there, here those of one rate.
    order = [0, 1, 4, 5, 2, 3, 6, 7]
    for (one, labels), (other, its) in zip([models[i] for i in order], tuned[8:], strict=True):
        assert labels == its
        for mine, theirs in zip(one, other, strict=True):
            torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-3)
    keys = ["n_train", "lr", "subset_seed"]
    ours, theirs = (rows.set_index(keys).sort_index() for rows in (together, alone))
    assert ours["clean_accuracy"].tolist() == pytest.approx(theirs["clean_accuracy"], abs=0.011)
    assert ours["clean_accuracy"].nunique() > 2


@pytest.mark.parametrize("unfrozen_blocks", [0, 1, -1])
def test_measures_are_of_the_whole_network(robust, digits, tuned, unfrozen_blocks):
    images, ball = digits[1][:30], L2(0.1)
    settings = {
        "n": 60, "unfrozen_blocks": unfrozen_blocks, "epochs": 8, "lr": 0.1, "batch_size": 20,
        "weight_decay": 5e-4,
    }  # fmt: skip
    measures = {
        "kept": partial(robustness.robust_accuracy, images=images, ball=ball, steps=5),
        "clean": partial(robustness.accuracy, images=digits[1]),
    }
    rows = transfer(robust, digits, seeds=[3], measures=measures, **settings)
    assert set(rows) == COLUMNS | {"kept", "clean"}
    assert rows["clean"][0] == pytest.approx(rows["clean_accuracy"][0], abs=0.011)
    model, _ = slowly(robust, *digits, seed=3, **settings)
    kept = robustness.robust_accuracy(model, images, ball, steps=5)
    assert 0 < kept < 1
    assert rows["kept"][0] == pytest.approx(kept, abs=0.034)  # an image in thirty


def test_it_learns_the_target(robust, digits):
    (row,) = transfer(robust, digits, n=200, epochs=30).to_dict("records")
    # Over training seeds of the source 0.58 ± 0.04, 0.60 ± 0.06, and 0.97 ± 0.03 below.
    assert row["clean_accuracy"] > 0.45 and row["train_accuracy"] > 0.42
    (more,) = transfer(robust, digits, n=200, epochs=30, unfrozen_blocks=2).to_dict("records")
    assert more["train_accuracy"] > 0.87


@pytest.mark.parametrize("unfrozen_blocks", [0, 2, -1])
def test_the_source_is_left_unchanged(natural, digits, unfrozen_blocks):
    source = copy.deepcopy(natural).requires_grad_(True).train()
    source.blocks[0].requires_grad_(False).eval()
    before, modes = weights(source), [m.training for m in source.modules()]
    trainable = [p.requires_grad for p in source.parameters()]
    global_state = torch.random.get_rng_state()
    in_train = transfer(source, digits, n=20, epochs=2, unfrozen_blocks=unfrozen_blocks)
    assert all(map(torch.equal, weights(source), before))
    assert [m.training for m in source.modules()] == modes
    assert [p.requires_grad for p in source.parameters()] == trainable
    assert all(p.grad is None for p in source.parameters())
    assert torch.equal(torch.random.get_rng_state(), global_state)
    # Nor does it matter in which mode, or how frozen, the source came.
    in_eval = transfer(natural, digits, n=20, epochs=2, unfrozen_blocks=unfrozen_blocks)
    same = [c for c in in_eval if c != "seconds"]
    pd.testing.assert_frame_equal(in_train[same], in_eval[same])


def test_the_same_subsets_for_every_source(natural, robust, digits, tuned):
    for source in (natural, robust):
        transfer(source, digits, n=[20, 40], seeds=[0, 1], epochs=1)
    labels = [y for _, y in tuned]
    assert labels[:4] == labels[4:]
    assert len({tuple(y) for y in labels}) == 4  # another seed, another subset
    assert not torch.equal(tuned[0][0][0], tuned[4][0][0])  # but other features


@pytest.mark.parametrize("unfrozen_blocks", [0, 1])
def test_the_test_set_decides_nothing(natural, digits, tuned, unfrozen_blocks):
    train, test = digits
    other = Images(255 - test.x[:60], (test.y[:60] + 3) % 10, test.classes)
    found = [
        transfer(natural, (train, part), n=30, epochs=3, unfrozen_blocks=unfrozen_blocks)
        for part in (test, other)
    ]
    (one, _), (two, _) = tuned
    assert all(map(torch.equal, one, two))
    assert found[0]["train_accuracy"].equals(found[1]["train_accuracy"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"n": 201}, "n is 201; allowed are 10, one image a class, to 200"),
        ({"n": [20, 5]}, "n is 5; allowed are 10"),
        ({"n": 20, "unfrozen_blocks": 6}, "unfrozen_blocks is 6; allowed are 0"),
        ({"n": 20, "epochs": 0}, "epochs is 0; fine-tuning needs at least 1"),
        (
            {"n": 20, "evaluate_at": [1, 200]},
            "evaluate_at holds 200; allowed are the epochs 1 to 150",
        ),
        ({"n": 20, "evaluate_at": [0]}, "evaluate_at holds 0; allowed are"),
    ],
)
def test_errors_before_anything_is_trained(natural, digits, tuned, arguments, said):
    with pytest.raises(ValueError, match=said):
        transfer(natural, digits, **arguments)
    assert tuned == []


def test_a_target_that_does_not_fit_together(natural, digits):
    with pytest.raises(ValueError, match="trains 0, 1, 2, 3, 4, but tests face, no face; both"):
        transfer(natural, (digits[0], datasets.load("faces", "test")), n=20)
