"""Each kind shows what it says, is named by one text, and trains as a plain loop would."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms.v2.functional import gaussian_blur

from lib import kinds, microcosm
from lib.attacks import L2, Linf
from lib.constraint import Constraint
from lib.kinds import KINDS, Kind, LowPass, Noise, Until, low_passed
from lib.training import fit, pixels
from lib.zoo import models

X = pixels(microcosm.draw(12, 3).x)


@pytest.fixture(params=KINDS.values(), ids=list(KINDS))
def kind(request):
    return request.param(0.25)


def test_every_kind_is_one_small_class_of_its_own(kind):
    assert type(kind).__mro__[1] is Kind and KINDS[kind.name] is type(kind)
    assert Constraint(kind.name, 0.25).kind == kind and f"{kind}" and kind.letter.isupper()
    # The name and the symbol are text that parse could tell from a number and from each other.
    others = [other for other in KINDS.values() if other is not type(kind)]
    taken = {text for other in others for text in (other.name, other.symbol) if text}
    assert not {kind.name, kind.symbol} & taken and kind.name == kind.name.casefold().strip()


def test_what_is_shown_stays_an_image_and_hangs_on_the_seed_alone(kind):
    before = torch.random.get_rng_state()
    shown = kind.shown(X, 5)
    assert shown.shape == X.shape and shown.dtype == X.dtype
    assert shown.min() >= 0 and shown.max() <= 1
    assert torch.equal(shown, kind.shown(X, 5))
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("amount", [0, -1, math.nan, math.inf])
def test_an_amount_that_is_none_is_refused(kind, amount):
    with pytest.raises(ValueError, match=f"{kind.name} is {float(amount)}; allowed is a number"):
        type(kind)(float(amount))


def test_balls_are_those_of_the_attacks():
    assert KINDS["l2"](0.5).ball == L2(0.5) and KINDS["linf"](0.1).ball == Linf(0.1)
    assert all(KINDS[name](0.5).ball is None for name in ("noise", "low-pass", "natural until"))


def test_noise_is_gaussian_of_its_standard_deviation_and_differs_by_batch():
    grey = torch.full((20, 3, 32, 32), 0.5)
    noise = (Noise(0.1).shown(grey, 0) - grey).flatten()
    assert abs(float(noise.mean())) < 4 * 0.1 / len(noise) ** 0.5
    assert float(noise.std()) == pytest.approx(0.1, rel=0.02)
    within = [float((noise.abs() < k * 0.1).double().mean()) for k in (1, 2, 3)]
    assert within == pytest.approx([0.6827, 0.9545, 0.9973], abs=0.01)
    assert not torch.equal(Noise(0.1).shown(grey, 0), Noise(0.1).shown(grey, 1))
    assert float((Noise(3).shown(grey, 0) == 0).double().mean()) > 0.3  # clamped


def test_low_passed_images_are_a_linear_filter_of_the_images():
    one, two = X[:6], X[6:]
    mixed = LowPass(0.15).shown(0.3 * one + 0.7 * two, 0)
    parts = 0.3 * LowPass(0.15).shown(one, 0) + 0.7 * LowPass(0.15).shown(two, 1)
    torch.testing.assert_close(mixed, parts, atol=1e-6, rtol=0)
    # By hand: a Gaussian of σ pixels halves the amplitude at f if exp(−2 π² σ² f²) = 1/2.
    sigma = (math.log(2) / 2) ** 0.5 / (math.pi * 0.15)
    torch.testing.assert_close(low_passed(X, 0.15), gaussian_blur(X, 11, sigma), atol=1e-6, rtol=0)


def test_a_grating_at_the_cutoff_keeps_half_of_its_amplitude():
    for period, cutoff in ((4, 0.25), (8, 0.125)):
        row = torch.cos(2 * math.pi * torch.arange(64) / period)
        grating = (0.5 + 0.3 * row).expand(1, 3, 64, 64)
        kept = LowPass(cutoff).shown(grating, 0)[:, :, 24:40, 24:40] - 0.5
        assert float(kept.abs().max()) == pytest.approx(0.15, rel=0.02)


@pytest.mark.parametrize("kind", [Noise(0.2), LowPass(0.1)], ids=str)
def test_training_shows_what_the_kind_makes_of_each_batch(world, kind):
    few, seen = world[0][:96], []
    model = models.build("small_resnet", 10, seed=0, width=4)
    model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].clone()))
    fit(model, few, epochs=2, ball=kind, seed=3, batch_size=48)
    generator = torch.Generator().manual_seed(3)
    batches = [b for _ in range(2) for b in torch.randperm(96, generator=generator).split(48)]
    assert len(seen) == len(batches)
    for step, (batch, x) in enumerate(zip(batches, seen, strict=True)):
        assert torch.equal(x, kind.shown(pixels(few.x[batch]), 3 * 1_000_003 + step))


def test_natural_training_that_ends_early_is_its_beginning(world):
    few = world[0][:200]

    def trained(ball):
        model = models.build("small_resnet", 10, seed=0, width=8)
        return model, fit(model, few, epochs=6, ball=ball, seed=1)

    (_, whole), (model, part) = trained(None), trained(Until(0.4))
    reached = [row["accuracy"] >= 0.4 for row in whole]
    assert True in reached[:-1] and len(part) == reached.index(True) + 1
    for row, other in zip(part, whole, strict=False):
        assert row["accuracy"] == other["accuracy"] and row["loss"] == other["loss"]
    assert not model.training
    assert len(trained(Until(1.0))[1]) == len(whole) or whole[-1]["accuracy"] == 1


def test_a_cutoff_that_is_none_is_refused():
    with pytest.raises(ValueError, match="cutoff is 0; allowed is above 0"):
        kinds.low_passed(X, 0)


AMOUNTS = st.floats(1e-6, 1, exclude_min=True)


def names_are_read_back(name, amount, spaces, upper):
    """Read a text and a label as people type them."""
    constraint = Constraint(name, amount)
    assert Constraint.parse(constraint.text) == constraint
    called, _, number = constraint.text.rpartition(" ")
    typed = (called.upper() if upper else called) + " " * spaces + number
    assert Constraint.parse(f" {typed}\t") == constraint
    from_label = Constraint.parse(str(constraint))  # labels round
    assert from_label.name == name and abs(from_label.amount - amount) <= 1e-5 + 0.01 * amount


@given(st.sampled_from(sorted(KINDS)), AMOUNTS, st.integers(1, 3), st.booleans())
@settings(max_examples=50, deadline=None)
def test_what_a_source_is_called_is_read_as_the_same(name, amount, spaces, upper):
    names_are_read_back(name, amount, spaces, upper)


@pytest.mark.long
@given(st.sampled_from(sorted(KINDS)), AMOUNTS, st.integers(1, 3), st.booleans())
@settings(max_examples=2500, deadline=None)
def test_many_that_a_source_is_called_are_read_as_the_same(name, amount, spaces, upper):
    names_are_read_back(name, amount, spaces, upper)
