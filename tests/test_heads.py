"""Heads trained side by side are the heads that would be trained one by one."""

import copy

import pytest
import torch
from torch import nn

from lib.heads import fit_heads
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
        torch.testing.assert_close(together[i].weight, alone.weight, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(together[i].bias, alone.bias, rtol=1e-4, atol=1e-6)
        assert float(fitted[i]) == pytest.approx(history[-1]["accuracy"], abs=1e-6)


def test_steps_written_out_are_those_of_autograd_and_the_optimiser(problem):
    heads, features, y = problem
    heads, features = [head.double() for head in heads], features.double()
    together, _ = fit_heads(heads, features, y, seeds=[5, 6, 7], **SETTINGS)
    for i, seed in enumerate([5, 6, 7]):
        alone = copy.deepcopy(heads[i])
        descend(alone, features[i], y[i], seed=seed, **SETTINGS)
        torch.testing.assert_close(together[i].weight, alone.weight, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(together[i].bias, alone.bias, rtol=1e-12, atol=1e-14)


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
    torch.testing.assert_close(changed[0].weight, together[0].weight)
    assert not torch.equal(changed[1].weight, together[1].weight)


def test_without_a_step_each_head_is_a_copy_of_its_own(problem):
    heads, features, y = problem
    together, _ = fit_heads(
        heads, features, y, seeds=[5, 6, 7], **(SETTINGS | {"epochs": 1, "lr": 0})
    )
    for head, old in zip(together, heads, strict=True):
        assert torch.equal(head.weight, old.weight) and torch.equal(head.bias, old.bias)
    together[0].weight.data.zero_()
    assert heads[0].weight.abs().min() > 0


def test_a_look_after_each_epoch_sees_the_heads_as_they_then_are(problem):
    heads, features, y = problem
    seen = {}

    def watch(epoch, heads):
        seen[epoch] = torch.stack([head.weight for head in heads])

    watched, _ = fit_heads(heads, features, y, seeds=[5, 6, 7], watch=watch, **SETTINGS)
    alone, _ = fit_heads(heads, features, y, seeds=[5, 6, 7], **SETTINGS)
    assert list(seen) == [1, 2, 3, 4, 5]
    for which, head in enumerate(alone):
        assert torch.equal(watched[which].weight, head.weight)
        assert torch.equal(seen[5][which], head.weight)
    # With the rate constant, what is seen on the way is where a shorter run ends.
    constant = SETTINGS | {"schedule": lambda progress: 1.0}
    fit_heads(heads, features, y, seeds=[5, 6, 7], watch=watch, **constant)
    short, _ = fit_heads(heads, features, y, seeds=[5, 6, 7], **(constant | {"epochs": 2}))
    assert torch.equal(seen[2], torch.stack([head.weight for head in short]))
