import copy

import foolbox
import numpy as np
import pytest
import torch
import torchattacks
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy, softplus

from lib import microcosm, robustness, training
from lib.attacks import (
    L2,
    Linf,
    NotFinite,
    cross_entropy_of_each,
    equal_steps,
    evaluating,
    input_gradient,
    long_then_short,
    pgd,
    survives,
    weighted_margin,
)
from lib.datasets import load
from lib.images import subset
from lib.transfer import transfer
from lib.zoo import models

BALLS = [L2(0.3), Linf(6 / 255)]
names = pytest.mark.parametrize("ball", BALLS, ids=["l2", "linf"])


class Linear(nn.Module):
    """Two classes, logits 0 and w · x + b."""

    def __init__(self, shape=(3, 4, 4)):
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.w = nn.Parameter(torch.randn(shape, generator=generator))
        self.b = nn.Parameter(torch.tensor(0.3))

    def forward(self, x):
        margin = (x * self.w).flatten(1).sum(1) + self.b
        return torch.stack([torch.zeros_like(margin), margin], dim=1)


def cloud(n, shape=(3, 4, 4), low=0.3, high=0.7):
    """Pixels between low and high."""
    generator = torch.Generator().manual_seed(2)
    return low + (high - low) * torch.rand(n, *shape, generator=generator)


@pytest.fixture(scope="module")
def batch(world):
    images = world[1][:64]
    return training.pixels(images.x), images.y


def size(delta, ball):
    flat = delta.flatten(1)
    return flat.norm(dim=1) if isinstance(ball, L2) else flat.abs().amax(1)


def right(model, x, y):
    return float((model(x).argmax(1) == y).double().mean())


@pytest.mark.parametrize("random_start", [False, True])
@names
def test_a_linear_model_in_closed_form(ball, random_start):
    model, x, y = Linear(), cloud(40), torch.arange(40) % 2
    away = model.w / model.w.norm() if isinstance(ball, L2) else model.w.sign()
    worst = x + ball.eps * (1 - 2 * y)[:, None, None, None] * away
    assert worst.min() > 0 and worst.max() < 1  # away from the box, this is exact
    found = pgd(model, x, y, ball, steps=60, alpha=ball.eps, random_start=random_start)
    torch.testing.assert_close(found, worst.detach(), atol=1e-5, rtol=0)
    # The loss there: the margin falls by ε times the dual norm of w.
    dual = model.w.norm() if isinstance(ball, L2) else model.w.abs().sum()
    margin = (2 * y - 1) * model(x)[:, 1]
    loss = cross_entropy(model(found), y, reduction="none")
    torch.testing.assert_close(loss, softplus(ball.eps * dual - margin), atol=1e-4, rtol=1e-4)


def test_a_linear_model_in_closed_form_at_the_edge_of_the_box():
    # In ℓ∞ each pixel is for itself: the worst case is clipped to [0, 1], pixel by pixel.
    model, x, y = Linear(), cloud(40, low=0, high=1), torch.arange(40) % 2
    worst = (x + 0.3 * (1 - 2 * y)[:, None, None, None] * model.w.sign()).clamp(0, 1)
    found = pgd(model, x, y, Linf(0.3), steps=10)
    torch.testing.assert_close(found, worst.detach(), atol=1e-6, rtol=0)


def plain(model):
    """The same network in the memory format that torchattacks' ℓ2 attack insists on."""
    return copy.deepcopy(model).to(memory_format=torch.contiguous_format)


def precise(trained, name, batch):
    """A network and a batch in float64, where rounding does not lead two searches apart."""
    return plain(trained[name]).double(), batch[0].double(), batch[1]


def same_but_for_rounding(ours, theirs):
    """Where a gradient is 0 but for the last bits, its sign may differ in a pixel."""
    return ((ours - theirs).abs() > 1e-7).double().mean() < 1e-3


@pytest.mark.parametrize("name", ["natural", "robust"])
@names
def test_torchattacks_finds_the_same(trained, batch, ball, name):
    (model, x, y), alpha = precise(trained, name, batch), ball.eps / 4
    peer = {L2: torchattacks.PGDL2, Linf: torchattacks.PGD}[type(ball)]
    theirs = peer(model, eps=ball.eps, alpha=alpha, steps=10, random_start=False)(x, y)
    ours = pgd(model, x, y, ball, steps=10, alpha=alpha, random_start=False)
    assert same_but_for_rounding(ours, theirs)
    assert cross_entropy(model(ours), y) > cross_entropy(model(x), y)  # there was something to find


