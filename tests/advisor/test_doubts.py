import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from cleanlab.rank import get_label_quality_scores
from numbered import numbered
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from torch.nn.functional import cross_entropy

from lib.advisor import advice, doubts
from lib.images import Images
from lib.studies.matching import share_found
from lib.studies.retraining import fit_to_optimum
from lib.studies.tuned_heads import mislabel
from lib.zoo import models

DECAY = 1e-2


@pytest.fixture(scope="module")
def set_of():
    """Two classes of 16 points in the plane that overlap; one label is wrong."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(32) % 2
    features = torch.randn(32, 2, generator=generator, dtype=torch.float64)
    features[:, 0] += 4 * y - 2
    wrong = y.clone()
    wrong[5] = 1 - wrong[5]
    return features, numbered(wrong, ("left", "right"))


def fitted(features, y, without=None):
    """The head that minimises the mean loss, by L-BFGS; one image's loss may be left out."""
    weights = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    h = torch.cat([features, torch.ones(len(features), 1, dtype=torch.float64)], 1)
    kept = torch.arange(len(y)) != (-1 if without is None else without)
    optimiser = torch.optim.LBFGS([weights], max_iter=500, tolerance_grad=1e-12, history_size=50)

    def closure():
        optimiser.zero_grad()
        loss = cross_entropy(h[kept] @ weights.T, y[kept], reduction="sum") / len(y)
        loss = loss + DECAY / 2 * weights.square().sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    return lambda x: torch.cat([x, torch.ones(len(x), 1)], 1) @ weights.detach().T


def test_self_influence_and_harm_are_what_retraining_without_an_image_shows(set_of):
    features, images = set_of
    parts = advice.splits(images, 1)
    found = doubts.suspicions(features, images, parts, weight_decay=DECAY)
    everything = fitted(features, images.y)
    own, harm, trained = np.zeros(32), np.zeros(32), np.zeros(32)
    for i in range(32):
        without = fitted(features, images.y, i)
        one, label = features[i : i + 1], images.y[i : i + 1]
        own[i] = cross_entropy(without(one), label) - cross_entropy(everything(one), label)
    for part in parts:
        known, y = features[part.train], images.y[part.train]
        held, held_y = features[part.test], images.y[part.test]
        before = cross_entropy(fitted(known, y)(held), held_y)
        for place, i in enumerate(part.train.tolist()):
            harm[i] += before - cross_entropy(fitted(known, y, place)(held), held_y)
            trained[i] += 1
    assert np.corrcoef(found["self-influence"], own)[0, 1] > 0.98
    assert np.corrcoef(found["harm"], harm / trained)[0, 1] > 0.95
    assert found["self-influence"].idxmax() == 5 and found["harm"].idxmax() == 5


def test_answers_are_of_heads_that_were_trained_without_the_image(set_of):
    features, images = set_of
    parts = advice.splits(images, 2)
    found = doubts.suspicions(features, images, parts, weight_decay=DECAY)
    probs = torch.zeros(32, 2, dtype=torch.float64)
    for part in parts:
        weights = fit_to_optimum(features[part.train], images.y[part.train], 2, weight_decay=DECAY)
        h = torch.cat([features[part.test], torch.ones(len(part.test), 1)], 1)
        probs[part.test] += (h @ weights.T).softmax(1) / 2
    assert found["answer"].tolist() == probs.argmax(1).tolist()
    assert found["sure"].to_numpy() == pytest.approx(probs.amax(1).numpy())
    loss = -probs[torch.arange(32), images.y].log()
    assert found["held-out loss"].to_numpy() == pytest.approx(loss.numpy())
    assert found.loc[5, "answer"] != found.loc[5, "label"]
    with pytest.raises(ValueError, match="on no split's test side"):
        doubts.suspicions(features, images, parts[:2])


def test_flipped_labels_are_found_and_chance_is_what_no_signal_finds():
    generator = torch.Generator().manual_seed(1)
    y = torch.arange(60) % 3
    noise = torch.randn(60, 3, generator=generator, dtype=torch.float64)
    images = numbered(y, ("a", "b", "c"))
    parts = advice.splits(images, 1)
    told = noise + 6 * torch.nn.functional.one_hot(y, 3)

    def found(features, seed):
        checked = [0, 0.1, 0.5, 1]
        rows = doubts.planted(features, images, parts, share=0.1, checked=checked, seed=seed)
        return rows.pivot(index="ranking", columns="checked", values="found")

    signal = sum(found(told, seed) for seed in range(5)) / 5
    assert set(signal.index) == set(doubts.RANKINGS)
    assert (signal[0] == 0).all() and (signal[1] == 1).all()
    assert (signal.loc[["self-influence", "held-out loss"], 0.1] > 0.8).all()
    assert (signal[0.5] > 0.55).all()
    blind = sum(found(noise, seed) for seed in range(20)) / 20
    assert ((blind[0.5] > 0.3) & (blind[0.5] < 0.8)).all()


