import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from lib import robustness, training
from lib.attacks import L2, Linf, equal_steps
from lib.images import Images


class Linear(nn.Module):
    """Two classes; how far each image is from the other is known."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.w = nn.Parameter(torch.randn(3, 8, 8, generator=generator))

    def margin(self, x):
        return ((x - 0.5) * self.w).flatten(1).sum(1)

    def forward(self, x):
        margin = self.margin(x)
        return torch.stack([-margin, margin], dim=1)


@pytest.fixture
def linear():
    """The model, images away from the edge of the box, and each one's distance (< 0: wrong)."""
    model = Linear()
    generator = torch.Generator().manual_seed(2)
    x = torch.randint(90, 165, (120, 3, 8, 8), generator=generator).byte()
    margin = model.margin(x / 255).detach()
    y = (margin > 0).long()
    y[:15] = 1 - y[:15]
    signed = margin * (2 * y - 1)
    return model, Images(x, y, ("a", "b")), signed / model.w.detach().norm()


def test_a_curve_in_closed_form(linear):
    model, images, distance = linear
    radii = [float(distance.quantile(q)) for q in (0.8, 0.3, 0.55)]
    rows = robustness.curve(model, images, "l2", [0, *radii], steps=20)
    assert [row["attack_eps"] for row in rows] == sorted([0, *radii])
    for row in rows:
        expected = float((distance > row["attack_eps"]).double().mean())
        assert row["accuracy"] == pytest.approx(expected, abs=0.01)
        assert set(row) == {"attack", "attack_eps", "accuracy"} and row["attack"] == "l2"
    assert rows[0]["accuracy"] == training.accuracy(model, images) == 0.875  # 105 of 120


@pytest.mark.parametrize(("norm", "ball"), [("l2", L2), ("linf", Linf)])
def test_a_curve_by_a_plain_loop(exact, world, norm, ball):
    images, radii = world[1][:80], [0.0, 0.005, 0.01, 0.02, 8.0]
    rows = robustness.curve(exact, images, norm, radii[::-1], steps=3, restarts=2, seed=1)
    found = [row["accuracy"] for row in rows]
    kept = torch.ones(80, dtype=torch.bool)
    for eps, share in zip(radii, found, strict=True):
        places = kept.nonzero().flatten()
        kept[places] = training.withstands(
            exact, images[places], ball(eps), steps=3, restarts=2, seed=1
        )
        assert share == int(kept.sum()) / 80
    assert found == sorted(found, reverse=True) and found[-1] == 0
    assert rows[0]["accuracy"] == pytest.approx(training.accuracy(exact, images))


def test_a_curve_goes_on_where_nothing_is_left(natural, world):
    images = world[1][:20]
    wrong = Images(images.x, (training.predict(natural, images) + 1) % 10, images.classes)
    rows = robustness.curve(natural, wrong, "l2", [0.0, 0.1], steps=2)
    assert [row["accuracy"] for row in rows] == [0, 0]


def test_effort(exact, world):
    images, ball = world[1][:60], L2(0.2)
    searches = [(0, 1), (2, 1), (2, 3), (10, 1)]
    rows = robustness.effort(exact, images, ball, searches, step_sizes=equal_steps, seed=5)
    assert [(row["steps"], row["restarts"]) for row in rows] == searches
    assert {row["step_sizes"] for row in rows} == {"equal_steps"}
    for row in rows:
        alone = training.withstands(
            exact, images, ball, steps=row["steps"], restarts=row["restarts"],
            step_sizes=equal_steps, seed=5,
        )  # fmt: skip
        assert row["accuracy"] == pytest.approx(float(alone.double().mean()))
    assert rows[2]["accuracy"] <= rows[1]["accuracy"] <= rows[0]["accuracy"]


def test_examples(natural, robust, world):
    images, ball = world[1][:30], L2(0.3)
    models = {"natural": natural, "robust": robust}
    found = robustness.examples(models, images, ball, steps=5)
    assert list(found) == list(models)
    for name, model in models.items():
        check_examples(model, images, ball, *found[name])


def check_examples(model, images, ball, x_adv, predicted):
    delta = x_adv - images.x / 255
    assert (delta.flatten(1).norm(dim=1) <= 0.3 * (1 + 1e-5)).all()
    assert x_adv.min() >= 0 and x_adv.max() <= 1 and not x_adv.requires_grad
    with torch.no_grad():
        assert torch.equal(predicted, model(x_adv).argmax(1))
    # One network's pictures do not depend on the others'.
    again = robustness.examples({"it": model}, images, ball, steps=5)["it"]
    assert torch.equal(again[0], x_adv)
    x = images.x / 255
    assert cross_entropy(model(x_adv), images.y) > cross_entropy(model(x), images.y)


def test_independent_attacks_in_closed_form(linear):
    model, images, distance = linear
    model.train()
    eps = float(distance.quantile(0.5))
    rows = robustness.independent(model, images, L2(eps), steps=50)
    assert [row["attack"] for row in rows] == [
        "DDN", "DeepFool", "Carlini–Wagner", "worst of the three",
    ]  # fmt: skip
    expected = float((distance > eps).double().mean())
    # Each search stops a little beyond the boundary, so it may spare an image near ε. Carlini and
    # Wagner's takes steps of a fixed size, far too long for images of 8 × 8 pixels.
    for row, spared in zip(rows, (0.04, 0.04, 0.2, 0.04), strict=True):
        assert expected - 0.01 <= row["accuracy"] <= expected + spared, row
    shares = [row["accuracy"] for row in rows]
    assert shares[-1] <= min(shares) and model.training


def test_independent_attacks_agree_with_ours(robust, world):
    images = world[1][:60]
    rows = robustness.independent(robust, images, L2(0.3), steps=20)
    ours = training.robust_accuracy(robust, images, L2(0.3), steps=20, restarts=2)
    # On 60 images, over training seeds of the network: −2 ± 3.5 points.
    assert -0.13 <= rows[-1]["accuracy"] - ours <= 0.09


def test_independent_attacks_where_nothing_is_left(natural, world):
    images = world[1][:20]
    wrong = Images(images.x, (training.predict(natural, images) + 1) % 10, images.classes)
    rows = robustness.independent(natural, wrong, L2(0.1), steps=2)
    assert [row["accuracy"] for row in rows] == [0] * 4


def test_independent_attacks_know_one_norm_only(natural, world):
    with pytest.raises(ValueError, match=r"the ball is Linf\(eps=0.1\); these attacks .* use L2"):
        robustness.independent(natural, world[1][:2], Linf(0.1))