@pytest.mark.parametrize("name", ["natural", "robust"])
@names
def test_foolbox_finds_the_same(trained, batch, ball, name):
    (model, x, y), alpha = precise(trained, name, batch), ball.eps / 4
    peer = {L2: foolbox.attacks.L2PGD, Linf: foolbox.attacks.LinfPGD}[type(ball)]
    attack = peer(abs_stepsize=alpha, steps=10, random_start=False)
    theirs, _, _ = attack(foolbox.PyTorchModel(model, bounds=(0, 1)), x, y, epsilons=ball.eps)
    ours = pgd(model, x, y, ball, steps=10, alpha=alpha, random_start=False)
    assert same_but_for_rounding(ours, theirs)


@names
def test_from_random_starts_the_peers_find_as_many(robust, world, ball):
    images = world[1]
    x, y = training.pixels(images.x), images.y
    peer = {L2: torchattacks.PGDL2, Linf: torchattacks.PGD}[type(ball)]
    attack = peer(plain(robust), eps=ball.eps, alpha=ball.eps / 4, steps=10, random_start=True)
    torch.manual_seed(0)  # torchattacks draws from the global generator
    theirs = right(robust, attack(x, y), y)
    ours = right(robust, pgd(robust, x, y, ball, steps=10), y)
    # Over training seeds, what they find differs by 0.3 ± 0.5 points.
    assert abs(ours - theirs) <= 0.02
    # What we report counts an image that is wrong from the start as lost, too: −1.0 ± 0.6 points.
    search = {"steps": 10, "loss": cross_entropy_of_each}
    reported = robustness.robust_accuracy(robust, images, ball, **search)
    assert theirs - 0.04 <= reported <= theirs + 0.015
    # And climbs another loss, which finds more of them.
    assert robustness.robust_accuracy(robust, images, ball, steps=10) <= reported + 0.01


@pytest.mark.parametrize("eps", [0.01, 0.5, 20])
@pytest.mark.parametrize("kind", [L2, Linf])
def test_stays_inside_the_ball_and_the_box(natural, kind, eps):
    x = cloud(16, (3, 32, 32), -0.5, 1.5).clamp(0, 1)  # half of the pixels at the edge
    y, ball = torch.arange(16) % 10, kind(eps)
    for search in ({"steps": 0}, {"steps": 3}, {"steps": 3, "alpha": 5.0}, {"steps": 2}):
        found = pgd(natural, x, y, ball, **search)
        assert found.min() >= 0 and found.max() <= 1
        assert (size(found - x, ball) <= eps * (1 + 1e-5)).all()
    # And the search goes out to the edge of the ball, or of the box.
    assert (size(found - x, ball) > min(0.8 * eps, 0.8 if kind is Linf else 5)).all()


@pytest.mark.parametrize("kind", [L2, Linf])
def test_eps_0_is_the_identity(natural, batch, kind):
    x, y = batch
    for random_start in (False, True):
        found = pgd(natural, x, y, kind(0), steps=3, random_start=random_start)
        assert torch.equal(found, x)


@names
def test_an_image_does_not_depend_on_its_batch_mates(robust, batch, ball):
    # In float64: in float32 the last bits of a convolution depend on the size of the batch.
    model, (x, y) = copy.deepcopy(robust).double(), batch
    x = x.double()
    whole = pgd(model, x, y, ball, steps=5, random_start=False)
    for i in (0, 9):
        alone = pgd(model, x[i : i + 1], y[i : i + 1], ball, steps=5, random_start=False)
        torch.testing.assert_close(alone[0], whole[i], atol=1e-9, rtol=0)
    # With a random start, the same place in the batch and seed, whoever sits beside.
    mates = torch.cat([x[:1], x[20:25]]), torch.cat([y[:1], y[20:25]])
    one = pgd(model, x[:6], y[:6], ball, steps=5, seed=4)
    two = pgd(model, *mates, ball, steps=5, seed=4)
    torch.testing.assert_close(one[0], two[0], atol=1e-9, rtol=0)
    assert not torch.allclose(one[1], two[1], atol=1e-3)


