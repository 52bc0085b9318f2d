"""Heads trained side by side are the heads that would be trained one by one."""

import copy

import pytest
import torch
from torch import nn

from lib.heads import Heads, fit_heads
from lib.training import descend, thirds

SETTINGS = {"epochs": 5, "lr": 0.1, "batch_size": 16, "weight_decay": 5e-4, "schedule": thirds}


@pytest.fixture
def problem():
    generator = torch.Generator().manual_seed(0)
    features = torch.rand(3, 40, 8, generator=generator)
    y = torch.randint(0, 4, (3, 40), generator=generator)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return [nn.Linear(8, 4) for _ in range(3)], features, y


def test_each_head_is_the_one_the_plain_loop_trains(problem):
    heads, features, y = problem
    together, fitted = fit_heads(heads, features, y, seeds=[5, 6, 7], **SETTINGS)
    for i, seed in enumerate([5, 6, 7]):
        alone = copy.deepcopy(heads[i])
        history = descend(alone, features[i], y[i], seed=seed, **SETTINGS)
        torch.testing.assert_close(together.weight[i].T, alone.weight, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(together.bias[i, 0], alone.bias, rtol=1e-4, atol=1e-6)
        assert float(fitted[i]) == pytest.approx(history[-1]["accuracy"], abs=1e-6)


def test_steps_written_out_are_those_of_autograd_and_the_optimiser(problem):
    heads, features, y = problem
    heads, features = [head.double() for head in heads], features.double()
    together, _ = fit_heads(heads, features, y, seeds=[5, 6, 7], **SETTINGS)
    for i, seed in enumerate([5, 6, 7]):
        alone = copy.deepcopy(heads[i])
        descend(alone, features[i], y[i], seed=seed, **SETTINGS)
        torch.testing.assert_close(together.weight[i].T, alone.weight, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(together.bias[i, 0], alone.bias, rtol=1e-12, atol=1e-14)


def test_the_heads_handed_in_stay_as_they_were(problem):
    heads, features, y = problem
    before = [head.weight.clone() for head in heads]
    fit_heads(heads, features, y, seeds=[0, 1, 2], **SETTINGS)
    assert all(torch.equal(head.weight, old) for head, old in zip(heads, before, strict=True))


def test_a_head_does_not_depend_on_its_neighbours(problem):
    heads, features, y = problem
    together, _ = fit_heads(heads, features, y, seeds=[5, 6, 7], **SETTINGS)
    other = features.clone()
    other[1:] = other[1:].flip(1)
    changed, _ = fit_heads(heads, other, y, seeds=[5, 6, 7], **SETTINGS)
    torch.testing.assert_close(changed.weight[0], together.weight[0])
    assert not torch.equal(changed.weight[1], together.weight[1])


def test_features_shared_by_all_heads_give_logits_of_each(problem):
    heads, features, y = problem
    together, _ = fit_heads(heads, features, y, seeds=[5, 6, 7], **SETTINGS)
    logits = together(features[0])
    assert logits.shape == (3, 40, 4)
    torch.testing.assert_close(logits[0], together(features)[0])


def test_apart_are_the_heads_that_were_put_together(problem):
    heads, features, _ = problem
    model = Heads(heads)
    for head, old in zip(model.apart(), heads, strict=True):
        assert torch.equal(head.weight, old.weight) and torch.equal(head.bias, old.bias)
        torch.testing.assert_close(head(features[0]), old(features[0]))
    model.apart()[0].weight.data.zero_()
    assert model.weight[0].abs().min() > 0


def test_a_look_after_each_epoch_sees_the_heads_as_they_then_are(problem):
    heads, features, y = problem
    seen = {}

    def watch(epoch, model):
        seen[epoch] = model.weight.detach().clone()

    watched, _ = fit_heads(heads, features, y, seeds=[5, 6, 7], watch=watch, **SETTINGS)
    alone, _ = fit_heads(heads, features, y, seeds=[5, 6, 7], **SETTINGS)
    assert list(seen) == [1, 2, 3, 4, 5]
    assert torch.equal(watched.weight, alone.weight) and torch.equal(seen[5], alone.weight)
    # With the rate constant, what is seen on the way is where a shorter run ends.
    constant = SETTINGS | {"schedule": lambda progress: 1.0}
    fit_heads(heads, features, y, seeds=[5, 6, 7], watch=watch, **constant)
    short, _ = fit_heads(heads, features, y, seeds=[5, 6, 7], **(constant | {"epochs": 2}))
    assert torch.equal(seen[2], short.weight)
