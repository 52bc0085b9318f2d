import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from lib import attacks, robustness, training
from lib.attacks import L2, Linf, equal_steps, long_then_short, pgd, weighted_margin
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


def weights_of(model):
    return torch.cat([v.flatten().double() for v in model.state_dict().values()])


def test_predictions_one_image_at_a_time(exact, world):
    images = world[1][:120]
    with torch.no_grad():
        slow = [int(exact(x[None].float() / 255).argmax()) for x in images.x]
    for batch_size in (1, 7, 500):
        assert robustness.predict(exact, images, batch_size=batch_size).tolist() == slow
    share = sum(a == b for a, b in zip(slow, images.y.tolist(), strict=True)) / 120
    assert robustness.accuracy(exact, images, batch_size=50) == pytest.approx(share)
    assert len(robustness.predict(exact, images[:0])) == 0


def test_measuring_changes_nothing(natural, world):
    model = copy.deepcopy(natural).requires_grad_(True).train()
    before, modes = weights_of(model), [m.training for m in model.modules()]
    robustness.accuracy(model, world[1][:20])
    robustness.robust_accuracy(model, world[1][:20], L2(0.2), steps=2, restarts=2)
    assert torch.equal(weights_of(model), before)
    assert [m.training for m in model.modules()] == modes
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("sizes", [long_then_short, equal_steps])
@pytest.mark.parametrize("ball", [L2(0.2), Linf(3 / 255)])
def test_what_withstands_is_what_no_search_fools(exact, world, ball, sizes):
    images = world[1][:90]
    found = robustness.withstands(
        exact, images, ball, steps=4, restarts=3, step_sizes=sizes, seed=2, batch_size=500
    )
    kept = robustness.predict(exact, images) == images.y
    for seed in (2, 3, 4):
        left = kept.nonzero().flatten()
        x, y = training.pixels(images.x[left]), images.y[left]
        for steps in range(5):  # every point on the way
            alpha = sizes(ball.eps, 4)[:steps]
            search = {"steps": steps, "alpha": alpha, "seed": seed, "loss": weighted_margin}
            x_adv = pgd(exact, x, y, ball, **search)
            with torch.no_grad():
                kept[left] &= exact(x_adv).argmax(1) == y
    assert torch.equal(found, kept) and 0 < kept.sum() < 90
    share = robustness.robust_accuracy(
        exact, images, ball, steps=4, restarts=3, step_sizes=sizes, seed=2
    )
    assert share == pytest.approx(int(kept.sum()) / 90)


def test_what_is_lost_is_not_attacked_again(natural, world, monkeypatch):
    images, attacked = world[1][:60], []

    def watched(model, x, y, *args, **kwargs):
        attacked.append(len(x))
        return attacks.survives(model, x, y, *args, **kwargs)

    monkeypatch.setattr(robustness, "survives", watched)
    shares = [
        robustness.robust_accuracy(natural, images, L2(0.15), steps=2, restarts=r) for r in (1, 3)
    ]
    assert shares[1] <= shares[0] <= robustness.accuracy(natural, images)
    assert attacked[0] == attacked[1] == round(60 * robustness.accuracy(natural, images))
    assert attacked[2] == round(60 * shares[0]) >= attacked[3]


def test_an_exported_network_is_measured_as_it_was(natural, world):
    images, how = world[1][:40], {"dynamic_shapes": ({0: torch.export.Dim("n")},), "strict": False}
    program = torch.export.export(natural.eval(), (torch.zeros(4, 3, 32, 32),), **how)
    exported = program.module()
    assert robustness.accuracy(exported, images[:1]) == robustness.accuracy(natural, images[:1])
    assert robustness.accuracy(exported, images) == robustness.accuracy(natural, images)
    shares = [robustness.robust_accuracy(m, images, L2(0.1), steps=3) for m in (exported, natural)]
    assert shares[0] == pytest.approx(shares[1], abs=0.026)


def test_a_model_that_is_always_wrong_withstands_nothing(natural, world):
    images = world[1][:30]
    wrong = type(images)(images.x, (robustness.predict(natural, images) + 1) % 10, images.classes)
    assert robustness.accuracy(natural, wrong) == 0
    assert robustness.robust_accuracy(natural, wrong, L2(0.1), steps=2, restarts=2) == 0