@names
def test_same_seed_same_result(natural, batch, ball):
    x, y = batch
    before = torch.random.get_rng_state()
    one, same, other = (pgd(natural, x, y, ball, steps=2, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert torch.equal(torch.random.get_rng_state(), before)


@names
@pytest.mark.parametrize(
    ("steps", "loss"), [(0, weighted_margin), (1, cross_entropy_of_each), (6, weighted_margin)]
)
def test_what_survives_is_right_at_every_point_of_the_search(exact, batch, ball, steps, loss):
    (x, y), ball = batch, type(ball)(ball.eps / 2)
    alphas = equal_steps(ball.eps, steps)
    expected = torch.ones(len(x), dtype=torch.bool)
    for taken in range(steps + 1):
        x_adv = pgd(exact, x, y, ball, steps=taken, alpha=alphas[:taken], seed=3, loss=loss)
        expected &= exact(x_adv).argmax(1) == y
    found, blind = survives(exact, x, y, ball, alphas, seed=3, loss=loss)
    assert torch.equal(found, expected) and 0 < found.sum() < len(x)
    assert torch.equal(blind, found if steps == 0 else torch.zeros_like(found))


@names
def test_what_is_lost_is_not_followed_further(natural, batch, ball):
    (x, y), ball = batch, type(ball)(ball.eps / 2)
    seen = []
    with_count = natural.register_forward_pre_hook(lambda module, inputs: seen.append(len(*inputs)))
    found, _ = survives(natural, x, y, ball, equal_steps(ball.eps, 8))
    wrong, _ = survives(natural, x, (natural(x).argmax(1) + 1) % 10, Linf(0.0), [0.0] * 8)
    with_count.remove()
    assert seen[0] == len(x) and seen[:9] == sorted(seen[:9], reverse=True)
    assert int(found.sum()) <= seen[8] < len(x)
    assert len(seen) == 11 and not wrong.any()  # always wrong: one look, beside that of the test


def test_the_mode_of_every_module_is_restored(robust, batch):
    model, (x, y) = copy.deepcopy(robust).train(), batch
    model.blocks[1].eval()
    model.blocks[2].bn1.eval()
    modes = [module.training for module in model.modules()]
    assert len(set(modes)) == 2
    seen = []
    model.register_forward_hook(lambda m, *_: seen.append({p.training for p in m.modules()}))
    buffers = [buffer.clone() for buffer in model.buffers()]
    pgd(model, x, y, L2(0.1), steps=2)
    assert [module.training for module in model.modules()] == modes
    assert seen == [{False}] * 2
    assert all(map(torch.equal, buffers, model.buffers()))
    with pytest.raises(RuntimeError, match="no such luck"):
        pgd(Broken(model), x, y, L2(0.1), steps=2)
    with pytest.raises(RuntimeError), evaluating(model):
        raise RuntimeError
    assert [module.training for module in model.modules()] == modes


class Broken(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        raise RuntimeError("no such luck")


def test_the_gradients_of_the_weights_are_left_alone(robust, batch):
    model, (x, y) = copy.deepcopy(robust).requires_grad_(True), batch
    first, *others = model.parameters()
    first.grad = torch.ones_like(first)
    pgd(model, x, y, Linf(0.1), steps=2)
    assert torch.equal(first.grad, torch.ones_like(first))
    assert all(p.grad is None for p in others)
    assert all(p.requires_grad for p in model.parameters())
    assert not x.requires_grad


def test_step_sizes(robust, batch):
    x, y = batch

    def found(**search):
        return pgd(robust, x, y, L2(0.4), random_start=False, **search)

    assert torch.equal(found(steps=4), found(steps=4, alpha=0.25))
    assert torch.equal(found(steps=4), found(steps=4, alpha=equal_steps(0.4, 4)))
    assert torch.equal(found(steps=2, alpha=[0.2, 0.2]), found(steps=2, alpha=0.2))
    # A single step from the image goes exactly as far as its size says.
    inside = cloud(8, (3, 32, 32))
    one = pgd(robust, inside, y[:8], L2(0.4), steps=1, alpha=0.05, random_start=False) - inside
    torch.testing.assert_close(one.flatten(1).norm(dim=1), torch.full((8,), 0.05))
    # Sizes are taken in their order: the second step of none stays where the first led.
    first = pgd(robust, inside, y[:8], L2(0.4), steps=2, alpha=[0.05, 0], random_start=False)
    torch.testing.assert_close(first - inside, one)
    assert torch.equal(found(steps=0), x)


@pytest.mark.parametrize("number", [np.float32, np.float64, torch.tensor, np.array])
def test_numbers_of_any_library_are_sizes(robust, batch, number):
    x, y = batch[0][:8], batch[1][:8]
    plain = pgd(robust, x, y, L2(0.5), steps=2, alpha=0.125)
    for steps in (np.int64(2), torch.tensor(2)):
        for alpha in (number(0.125), [number(0.125)] * 2, [0.125, number(0.125)]):
            found = pgd(robust, x, y, L2(number(0.5)), steps=steps, alpha=alpha)
            assert torch.equal(found, plain)
    assert L2(number(0.5)) == L2(0.5) and repr(Linf(number(0.5))) == "Linf(eps=0.5)"


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_a_network_in_half_precision_is_attacked(robust, world, kind):
    # By a linear one in closed form, then by one that convolves: not every processor has float16.
    model, x, y = Linear().to(kind), cloud(40), torch.arange(40) % 2
    worst = x + 0.1 * (1 - 2 * y)[:, None, None, None] * model.w.float().sign()
    for shown in (x, x.to(kind)):
        found = pgd(model, shown, y, Linf(0.1), steps=8)
        assert found.dtype == shown.dtype
        torch.testing.assert_close(found.float(), worst, atol=1e-6 if shown is x else 2e-2, rtol=0)
    images = world[1][:30]
    half, shares = copy.deepcopy(robust).to(torch.bfloat16), []
    for model in (robust, half):
        shares.append(robustness.robust_accuracy(model, images, L2(0.25), steps=5))
    assert abs(shares[0] - shares[1]) <= 0.1
    assert abs(robustness.accuracy(half, images) - robustness.accuracy(robust, images)) <= 0.1


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_images_in_half_precision_are_rounded_only_at_the_end(kind):
    x, y, how = cloud(40).to(kind), torch.arange(40) % 2, {"steps": 8, "random_start": False}
    found, exact = (pgd(Linear(), shown, y, L2(0.3), **how) for shown in (x, x.float()))
    assert torch.equal(found, exact.to(kind))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_logits_that_are_not_finite_are_refused(robust, world, value):
    model, images = copy.deepcopy(robust), world[1][:8]
    x, y = training.pixels(images.x), images.y
    # Of a class that none of them has: what it is taken for would count as an error found.
    model.head.bias.data[next(k for k in range(10) if k not in y)] = value
    for measure in (
        lambda: pgd(model, x, y, L2(0.1), steps=2),
        lambda: survives(model, x, y, L2(0.1), [0.1]),
        lambda: survives(model, x, y, L2(0.1), []),
        lambda: robustness.accuracy(model, images),
        lambda: robustness.robust_accuracy(model, images, L2(0.1), steps=2),
    ):
        with pytest.raises(NotFinite, match=r"logits.* are not finite; its weights are damaged"):
            measure()


LOGITS = st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=2, max_size=12)


def direction(loss, logits, y):
    logits = logits.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(logits, y).sum(), logits)
    return gradient


def check_weights(numbers, label, exponent):
    """The gradient by the logits: −1 for the own class, the weights of the others."""
    logits, y = torch.tensor([numbers]), torch.tensor([label % len(numbers)])
    found = direction(weighted_margin, logits, y)
    assert found.isfinite().all() and found[0, y] == pytest.approx(-1, abs=1e-5)
    others = found[0, torch.arange(len(numbers)) != y]
    assert others.min() >= 0 and float(others.sum()) == pytest.approx(1, abs=1e-5)
    ahead = logits[0, torch.arange(len(numbers)) != y]
    assert others[ahead.argmax()] == others.max()
    # Powers of two change no digit, however large or small the logits are.
    small = logits.clone().double()
    whole = direction(weighted_margin, small, y)
    assert torch.equal(direction(weighted_margin, small * 2.0**exponent, y), whole)


@given(LOGITS, st.integers(0, 11), st.integers(-200, 200))
@settings(max_examples=60, deadline=None)
def test_the_weights_of_a_margin(numbers, label, exponent):
    check_weights(numbers, label, exponent)


@pytest.mark.long
@given(LOGITS, st.integers(0, 11), st.integers(-200, 200))
@settings(max_examples=3000, deadline=None)
def test_the_weights_of_a_margin_of_many(numbers, label, exponent):
    check_weights(numbers, label, exponent)


def test_a_weighted_margin_points_as_cross_entropy_of_logits_whose_lead_is_3():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(200, 6, generator=generator, dtype=torch.float64)
    y = torch.randint(6, (200,), generator=generator)
    own = logits.gather(1, y[:, None])
    rest = logits.masked_fill(nn.functional.one_hot(y, 6).bool(), -torch.inf)
    scaled = logits * 3 / (rest.amax(1, keepdim=True) - own).abs()
    expected = direction(cross_entropy_of_each, scaled, y)
    expected = expected / -expected.gather(1, y[:, None])  # −1 for the own class
    torch.testing.assert_close(direction(weighted_margin, logits, y), expected)


class Scaled(nn.Module):
    """A network whose logits are so many times as large."""

    def __init__(self, inner, times):
        super().__init__()
        self.inner, self.times = inner, times

    def forward(self, x):
        return self.inner(x) * self.times


@names
def test_the_scale_of_the_logits_does_not_count(natural, robust, world, ball):
    images, search = world[1][:60], {"ball": type(ball)(ball.eps / 2), "steps": 5}
    for network in (natural, robust):
        shares = [
            robustness.robust_accuracy(Scaled(network, times), images, **search)
            for times in (1, 10, 100, 1e4, 1e-3)
        ]
        assert np.ptp(shares) <= 0.04  # two searches may differ by rounding
        # Where the gradient of cross-entropy vanishes, nothing is found, and that is said.
        search["loss"] = cross_entropy_of_each
        with pytest.warns(RuntimeWarning, match="gradient there is exactly 0"):
            blind = robustness.robust_accuracy(Scaled(network, 1e4), images, **search)
        assert blind > max(shares) + 0.05
        del search["loss"]


class Rounding(nn.Module):
    """A network that rounds its input to some levels: its gradient is 0 wherever it is defined."""

    def __init__(self, inner, levels):
        super().__init__()
        self.inner, self.levels = inner, levels

    def forward(self, x):
        return self.inner((x * self.levels).round() / self.levels)


def test_where_gradients_vanish_it_is_said(natural, world, recwarn):
    images = world[1][:40]
    right = round(40 * robustness.accuracy(natural, images))
    robustness.robust_accuracy(natural, images, L2(0.2), steps=3)
    for model in (Rounding(natural, 255), nn.Sequential(natural, nn.ReLU(), nn.Threshold(1e9, 0))):
        # Without steps, or in a ball without room, nothing was to be tried.
        robustness.robust_accuracy(model, images, L2(0.2), steps=0)
        robustness.robust_accuracy(model, images, L2(0), steps=3)
    assert not recwarn.list
    said = rf"{right} of 40 images count as right .* gradient there is exactly 0.* round or mask"
    with pytest.warns(RuntimeWarning, match=said):
        robustness.robust_accuracy(Rounding(natural, 255), images, L2(0.001), steps=3, restarts=2)


def test_long_then_short():
    sizes = long_then_short(0.5, 20)
    assert len(sizes) == 20 and sizes[0] == 0.5 and 0 < sizes[-1] < 0.01
    assert sizes == sorted(sizes, reverse=True)
    # The path grows with the number of steps; that of equal steps does not.
    assert sum(long_then_short(0.5, 200)) > 9 * sum(sizes)
    assert sum(equal_steps(0.5, 20)) == pytest.approx(1.25) == sum(equal_steps(0.5, 200))
    assert long_then_short(0.5, 0) == equal_steps(0.5, 0) == []


def test_the_gradient_is_that_of_each_image_alone(natural, batch):
    model, (x, y) = copy.deepcopy(natural).double(), batch
    whole = input_gradient(model, x.double(), y)
    for i in (0, 5):
        image = x[i : i + 1].double().requires_grad_()
        cross_entropy(model(image), y[i : i + 1]).backward()
        torch.testing.assert_close(whole[i], image.grad[0])


def test_no_images_at_all(natural):
    x, y = torch.zeros(0, 3, 32, 32), torch.zeros(0).long()
    assert pgd(natural, x, y, L2(0.1), steps=2).shape == (0, 3, 32, 32)


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ({"steps": -1}, "steps is -1"),
        ({"steps": 2, "alpha": -0.1}, "alpha -0.1"),
        ({"steps": 2, "alpha": [0.1, -0.2]}, "alpha -0.2"),
        ({"steps": 2, "alpha": [0.1]}, "alpha holds 1 step sizes for 2 steps"),
        ({"steps": 2, "alpha": float("nan")}, "alpha nan is no size of a step"),
        ({"steps": 2, "alpha": "long"}, "alpha is 'long'; give a step size in pixels"),
        ({"steps": 2.5}, "steps is 2.5; allowed are whole numbers of 0 and more"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(natural, batch, search, said):
    with pytest.raises(ValueError, match=said):
        pgd(natural, *batch, L2(0.1), **search)


@pytest.mark.parametrize("x", [torch.tensor(1.2), torch.tensor(-0.1), torch.tensor(float("nan"))])
def test_pixels_outside_the_box_are_refused(natural, x):
    image = torch.full((1, 3, 32, 32), 0.5)
    image[0, 0, 0, 0] = x
    with pytest.raises(ValueError, match=r"pixels run from .* expected them in \[0, 1\]"):
        pgd(natural, image, torch.tensor([0]), L2(0.1), steps=1)


def source(eps, seed, **more):
    """A robust source as the chapters train it; half a minute."""
    model, how = models.build("small_resnet", 10, seed=seed), {"epochs": 6, "seed": seed, **more}
    training.fit(model, microcosm.draw(2500, 0), ball=L2(eps), **how)
    return model.requires_grad_(False)


def barely_trained(model, seed):
    """The source with a new head for digits, trained on eight images a class."""
    kept = []
    measures = {"kept": lambda network: kept.append(network) or 0.0}
    splits = load("digits"), load("digits", "test")
    transfer(model, splits, n=80, epochs=30, seeds=[1000 * seed], measures=measures)
    return kept[0].requires_grad_(False), splits[1]


def test_on_a_barely_trained_head_a_peer_finds_hardly_more(robust):
    model, images = barely_trained(robust, 0)
    images = subset(images, 80, seed=0)
    x, y = training.pixels(images.x), images.y
    attack = foolbox.attacks.L2DeepFoolAttack(steps=30)
    _, _, fooled = attack(foolbox.PyTorchModel(model, bounds=(0, 1)), x, y, epsilons=0.25)
    theirs = float((~fooled).double().mean())
    ours, weakly = (
        robustness.robust_accuracy(model, images, L2(0.25), steps=10, loss=loss)
        for loss in (weighted_margin, cross_entropy_of_each)
    )
    # Over seeds of the source: ours as DeepFool's, cross-entropy 0 to 4 points more.
    assert ours <= theirs + 0.03 and ours <= weakly + 0.02


def strong(model, images, norm, eps):
    """The share that is right after AutoAttack, as torchattacks has it."""
    attack = torchattacks.AutoAttack(plain(model), norm=norm, eps=eps, n_classes=10, seed=0)
    return right(model, attack(training.pixels(images.x), images.y), images.y)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("ball", [L2(0.25), Linf(2 / 255)], ids=["l2", "linf"])
def test_autoattack_finds_hardly_more(ball):
    # Four minutes each on one core. First measured: ours 75.8, AutoAttack 75.4 in the ℓ2 ball, 74.2
    # and 74.2 in the other.
    model, images = source(0.25, 0, attack_steps=2), microcosm.draw(256, 1)
    ours = robustness.robust_accuracy(model, images, ball, steps=50, restarts=2)
    norm = "L2" if isinstance(ball, L2) else "Linf"
    theirs = strong(model, images, norm, ball.eps)
    print(f"{norm}: ours {ours:.3f}, AutoAttack {theirs:.3f}")
    # Searches of like strength differ by 0.6 points over training seeds, on so many images.
    assert abs(ours - theirs) <= 0.03
    assert 0.5 < theirs < robustness.accuracy(model, images) - 0.05


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [0, 1])
def test_autoattack_finds_hardly_more_on_a_barely_trained_head(seed):
    # First measured, seed 1: ours 20.0, by cross-entropy 25.0, AutoAttack 20.0.
    model, images = barely_trained(source(0.5, seed, attack_steps=1), seed)
    images = subset(images, 200, seed=0)
    found = {
        loss: robustness.robust_accuracy(model, images, L2(0.5), steps=10, loss=loss)
        for loss in (weighted_margin, cross_entropy_of_each)
    }
    theirs = strong(model, images, "L2", 0.5)
    print({loss.__name__: share for loss, share in found.items()}, f"AutoAttack {theirs:.3f}")
    assert found[weighted_margin] <= theirs + 0.03
    assert found[cross_entropy_of_each] >= found[weighted_margin]
    assert theirs > 0.05