def test_features_are_rotated_only_where_they_are_many(monkeypatch):
    network = models.build("small_resnet", 10, seed=0, width=8).eval()
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (40, 3, 32, 32), generator=generator, dtype=torch.uint8)
    images = Images(x, torch.arange(40) % 2, ("a", "b"))
    with torch.no_grad():
        plain = network.features(x / 255).double()
    assert torch.allclose(doubts.seen(network, images), plain, atol=1e-5)
    monkeypatch.setattr(doubts, "ROWS", 21)  # 20 directions of 32
    few = doubts.seen(network, images)
    assert few.shape == (40, 20)
    # What is left are the directions in which the features are longest.
    values = torch.linalg.svdvals(plain)
    assert few.square().sum() == pytest.approx(float(values[:20].square().sum()))


def test_it_finds_as_many_flipped_labels_as_cleanlab():
    """The peer ranks by probabilities of heads that scikit-learn trains on the same splits."""
    pixels, truth = load_digits(return_X_y=True)
    features = torch.from_numpy(pixels[:300] / 16)
    true = torch.from_numpy(truth[:300]).long()
    y, wrong = mislabel(true, 10, 0.1, seed=0)
    images = numbered(y, tuple("0123456789"))
    parts = advice.splits(images, 1)
    probs = np.zeros((300, 10))
    for train, test in ((part.train, part.test) for part in parts):
        # The same objective: scikit-learn counts the sum of the losses, the head their mean.
        head = LogisticRegression(C=1 / (len(train) * DECAY), max_iter=500)
        head.fit(features[train].numpy(), y[train].numpy())
        probs[test] = head.predict_proba(features[test].numpy())
    ours = doubts.suspicions(features, images, parts, weight_decay=DECAY)
    caught = {
        method: share_found(
            -get_label_quality_scores(y.numpy(), probs, method=method), wrong, [0.1]
        )
        for method in ("self_confidence", "normalized_margin")
    }
    # Its self-confidence is the ranking by held-out loss; only the bias is penalised in ours alone.
    order = pd.Series(-np.log(probs[np.arange(300), y])).corr(ours["held-out loss"], "spearman")
    assert order > 0.98
    own = {name: share_found(ours[name], wrong, [0.1]) for name in doubts.RANKINGS}
    assert own["held-out loss"] == pytest.approx(caught["self_confidence"], abs=0.1)
    assert own["self-influence"] > max(caught.values()) - 0.1
    assert own["self-influence"] > 0.6  # chance finds 0.1


def test_all_labels_are_written_with_whole_paths_the_most_doubtful_first(set_of, tmp_path):
    features, images = set_of
    found = doubts.suspicions(features, images, advice.splits(images, 1), weight_decay=DECAY)
    names = [f"left/a long name, of a photograph {i}.png" for i in range(32)]
    (tmp_path / "set").mkdir()
    out = tmp_path / "labels.csv"
    doubts.write(found, names, images.classes, str(tmp_path / "set"), out)
    rows = list(csv.DictReader(out.open(encoding="utf-8")))
    assert [Path(row["image"]) for row in rows[:1]] == [tmp_path / "set" / names[5]]
    assert len(rows) == 32 and rows[0]["label"] != rows[0]["answer"]
    influence = [float(row["self-influence"]) for row in rows]
    assert influence == sorted(influence, reverse=True)
    doubts.write(found, [f"train {i}" for i in range(32)], images.classes, "faces", str(out))
    assert out.read_text(encoding="utf-8").splitlines()[1].startswith("train 5,")


def test_what_few_flips_catch_is_known_no_better_than_they_allow():
    rows = [("harm", c, s, float(c > 0)) for c in (0, 0.5) for s in range(3)]
    trials = pd.DataFrame(rows, columns=["ranking", "checked", "seed", "found"])
    one = doubts.caught(trials, 1).set_index("checked")
    assert one.loc[0.5, "mean"] == one.loc[0.5, "high"] == 1 and one.loc[0.5, "low"] < 0.5
    assert one.loc[0, "low"] == 0 and one.loc[0, "high"] > 0.5
    assert doubts.caught(trials, 100).set_index("checked").loc[0.5, "low"] > 0.98


def test_the_most_doubtful_by_either_influence():
    values = {
        "self-influence": [0.1, 0.3, 0.2],
        "harm": [3.0, 1.0, 2.0],
        "held-out loss": [0, 0, 0],
    }
    first = doubts.most_doubtful(pd.DataFrame(values), count=2)
    assert {name: list(rows.index) for name, rows in first.items()} == {
        "self-influence": [1, 2],
        "harm": [0, 2],
    }
