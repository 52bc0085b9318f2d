"""Heads at their optimum against other optimisers, and influence against retraining them."""

import pytest
import torch
from scipy.stats import spearmanr
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from torch.nn.functional import cross_entropy

from lib.influence import head_influence, self_influence
from lib.studies.retraining import fit_to_optimum, leave_one_out, probabilities

DECAY = 0.005


@pytest.fixture(scope="module")
def digits():
    """Few enough images to retrain without each: features (80, 16), labels of 5 classes."""
    x, y = load_digits(n_class=5, return_X_y=True)
    pooled = torch.tensor(x / 16).view(-1, 4, 2, 4, 2).mean((2, 4)).flatten(1)
    return (pooled[:80], torch.tensor(y[:80])), (pooled[80:140], torch.tensor(y[80:140]))


def objective(weights, features, y):
    logits = features @ weights[:, :-1].T + weights[:, -1]
    return cross_entropy(logits, y) + DECAY / 2 * weights.square().sum()


def test_the_optimum_is_that_of_scikit_learn(digits):
    (features, y), _ = digits
    weights = fit_to_optimum(features, y, 5, weight_decay=DECAY)
    with_bias = torch.cat([features, torch.ones(len(y), 1)], 1).numpy()
    theirs = LogisticRegression(
        C=1 / (DECAY * len(y)), fit_intercept=False, tol=1e-10, max_iter=10_000
    ).fit(with_bias, y.numpy())
    torch.testing.assert_close(weights, torch.tensor(theirs.coef_), atol=1e-5, rtol=1e-4)
    found = torch.tensor(theirs.predict_proba(with_bias))
    torch.testing.assert_close(probabilities(features, weights), found, atol=1e-6, rtol=1e-4)


def test_the_gradient_is_zero_and_any_other_head_is_worse(digits):
    (features, y), _ = digits
    weights = fit_to_optimum(features, y, 5, weight_decay=DECAY).requires_grad_()
    value = objective(weights, features, y)
    value.backward()
    assert weights.grad.abs().max() < 1e-9
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        other = weights + 0.01 * torch.randn(weights.shape, generator=generator)
        assert objective(other, features, y) > value


def test_it_arrives_from_afar():
    """Features of large size make whole Newton steps overshoot."""
    features = 300 * torch.randn(30, 4, generator=torch.Generator().manual_seed(0)).double()
    y = torch.arange(30) % 3
    weights = fit_to_optimum(features, y, 3, weight_decay=DECAY).requires_grad_()
    objective(weights, features, y).backward()
    assert weights.grad.abs().max() < 1e-9


def test_leaving_out_is_training_without(digits):
    train, test = digits
    found = leave_one_out(train, test, [3, 40], classes=5, weight_decay=DECAY)
    features, y = train
    losses = []
    for others in (range(80), [i for i in range(80) if i != 3], [i for i in range(80) if i != 40]):
        kept = list(others)
        # The sum is divided by all 80: a mean over 79 asks for a decay larger by 80/79.
        decay = DECAY * 80 / len(kept)
        weights = fit_to_optimum(features[kept], y[kept], 5, weight_decay=decay)
        losses.append(-probabilities(test[0], weights).log()[range(60), test[1]])
    expected = torch.stack([losses[1] - losses[0], losses[2] - losses[0]], 1)
    torch.testing.assert_close(found, expected, atol=1e-7, rtol=1e-5)


def test_influence_predicts_retraining(digits):
    (features, y), (test_features, test_y) = digits
    actual = leave_one_out(*digits, range(80), classes=5, weight_decay=DECAY)
    weights = fit_to_optimum(features, y, 5, weight_decay=DECAY)
    train = features, probabilities(features, weights), y
    test = test_features, probabilities(test_features, weights), test_y
    predicted = head_influence(*train, *test, damping=DECAY) / len(y)
    assert spearmanr(predicted.flatten(), actual.flatten())[0] > 0.95
    assert min(spearmanr(p, a)[0] for p, a in zip(predicted, actual, strict=True)) > 0.9
    # In size too, as far as a first order reaches.
    slope = (predicted * actual).sum() / predicted.square().sum()
    assert 0.9 < slope < 1.6
    # Another damping is another question, and predicts worse.
    other = head_influence(*train, *test, damping=100 * DECAY)
    assert spearmanr(other.flatten(), actual.flatten())[0] < 0.9


def test_self_influence_predicts_retraining(digits):
    train, _ = digits
    actual = leave_one_out(train, train, range(80), classes=5, weight_decay=DECAY).diagonal()
    weights = fit_to_optimum(*train, 5, weight_decay=DECAY)
    predicted = self_influence(train[0], probabilities(train[0], weights), train[1], damping=DECAY)
    assert spearmanr(predicted, actual)[0] > 0.95


def test_a_head_without_a_unique_optimum(digits):
    (features, y), _ = digits
    with pytest.raises(ValueError, match="weight_decay is 0; above 0 the optimum is unique"):
        fit_to_optimum(features, y, 5, weight_decay=0)
