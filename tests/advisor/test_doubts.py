import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from lib.advisor import advice, doubts
from lib.images import Images
from lib.studies.retraining import fit_to_optimum
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
    blank = torch.zeros(32, 3, 8, 8, dtype=torch.uint8)
    return features, Images(blank, wrong, ("left", "right"))


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
    images = Images(torch.zeros(60, 3, 8, 8, dtype=torch.uint8), y, ("a", "b", "c"))
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
