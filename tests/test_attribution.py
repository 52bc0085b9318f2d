"""What is measured of fine-tuned networks, against the plain way to measure it."""

import copy

import pytest
import torch
from torch.nn.functional import cross_entropy

from lib import attribution, data, freezing, influence, microcosm
from lib.influence import head_influence, self_influence
from lib.training import pixels
from lib.transfer import transfer

RULES = [{"damping": 5e-4}, {"damping": 0.0, "cutoff": 0.05}]
SETTINGS = {"n": 30, "epochs": 5, "batch_size": 20}


@pytest.fixture(scope="module")
def digits():
    return data.load("digits", n=120), data.load("digits", "test", n=50)


@pytest.mark.parametrize("unfrozen_blocks", [0, 1])
def test_it_looks_into_the_networks_that_transfer_tunes(natural, digits, unfrozen_blocks):
    settings = {**SETTINGS, "unfrozen_blocks": unfrozen_blocks}
    found = list(attribution.tuned(natural, digits, seeds=[3, 8], **settings))
    rows = transfer(natural, digits, seeds=[3, 8], **settings)
    trunk, _ = freezing.split(natural, unfrozen_blocks)
    for one, seed, accuracy in zip(found, [3, 8], rows["clean_accuracy"], strict=True):
        assert one.subset_seed == seed and not one.wrong.any()
        assert torch.equal(one.members, data.choose(digits[0], 30, seed))
        for seen, images in ((one.train, digits[0][one.members]), (one.test, digits[1])):
            with torch.no_grad():
                below = trunk(pixels(images.x))
                logits = one.tail(below)
            torch.testing.assert_close(seen.probs, logits.softmax(1), atol=1e-5, rtol=1e-4)
            features = one.tail[:-1](below).detach()
            torch.testing.assert_close(seen.features, features, atol=1e-4, rtol=1e-4)
            assert torch.equal(seen.y, images.y)
        right = (one.test.probs.argmax(1) == one.test.y).double().mean()
        assert float(right) == pytest.approx(accuracy, abs=0.021)


def test_to_the_optimum(natural, digits):
    (one,) = attribution.tuned(natural, digits, n=30, seeds=[0], epochs=0, weight_decay=0.01)
    head = copy.deepcopy(one.tail[-1]).double()
    loss = cross_entropy(head(one.train.features.double()), one.train.y)
    loss = loss + 0.005 * sum(p.square().sum() for p in head.parameters())
    for gradient in torch.autograd.grad(loss, list(head.parameters())):
        assert gradient.abs().max() < 1e-5  # the head's weights are stored in float32
    torch.testing.assert_close(
        one.train.probs, one.tail(one.train.features).softmax(1).double(), atol=1e-5, rtol=1e-4
    )


def test_wrong_labels_are_wrong_and_as_many_as_asked_for():
    y = torch.arange(1000) % 10
    labels, wrong = attribution.mislabel(y, 10, 0.2, seed=1)
    assert wrong.sum() == 200 and torch.equal(labels != y, wrong)
    assert torch.bincount(labels[wrong], minlength=10).min() > 8  # every class is taken
    # At (C − 1)/C of wrong labels each class is as likely, whatever the truth.
    many = torch.zeros(30_000, dtype=torch.int64)
    labels, _ = attribution.mislabel(many, 3, 2 / 3, seed=0)
    assert torch.bincount(labels).double().div(30_000).sub(1 / 3).abs().max() < 0.01
    assert torch.equal(attribution.mislabel(y, 10, 0, seed=0)[0], y)
    with pytest.raises(ValueError, match="wrong labels is 1"):
        attribution.mislabel(y, 10, 1.5, seed=0)


def test_match_rates_of_the_scores(natural, digits):
    rows = attribution.matches(natural, digits, rules=RULES, ranks=7, seeds=[0, 1], **SETTINGS)
    assert rows["subset_seed"].tolist() == [0, 0, 1, 1]
    assert rows["cutoff"].tolist() == [0, 0.05, 0, 0.05]
    heads = attribution.tuned(natural, digits, seeds=[0, 1], **SETTINGS)
    for one, (_, pair) in zip(heads, rows.groupby("subset_seed"), strict=True):
        for rule, (_, row) in zip(RULES, pair.iterrows(), strict=True):
            scores = head_influence(*one.train, *one.test, **rule)
            same = one.train.y[scores.argsort(1, descending=True)] == one.test.y[:, None]
            assert row["match"] == pytest.approx(same[:, 0].double().mean().item())
            assert row["by_rank"] == pytest.approx(same[:, :7].double().mean(0).tolist())
            three = (same[:, :5].sum(1) >= 3).double().mean().item()
            assert row["three_of_five"] == pytest.approx(three)


