"""Heads trained side by side are the heads that would be trained one by one."""

import copy
from dataclasses import asdict, replace

import pytest
import torch
from torch import nn

from lib import microcosm, tuning
from lib.freezing import split
from lib.training import NotFinite, descend, pixels, thirds
from lib.tuning import Lessons, Recipe, fit_heads, fit_tails, freeze_below, outputs, tune

RECIPE = Recipe(epochs=5, lr=0.1, batch_size=16, weight_decay=5e-4)
SEEDS = [5, 6, 7]


@pytest.fixture
def problem():
    generator = torch.Generator().manual_seed(0)
    features = torch.rand(3, 40, 8, generator=generator)
    y = torch.randint(0, 4, (3, 40), generator=generator)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return [nn.Sequential(nn.Linear(8, 4)) for _ in range(3)], features, y


def lessons(features, y, recipe, seeds, **how):
    """Lessons in which each tail has features of its own, (S, views · N, d)."""
    members = torch.arange(features[..., 0].numel()).view(features.shape[:2])
    return Lessons(features.flatten(0, 1), members, y, recipe, seeds, **how)


def trained_alone(tail, features, y, seed):
    """What the plain loop makes of a copy of a tail, and its accuracy in the last epoch."""
    alone = copy.deepcopy(tail)
    history = descend(alone, features, y, seed=seed, schedule=thirds, **asdict(RECIPE))
    return alone[-1], history[-1]["accuracy"]