def test_no_images_to_measure(natural, world):
    for measure in (
        lambda images: robustness.accuracy(natural, images),
        lambda images: robustness.robust_accuracy(natural, images, L2(0.1), steps=1),
    ):
        with pytest.raises(ValueError, match="there are no images"):
            measure(world[1][:0])


def test_a_search_that_makes_no_sense_is_refused(natural, world):
    several = ({"steps": 2, "restarts": number} for number in (0, 1.5))
    for search in ({"steps": -1}, {"steps": 2.5}, *several):
        with pytest.raises(ValueError, match=r"allowed are whole numbers of [01] and more"):
            robustness.withstands(natural, world[1][:2], L2(0.1), **search)


def test_a_curve_in_closed_form(linear):
    model, images, distance = linear
    radii = [float(distance.quantile(q)) for q in (0.8, 0.3, 0.55)]
    rows = robustness.curve(model, images, "l2", [0, *radii], steps=20)
    assert [row["attack_eps"] for row in rows] == sorted([0, *radii])
    for row in rows:
        expected = float((distance > row["attack_eps"]).double().mean())
        assert row["accuracy"] == pytest.approx(expected, abs=0.01)
        assert set(row) == {"attack", "attack_eps", "accuracy"} and row["attack"] == "l2"
    assert rows[0]["accuracy"] == robustness.accuracy(model, images) == 0.875  # 105 of 120


@pytest.mark.parametrize(("norm", "ball"), [("l2", L2), ("linf", Linf)])
def test_a_curve_by_a_plain_loop(exact, world, norm, ball):
    images, radii = world[1][:80], [0.0, 0.005, 0.01, 0.02, 8.0]
    rows = robustness.curve(exact, images, norm, radii[::-1], steps=3, restarts=2, seed=1)
    found = [row["accuracy"] for row in rows]
    kept = torch.ones(80, dtype=torch.bool)
    for eps, share in zip(radii, found, strict=True):
        places = kept.nonzero().flatten()
        kept[places] = robustness.withstands(
            exact, images[places], ball(eps), steps=3, restarts=2, seed=1
        )
        assert share == int(kept.sum()) / 80
    assert found == sorted(found, reverse=True) and found[-1] == 0
    assert rows[0]["accuracy"] == pytest.approx(robustness.accuracy(exact, images))


def test_a_curve_goes_on_where_nothing_is_left(natural, world):
    images = world[1][:20]
    wrong = Images(images.x, (robustness.predict(natural, images) + 1) % 10, images.classes)
    rows = robustness.curve(natural, wrong, "l2", [0.0, 0.1], steps=2)
    assert [row["accuracy"] for row in rows] == [0, 0]


def test_effort(exact, world):
    images, ball = world[1][:60], L2(0.2)
    searches = [(0, 1), (2, 1), (2, 3), (10, 1)]
    rows = robustness.effort(exact, images, ball, searches, step_sizes=equal_steps, seed=5)
    assert [(row["steps"], row["restarts"]) for row in rows] == searches
    assert {row["step_sizes"] for row in rows} == {"equal_steps"}
    for row in rows:
        alone = robustness.withstands(
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
    ours = robustness.robust_accuracy(robust, images, L2(0.3), steps=20, restarts=2)
    # On 60 images, over training seeds of the network: −2 ± 3.5 points.
    assert -0.13 <= rows[-1]["accuracy"] - ours <= 0.09


def test_independent_attacks_where_nothing_is_left(natural, world):
    images = world[1][:20]
    wrong = Images(images.x, (robustness.predict(natural, images) + 1) % 10, images.classes)
    rows = robustness.independent(natural, wrong, L2(0.1), steps=2)
    assert [row["accuracy"] for row in rows] == [0] * 4


def test_independent_attacks_know_one_norm_only(natural, world):
    with pytest.raises(ValueError, match=r"the ball is Linf\(eps=0.1\); these attacks .* use L2"):
        robustness.independent(natural, world[1][:2], Linf(0.1))