def test_retraining_agrees_with_its_prediction(natural, digits):
    rules = [{"damping": 0.01}, {"damping": 1.0}]
    rows, predicted, actual = attribution.retrained(
        natural, digits, rules=rules, weight_decay=0.01, n=30, seeds=[2]
    )
    assert predicted.shape == actual.shape == (50, 30)
    assert rows["spearman"][0] > 0.9 > 0.5 > rows["spearman"][1]
    (one,) = attribution.tuned(natural, digits, epochs=0, weight_decay=0.01, n=30, seeds=[2])
    same = one.train.y[actual.argmax(1)] == one.test.y
    assert rows["match"].tolist() == pytest.approx([same.double().mean().item()] * 2)


def test_wrong_labels_are_found(natural):
    faces = data.load("faces"), data.load("faces", "test")
    rows = attribution.mislabelled(
        natural, faces, damping=5e-4, flip=0.1, n=100, seeds=[0, 1], epochs=100
    )
    at = rows[rows["checked"] == 0.2].groupby("ranking")["found"].mean()
    assert at["self-influence"] > 0.6 and at["loss"] > 0.6  # chance finds 0.2
    ends = rows[rows["checked"].isin([0.0, 1.0])].groupby("checked")["found"]
    assert ends.min().tolist() == ends.max().tolist() == [0, 1]
    settings = {"n": 100, "seeds": [0], "epochs": 100, "flip": 0.1}
    (one,) = attribution.tuned(natural, faces, **settings)
    assert torch.equal(one.train.y != faces[0].y[one.members], one.wrong)
    worst = self_influence(*one.train, damping=5e-4).argsort(descending=True)[:20]
    mine = rows[(rows["subset_seed"] == 0) & (rows["ranking"] == "self-influence")]
    share = one.wrong[worst].sum().item() / one.wrong.sum().item()
    assert mine[mine["checked"] == 0.2]["found"].item() == pytest.approx(share)


def test_beyond_the_head(natural, digits):
    (row,) = attribution.beyond_the_head(
        natural, digits, damping=5e-4, unfrozen_blocks=1, seeds=[0], **SETTINGS
    ).to_dict("records")
    assert row["unfrozen_blocks"] == 1 and -1 <= row["spearman"] <= 1
    assert 0 <= row["match_blocks"] <= 1
    (one,) = attribution.tuned(natural, digits, unfrozen_blocks=1, seeds=[0], **SETTINGS)
    best = head_influence(*one.train, *one.test, damping=5e-4).argmax(1)
    same = (one.train.y[best] == one.test.y).double().mean().item()
    assert row["match_head"] == pytest.approx(same, abs=0.021)


def test_the_source_is_left_unchanged(natural, digits):
    before = [v.clone() for v in natural.state_dict().values()]
    list(attribution.tuned(natural, digits, seeds=[0], unfrozen_blocks=1, **SETTINGS))
    list(attribution.tuned(natural, digits, seeds=[0], n=30, epochs=0))
    assert all(map(torch.equal, natural.state_dict().values(), before))


def test_a_large_head_is_measured_in_single_precision(natural, digits, monkeypatch):
    settings = {**SETTINGS, "rules": RULES, "seeds": [0]}
    double = attribution.matches(natural, digits, **settings)
    predicted = attribution.retrained(natural, digits, rules=RULES, n=30, seeds=[0])[1]
    monkeypatch.setattr(influence, "DOUBLE", 10)
    single = attribution.matches(natural, digits, **settings)
    assert single["match"].tolist() == pytest.approx(double["match"].tolist(), abs=0.021)
    rows, again, _ = attribution.retrained(natural, digits, rules=RULES, n=30, seeds=[0])
    assert again.dtype == torch.float32 and rows["spearman"][0] > 0.9
    torch.testing.assert_close(again.double(), predicted, rtol=0.01, atol=1e-4)


def test_targets(tmp_path):
    for cue in microcosm.CUES:
        train, test = attribution.load(cue, 60, 20)
        assert (len(train), len(test)) == (60, 20) and train.classes == test.classes
        assert not (train.x[:, None] == test.x[None]).flatten(2).all(2).any()
    train, test = attribution.load("faces", 60, 20)
    assert (len(train), len(test)) == (140, 20)
    for name in ("gratings", "faces"):
        parts = attribution.load(name, 60, 20, size=40)
        assert {part.x.shape[1:] for part in parts} == {(3, 40, 40)}
    attribution.known_or_all("target", "all")
    attribution.known_or_all("target", "gratings")
    with pytest.raises(ValueError, match=r"known sets are .*; here also shapes, gratings, all"):
        attribution.known_or_all("target", "grating")


def test_more_images_than_there_are(natural, digits):
    with pytest.raises(ValueError, match="n is 121; allowed are 10"):
        next(attribution.tuned(natural, digits, n=121, seeds=[0]))
