import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from lib import features
from lib.attacks import L2, Linf, input_gradient
from lib.zoo import models


class Linear(nn.Module):
    """Features that are linear in the pixels, and a head on them."""

    def __init__(self, d=5, classes=4, size=4, offset=0.0):
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.weight = nn.Parameter(
            torch.randn(d, 3 * size * size, generator=generator, dtype=torch.double)
        )
        self.offset = offset
        self.head = nn.Linear(d, classes).double()

    def features(self, x):
        return x.flatten(1) @ self.weight.T + self.offset

    def forward(self, x):
        return self.head(self.features(x))


def cloud(n, size=4, seed=0, low=0.3, high=0.7):
    generator = torch.Generator().manual_seed(seed)
    return low + (high - low) * torch.rand(n, 3, size, size, generator=generator).double()


def labels(n, classes=4):
    return torch.arange(n) % classes


def network(**build):
    """A network whose BatchNorm has seen images."""
    model = models.build("small_resnet", 4, seed=1, width=4, **build).double()
    model(torch.rand(16, 3, 16, 16, generator=torch.Generator().manual_seed(1)).double())
    return model


def each_search(model, x):
    """Every way to search, from the same start."""
    target = features.vectors(model, cloud(len(x), x.shape[-1], seed=9))
    y = labels(len(x))
    return {
        "match": lambda x, part, **how: features.match(model, x, target[part], **how),
        "maximise": lambda x, part, **how: features.maximise(model, x, y[part], **how),
        "synthesise": lambda x, part, **how: features.synthesise(model, x, y[part], **how),
    }


SEARCHES = ("match", "maximise", "synthesise")


def test_linear_features_are_inverted_by_the_nearest_image_that_has_them():
    model, x = Linear(), cloud(6)
    # A target that images inside [0, 1] have: a small change of the start.
    goal = x + 0.05 * (cloud(6, seed=5) - 0.5)
    target = features.vectors(model, goal)
    *_, found = features.match(model, x, target, steps=800, size=0.05).values()
    assert float(features.distance(features.vectors(model, found), target).max()) < 1e-3
    # Gradients stay in the rows' span, so the limit is the start plus the least-norm change.
    least = (target - features.vectors(model, x)) @ torch.linalg.pinv(model.weight).T
    assert torch.allclose((found - x).flatten(1), least, atol=2e-3)


@pytest.mark.parametrize("radius", [0.02, 0.3])
def test_a_linear_feature_is_largest_at_the_end_of_its_own_direction(radius):
    model, x, unit = Linear(), cloud(5), labels(5)
    found = features.maximise(model, x, unit, steps=20, size=0.2, ball=L2(radius))[20]
    direction = model.weight[unit] / model.weight[unit].norm(dim=1, keepdim=True)
    assert torch.allclose((found - x).flatten(1), radius * direction, atol=1e-9)


def test_without_a_ball_a_linear_feature_is_largest_in_a_corner():
    model, x = Linear(), cloud(3)
    found = features.maximise(model, x, labels(3), steps=200, size=50.0)[200]
    assert torch.allclose(found.flatten(1), (model.weight[labels(3)] > 0).double(), atol=1e-6)


def test_synthesis_is_a_plain_loop():
    model, x, y = network().eval(), cloud(3, 16), labels(3)
    expected = x.clone()
    for length in features.long_then_short(0.3, 4):
        expected.requires_grad_()
        (gradient,) = torch.autograd.grad(cross_entropy(model(expected), y), expected)
        rows = []
        for image, g in zip(expected.detach(), gradient, strict=True):
            rows.append((image - length * g / (g**2).sum().sqrt()).clamp(0, 1))
        expected = torch.stack(rows)
    found = features.synthesise(model, x, y, steps=4, size=0.3)[4]
    assert torch.allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize("name", SEARCHES)
