"""Heads at their optimum, on features that are known: a network that passes the pixels on."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from lib.images import Images, choose, positions
from lib.networks import Network, Normalise
from lib.studies import linear_probe
from lib.studies.linear_probe import DECAYS, probes

CLASSES = ("a", "b", "c")


class Times(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return self.factor * x


def passing_on(factor=1.0):
    """A network whose features are the twelve values of images of 2 × 2 pixels, times a factor."""
    return Network(Normalise(0.5, 0.25), [Times(factor)], nn.Flatten(), nn.Linear(12, 3)).eval()


def clouds(count, seed, spread, classes=3):
    """Images of 2 × 2 pixels around a point for each class; the classes take turns."""
    centres = np.random.default_rng(7).uniform(80, 180, (classes, 12))
    y = np.arange(count) % classes
    x = centres[y] + spread * np.random.default_rng(seed).normal(size=(count, 12))
    pixels = torch.from_numpy(x.round().clip(0, 255).astype(np.uint8)).view(count, 3, 2, 2)
    return Images(pixels, torch.from_numpy(y), CLASSES[:classes])


@pytest.fixture(scope="module")
def overlapping():
    return clouds(150, 0, 45), clouds(300, 1, 45)


def rows_of(source, target, **call):
    return pd.concat(probes(source, target, **call), ignore_index=True)


def scaled(features, by):
    """Shift and scale features to mean 0 and variance 1 over others."""
    return (features - by.mean(0)) / by.std(0)


def features_of(images):
    return ((images.x.double() / 255 - 0.5) / 0.25).flatten(1).numpy()


def best_head(x, y, decay):
    """Minimise mean cross-entropy + decay/2 · ‖weights‖², the bias free, by torch's L-BFGS."""
    x, y = torch.from_numpy(x), torch.as_tensor(y)
    weight = torch.zeros(len(CLASSES), x.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(len(CLASSES), dtype=torch.float64, requires_grad=True)
    how = {"max_iter": 500, "tolerance_grad": 1e-9, "tolerance_change": 0}
    descent = torch.optim.LBFGS([weight, bias], line_search_fn="strong_wolfe", **how)

    def loss():
        descent.zero_grad()
        value = nn.functional.cross_entropy(x @ weight.T + bias, y)
        value = value + decay / 2 * weight.square().sum()
        value.backward()
        return value

    descent.step(loss)
    return weight.detach().numpy(), bias.detach().numpy()


def right(head, x, y):
    return float(((x @ head[0].T + head[1]).argmax(1) == np.asarray(y)).mean())


def test_a_frame_for_each_size_with_a_row_for_each_subset(overlapping):
    found = list(probes(passing_on(), overlapping, n=[12, 30], seeds=[4, 9]))
    assert [frame["n_train"].tolist() for frame in found] == [[12, 12], [30, 30]]
    for frame in found:
        assert frame["subset_seed"].tolist() == [4, 9]
        assert frame["weight_decay"].isin(DECAYS).all() and (frame["seconds"] >= 0).all()
        assert frame[["train_accuracy", "clean_accuracy"]].stack().between(0, 1).all()


def test_sizes_together_are_what_they_are_one_by_one(overlapping):
    call = {"source": passing_on(), "target": overlapping, "seeds": [0, 1]}
    together = rows_of(n=[12, 60], **call).drop(columns="seconds")
    single = pd.concat([rows_of(n=[n], **call) for n in (12, 60)], ignore_index=True)
    pd.testing.assert_frame_equal(together, single.drop(columns="seconds"), rtol=0, atol=1.01 / 300)


def test_the_test_images_decide_nothing(overlapping):
    train, test = overlapping
    known = rows_of(passing_on(), overlapping, n=[30], seeds=range(4))
    shuffled = Images(test.x, test.y[torch.randperm(300, generator=torch.manual_seed(0))], CLASSES)
    other = rows_of(passing_on(), (train, shuffled), n=[30], seeds=range(4))
    decided = ["weight_decay", "train_accuracy"]
    assert known[decided].equals(other[decided])
    assert known["clean_accuracy"].mean() > 0.6  # and chance, of labels that say nothing
    assert other["clean_accuracy"].mean() == pytest.approx(1 / 3, abs=0.12)


def test_heads_of_all_decays_are_optima(overlapping):
    x, y = features_of(overlapping[0]), overlapping[0].y.numpy()
    probe = linear_probe._probe()
    for decay in DECAYS:
        scaler, head = linear_probe._fit(probe, x, y, decay)
        h = scaler.transform(x)
        assert h == pytest.approx(scaled(x, x))
        error = head.predict_proba(h) - np.eye(3)[y]
        steepest = np.abs(error.T @ h / len(y) + decay * head.coef_).max()
        assert max(steepest, np.abs(error.mean(0)).max()) < 1e-3
        # Where a hundredth more or less of decay is another optimum, this one is told from it.
        weight, bias = best_head(h, y, decay)
        assert np.abs(head.coef_ - weight).max() < 0.02 * np.abs(weight).max()
        assert np.abs(np.ptp(head.intercept_ - bias)) < 0.02 * max(np.ptp(bias), 1)


def test_the_rows_are_those_of_a_plain_loop(overlapping):
    train, test = overlapping
    rows = rows_of(passing_on(), overlapping, n=[24, 60], seeds=[0, 1])
    for row in rows.itertuples():
        some = train[choose(train, row.n_train, row.subset_seed)]
        held = np.zeros(len(some), dtype=bool)
        held[positions(some.y, round(0.2 * len(some)), 0).numpy()] = True
        x, y = features_of(some), some.y.numpy()
        shares = []
        for decay in DECAYS:
            head = best_head(scaled(x[~held], x[~held]), y[~held], decay)
            shares.append(right(head, scaled(x[held], x[~held]), y[held]))
        assert row.weight_decay == DECAYS[shares.index(max(shares))]
        head = best_head(scaled(x, x), y, row.weight_decay)
        assert row.train_accuracy == pytest.approx(right(head, scaled(x, x), y), abs=0.05)
        asked = scaled(features_of(test), x)
        assert row.clean_accuracy == pytest.approx(right(head, asked, test.y), abs=0.02)


def test_of_equally_good_decays_the_largest_is_taken_and_classes_apart_are_told_apart():
    rows = rows_of(passing_on(), (clouds(60, 0, 2), clouds(90, 1, 2)), n=[30, 60], seeds=[0, 1])
    assert (rows["weight_decay"] == max(DECAYS)).all()
    assert (rows[["train_accuracy", "clean_accuracy"]] == 1).all(axis=None)


@pytest.mark.parametrize("n", [3, 5])
def test_with_one_image_of_a_class_nothing_is_held_out(n):
    rows = rows_of(passing_on(), (clouds(30, 0, 2), clouds(90, 1, 2)), n=[n])
    assert rows["weight_decay"].tolist() == [DECAYS[len(DECAYS) // 2]]
    assert rows["clean_accuracy"].tolist() == [1]


@pytest.mark.parametrize("classes", [2, 3])
def test_a_class_of_one_image_in_an_uneven_target_is_not_held_out(classes):
    train, test = clouds(60, 0, 2, classes), clouds(60, 1, 2, classes)
    few = (train.y == classes - 1).nonzero().flatten()
    kept = torch.cat([(train.y != classes - 1).nonzero().flatten(), few[:1]])
    rows = rows_of(passing_on(), (train[kept], test), n=[len(kept)])
    assert rows["weight_decay"].tolist() == [DECAYS[len(DECAYS) // 2]]


@pytest.mark.parametrize("factor", [0.01, 1000])
def test_the_scale_of_the_features_changes_nothing(overlapping, factor):
    call = {"target": overlapping, "n": [30, 90], "seeds": [0, 1]}
    one, other = rows_of(passing_on(), **call), rows_of(passing_on(factor), **call)
    shares = ["train_accuracy", "clean_accuracy"]
    assert other[shares].to_numpy() == pytest.approx(one[shares].to_numpy(), abs=0.02)
    assert other["weight_decay"].equals(one["weight_decay"])


def test_the_source_is_left_as_it_was(overlapping):
    source = passing_on().train()
    before = [part.clone() for part in source.state_dict().values()]
    rows_of(source, overlapping, n=[12])
    assert source.training
    assert all(map(torch.equal, before, source.state_dict().values()))


@pytest.mark.parametrize("n", [2, 151])
def test_other_sizes_than_the_target_holds_are_refused(overlapping, n):
    with pytest.raises(ValueError, match=f"n is {n}; allowed are 3, one image a class, to 150"):
        rows_of(passing_on(), overlapping, n=[12, n])