def test_each_head_is_the_one_the_plain_loop_trains(problem):
    tails, features, y = problem
    together = fit_heads(tails, lessons(features, y, RECIPE, SEEDS))
    for i, (((head,), fitted), seed) in enumerate(zip(together, SEEDS, strict=True)):
        alone, expected = trained_alone(tails[i], features[i], y[i], seed)
        torch.testing.assert_close(head.weight, alone.weight, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(head.bias, alone.bias, rtol=1e-4, atol=1e-6)
        assert fitted == pytest.approx(expected, abs=1e-6)


def test_steps_written_out_are_those_of_autograd_and_the_optimiser(problem):
    tails, features, y = problem
    tails, features = [tail.double() for tail in tails], features.double()
    together = fit_heads(tails, lessons(features, y, RECIPE, SEEDS))
    for i, (((head,), _), seed) in enumerate(zip(together, SEEDS, strict=True)):
        alone, _ = trained_alone(tails[i], features[i], y[i], seed)
        torch.testing.assert_close(head.weight, alone.weight, rtol=1e-11, atol=1e-13)
        torch.testing.assert_close(head.bias, alone.bias, rtol=1e-11, atol=1e-13)


def test_the_heads_handed_in_stay_as_they_were(problem):
    tails, features, y = problem
    before = [tail[0].weight.clone() for tail in tails]
    fit_heads(tails, lessons(features, y, RECIPE, SEEDS))
    assert all(torch.equal(tail[0].weight, old) for tail, old in zip(tails, before, strict=True))


def test_a_head_does_not_depend_on_its_neighbours(problem):
    tails, features, y = problem
    together = fit_heads(tails, lessons(features, y, RECIPE, SEEDS))
    other = features.clone()
    other[1:] = other[1:].flip(1)
    changed = fit_heads(tails, lessons(other, y, RECIPE, SEEDS))
    torch.testing.assert_close(changed[0][0][0].weight, together[0][0][0].weight)
    assert not torch.allclose(changed[1][0][0].weight, together[1][0][0].weight)


def test_without_a_step_each_head_is_a_copy_of_its_own(problem):
    tails, features, y = problem
    together = fit_heads(tails, lessons(features, y, replace(RECIPE, epochs=1, lr=0), SEEDS))
    for ((head,), _), (old,) in zip(together, tails, strict=True):
        assert torch.equal(head.weight, old.weight) and torch.equal(head.bias, old.bias)
    together[0][0][0].weight.data.zero_()
    assert tails[0][0].weight.abs().min() > 0


@pytest.mark.parametrize("fit", [fit_heads, fit_tails])
def test_a_look_after_some_epochs_sees_the_tails_as_they_then_are(problem, monkeypatch, fit):
    tails, features, y = problem
    seen = {}

    def evaluate(which, epoch, tail):
        seen[which, epoch] = tail[-1].weight.detach().clone()

    def fitted(recipe=RECIPE, **watched):
        return list(fit(copy.deepcopy(tails), lessons(features, y, recipe, SEEDS, **watched)))

    watched = fitted(evaluate=evaluate, evaluate_at=[2, 5])
    alone = fitted()
    assert sorted(seen) == [(which, epoch) for which in range(3) for epoch in (2, 5)]
    for which, ((head,), _) in enumerate(alone):  # the same call, but for the look
        assert torch.equal(watched[which][0][0].weight, head.weight)
        assert torch.equal(seen[which, 5], head.weight)
    # With the rate constant, what is seen on the way is where a shorter run ends.
    monkeypatch.setattr(tuning, "thirds", lambda progress: 1.0)
    fitted(evaluate=evaluate, evaluate_at=[2])
    for which, ((head,), _) in enumerate(fitted(replace(RECIPE, epochs=2))):
        torch.testing.assert_close(seen[which, 2], head.weight)


def test_views_are_shown_in_turn(problem):
    tails, features, y = problem
    views = torch.cat([features, features.flip(1), features.flip(2)], dim=1)
    together = fit_heads(tails, lessons(views, y, RECIPE, SEEDS, views=3))
    one_by_one = fit_tails(copy.deepcopy(tails), lessons(views, y, RECIPE, SEEDS, views=3))
    first_alone = fit_heads(tails, lessons(features, y, RECIPE, SEEDS))
    for found, expected, other in zip(together, one_by_one, first_alone, strict=True):
        torch.testing.assert_close(found[0][0].weight, expected[0][0].weight, rtol=1e-4, atol=1e-6)
        assert found[1] == pytest.approx(expected[1], abs=1e-6)
        assert not torch.allclose(found[0][0].weight, other[0][0].weight, atol=1e-3)


def test_new_heads_are_pytorchs_own_and_the_tail_stays(natural):
    _, above = split(natural, 0)
    y = torch.arange(12).view(2, 6) % 3
    features, members = torch.rand(12, natural.head.in_features), torch.arange(12).view(2, 6)
    before = natural.head.weight.clone()
    recipe = Recipe(epochs=1, lr=0, batch_size=6)
    tails = tune(above, features, members, y, 3, recipe, seeds=[3, 8])
    for seed, (tail, _) in zip((3, 8), tails, strict=True):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            expected = nn.Linear(natural.head.in_features, 3)
        assert torch.equal(tail[-1].weight, expected.weight)
        assert torch.equal(tail[-1].bias, expected.bias)
    assert torch.equal(natural.head.weight, before)


def test_what_is_frozen_runs_over_images_and_over_batches_alike(natural):
    images = microcosm.draw(300, 4)
    above, (whole, parts) = freeze_below(natural, 1, [images, images.x.split(37)])
    trunk, tail = split(natural, 1)
    with torch.no_grad():
        torch.testing.assert_close(whole, trunk(pixels(images.x)), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(parts, whole, atol=1e-5, rtol=1e-4)
        logits = outputs(above.eval(), [whole])
    torch.testing.assert_close(logits, natural(pixels(images.x)), atol=1e-4, rtol=1e-4)
    assert len(tail) == len(above)


@pytest.mark.parametrize("fit", [fit_heads, fit_tails])
def test_what_diverges_is_refused_with_its_rate(problem, fit):
    tails, features, y = problem
    diverging = lessons(features, y, replace(RECIPE, lr=1e20), SEEDS)
    with pytest.raises(NotFinite, match=r"(not finite|is nan in epoch \d); lower lr, now 1e\+20"):
        list(fit(tails, diverging))


@pytest.mark.parametrize("fit", [fit_heads, fit_tails])
def test_of_several_rates_that_which_diverges_is_named(problem, fit):
    tails, features, y = problem
    rates = [0.1, 1e20, *[0.1] * (len(SEEDS) - 2)]
    with pytest.raises(NotFinite, match=r"lower lr, now 1e\+20"):
        list(fit(tails, lessons(features, y, RECIPE, SEEDS, rates=rates)))
    with pytest.raises(ValueError, match="argument 2 is"):
        list(fit(tails, lessons(features, y, RECIPE, SEEDS, rates=[0.1])))


@pytest.mark.parametrize("fit", [fit_heads, fit_tails])
def test_batches_are_equal_and_of_two_at_least(problem, fit):
    tails, features, y = problem
    recipe = replace(RECIPE, batch_size=2)
    (tail, _), *_ = fit(copy.deepcopy(tails), lessons(features[:, :3], y[:, :3], recipe, SEEDS))
    # Three images are one step, on all of them: as with any larger batch.
    one_step = lessons(features[:, :3], y[:, :3], replace(RECIPE, batch_size=3), SEEDS)
    (expected, _), *_ = fit(copy.deepcopy(tails), one_step)
    torch.testing.assert_close(tail[0].weight, expected[0].weight)
    with pytest.raises(ValueError, match="40 images, batch_size 1; training needs at least 2 of"):
        list(fit(tails, lessons(features, y, replace(RECIPE, batch_size=1), SEEDS)))


@pytest.mark.parametrize("place", ["blocks.1.conv1.weight", "blocks.0.1.running_var", "head.bias"])
def test_a_network_that_is_not_finite_is_refused(natural, place):
    broken = copy.deepcopy(natural)
    damaged = broken.state_dict()[place]
    damaged[(0,) * damaged.ndim] = float("nan")
    for k in (0, 1, -1):
        with pytest.raises(NotFinite, match="the network's outputs or weights are not finite"):
            freeze_below(broken, k, [microcosm.draw(4, 4)])


def test_a_recipe_without_epochs_is_refused():
    with pytest.raises(ValueError, match="epochs is 0; fine-tuning needs at least 1"):
        Recipe(epochs=0)