def test_the_search_finds_what_it_looks_for(name, natural, world):
    x = features.noise(6, 32, seed=0)
    target = features.vectors(natural, world[1].x[:6] / 255.0)
    unit = features.vectors(natural, x).argsort(1)[:, -1]  # one that is not 0 all around
    y = natural(x).argmin(1)

    def score(x):
        have = features.vectors(natural, x)
        if name == "match":
            return -features.distance(have, target)
        if name == "maximise":
            return have[torch.arange(6), unit]
        return natural(x).log_softmax(1)[torch.arange(6), y]

    search = {
        "match": lambda **how: features.match(natural, x, target, **how),
        "maximise": lambda **how: features.maximise(natural, x, unit, **how),
        "synthesise": lambda **how: features.synthesise(natural, x, y, **how),
    }[name]
    scores = torch.stack([score(x) for x in search(steps=30, keep=(0, 10)).values()])
    start, middle, end = scores
    assert bool((end > start + 0.05).all())
    # Once a search has arrived, what is left is rounding: a probability of 1 cannot grow.
    assert bool((end > middle - 0.01).all())


@pytest.mark.parametrize("name", SEARCHES)
def test_an_image_does_not_depend_on_the_others(name):
    model, x = network(), cloud(5, 16)
    search = each_search(model, x)[name]
    every = search(x, slice(None), steps=5)[5]
    alone = search(x[2:3], slice(2, 3), steps=5)[5]
    assert torch.allclose(every[2:3], alone, atol=1e-9)
    assert not torch.allclose(every[2:3], x[2:3], atol=1e-3)


@pytest.mark.parametrize("name", SEARCHES)
def test_more_images_than_the_network_takes_at_once(name, monkeypatch):
    model, x = network(), cloud(5, 16)
    search = each_search(model, x)[name]
    whole = search(x, slice(None), steps=3, keep=(1,))
    monkeypatch.setattr(features, "LARGE", 2)
    parts = search(x, slice(None), steps=3, keep=(1,))
    assert all(torch.allclose(whole[step], parts[step], atol=1e-9) for step in (1, 3))


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("ball", [None, L2(0.4), Linf(0.03)], ids=["none", "l2", "linf"])
def test_pixels_stay_inside_the_ball_and_in_0_to_1(name, ball):
    model, x = network(), cloud(4, 16, low=0.0, high=1.0)
    for found in each_search(model, x)[name](
        x, slice(None), steps=6, size=3.0, ball=ball, keep=(0, 1, 2)
    ).values():
        assert float(found.min()) >= 0 and float(found.max()) <= 1
        if ball is not None:
            delta = found - x
            size = delta.flatten(1).norm(dim=1) if isinstance(ball, L2) else delta.abs()
            assert float(size.max()) <= ball.eps + 1e-9


@pytest.mark.parametrize("name", SEARCHES)
def test_snapshots(name):
    model, x = network(), cloud(3, 16)
    before = x.clone()
    search = each_search(model, x)[name]
    found = search(x, slice(None), steps=6, keep=(3, 0))
    assert list(found) == [0, 3, 6]
    assert torch.equal(found[0], x) and torch.equal(x, before)
    # A snapshot is where the search is after so many of its steps, not a shorter search.
    assert torch.equal(found[6], search(x, slice(None), steps=6)[6])
    assert list(search(x, slice(None), steps=0)) == [0]
    steps = (found[6] - found[3]).flatten(1).norm(dim=1)
    assert float(steps.max()) <= sum(features.long_then_short(1.0, 6)[3:]) + 1e-9


def test_the_model_is_used_in_eval_mode_and_left_as_it_is():
    model = network()
    model.train()
    model.blocks[1].eval()
    modes = [module.training for module in model.modules()]
    state = copy.deepcopy(model.state_dict())
    x, seen = cloud(3, 16), []
    model.blocks[0][1].register_forward_hook(lambda module, *_: seen.append(module.training))
    for search in each_search(model, x).values():
        search(x, slice(None), steps=2)
    features.saliency(model, x, labels(3))
    features.interpolate(model, x, x.flip(0), shares=[0.5], steps=2)
    assert seen and not any(seen)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


def test_interpolation_between_linear_features_is_a_line():
    model, x = Linear(offset=30.0), cloud(3)
    other = x + 0.05 * (cloud(3, seed=5) - 0.5)
    shares = (0.0, 0.5, 1.0)
    found = features.interpolate(model, x, other, shares=shares, steps=800, size=0.05)
    assert found.shape == (3, 3, 3, 4, 4)
    # At the start the gradient is that of rounding alone, so the search may leave it by its steps.
    assert torch.allclose(found[0], x, atol=2e-3)
    a, b = features.vectors(model, x), features.vectors(model, other)
    for t, images in zip(shares, found, strict=True):
        expected = (1 - t) * a + t * b
        assert float((features.vectors(model, images) - expected).abs().max()) < 2e-3
    # The last is what `match` finds by itself.
    alone = features.match(model, x, b, steps=800, size=0.05)[800]
    assert torch.allclose(found[2], alone, atol=2e-3)


def test_saliency_is_the_energy_of_each_images_own_gradient():
    model, x, y = network(), cloud(4, 16), labels(4)
    found = features.saliency(model, x, y)
    assert found.shape == (4, 16, 16)
    assert torch.allclose(found.sum((1, 2)), torch.ones(4).double())
    for i in range(4):
        gradient = input_gradient(model.eval(), x[i : i + 1], y[i : i + 1])[0]
        expected = (gradient**2).sum(0) / (gradient**2).sum()
        assert torch.allclose(found[i], expected, atol=1e-9)


def test_saliency_of_a_linear_network_is_its_weights():
    model, x = Linear(classes=2), cloud(2)
    w = (model.head.weight[0] - model.head.weight[1]) @ model.weight
    w = w.unflatten(0, (3, 4, 4))
    expected = ((w**2).sum(0) / (w**2).sum()).expand(2, 4, 4)
    assert torch.allclose(features.saliency(model, x, torch.tensor([0, 1])), expected)


def test_no_gradient_gives_a_map_of_zeros_and_leaves_the_image():
    model, x = Linear(), cloud(2)
    nn.init.zeros_(model.weight)
    assert not features.saliency(model, x, labels(2)).any()
    assert torch.equal(features.maximise(model, x, labels(2), steps=3)[3], x)


def test_distance():
    target = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    found = torch.tensor([[3.0, 3.0], [0.3, 0.4]])
    assert features.distance(found, target).tolist() == pytest.approx([0.2, 0.5])


def test_noise():
    x = features.noise(40, 32, seed=1)
    assert x.shape == (40, 3, 32, 32) and x.dtype == torch.float32
    assert float(x.mean()) == pytest.approx(0.5, abs=0.002)
    assert float(x.std()) == pytest.approx(0.1, abs=0.002)
    assert torch.equal(features.noise(7, 32, seed=1), x[:7])
    assert not torch.equal(features.noise(7, 32, seed=2), x[:7])
    wide = features.noise(4, 32, seed=1, spread=2.0)
    assert float(wide.min()) == 0 and float(wide.max()) == 1
    assert bool((features.noise(1, 8, seed=0, spread=0) == 0.5).all())


X = cloud(3, 16)
BAD = {
    "steps": (lambda m: features.maximise(m, X, labels(3), steps=-1), "steps is -1"),
    "size": (lambda m: features.synthesise(m, X, labels(3), size=0), "size 0"),
    "keep": (lambda m: features.synthesise(m, X, labels(3), steps=5, keep=(2, 6)), "step 6"),
    "pixels": (lambda m: features.maximise(m, X + 0.5, labels(3)), r"0\.8.* to 1\.[12]"),
    "no images": (lambda m: features.maximise(m, X[:0], labels(0)), "no images"),
    "unit": (lambda m: features.maximise(m, X, [0, 1, 16]), "0 to 15"),
    "units": (lambda m: features.maximise(m, X, [0, 1]), "3 indices"),
    "class": (lambda m: features.synthesise(m, X, [0, 1, 4]), "0 to 3"),
    "label": (lambda m: features.saliency(m, X, [0, -1, 2]), "y runs from -1"),
    "target": (lambda m: features.match(m, X, torch.zeros(3, 7)), r"\(3, 7\).*\(3, 16\)"),
    "shares": (lambda m: features.interpolate(m, X, X, shares=(0.5, 1.5)), "0 to 1"),
    "no shares": (lambda m: features.interpolate(m, X, X, shares=()), "one or more"),
    "pairs": (lambda m: features.interpolate(m, X, X[:2], shares=[0.5]), "expected the same"),
    "spread": (lambda m: features.noise(2, 32, 0, spread=-1), "spread -1"),
    "none": (lambda m: features.noise(0, 32, 0), "n is 0"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_is_one_line(kind):
    call, said = BAD[kind]
    with pytest.raises(ValueError, match=said) as error:
        call(network())
    assert "\n" not in str(error.value)
