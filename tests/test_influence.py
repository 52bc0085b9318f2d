"""Influence of a softmax head against automatic differentiation and dense algebra."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from lib import influence, softmax_head
from lib.influence import head_influence, head_influences, self_influence
from lib.softmax_head import Seen

DAMPING = 0.01


def problem(n=40, m=15, d=6, classes=4, seed=0, dtype=torch.float64):
    """Draw features, and what a random head says of them: (weights, train, test)."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(classes, d + 1, generator=generator, dtype=dtype)

    def seen(count):
        features = torch.randn(count, d, generator=generator, dtype=dtype)
        y = torch.randint(classes, (count,), generator=generator)
        return Seen(features, logits(weights, features).softmax(1), y)

    return weights, seen(n), seen(m)


def logits(weights, features):
    return features @ weights[:, :-1].T + weights[:, -1]


def gradients(weights, seen):
    """Each image's gradient, flat (N, C (d + 1)), by a loop of automatic differentiation."""
    rows = []
    for features, y in zip(seen.features, seen.y, strict=True):
        leaf = weights.clone().requires_grad_()
        cross_entropy(logits(leaf, features[None]), y[None]).backward()
        rows.append(leaf.grad.flatten())
    return torch.stack(rows)


def damped(weights, train, damping=DAMPING):
    """The Hessian of the mean loss by automatic differentiation, with damping."""
    hessian = torch.autograd.functional.hessian(
        lambda w: cross_entropy(logits(w, train.features), train.y), weights
    )
    size = weights.numel()
    return hessian.view(size, size) + damping * torch.eye(size, dtype=weights.dtype)


def dense(weights, train, test, inverse):
    """The scores from the gradients and an inverse Hessian, all written out."""
    return gradients(weights, test) @ inverse @ gradients(weights, train).T


@pytest.mark.parametrize("classes", [2, 4])
def test_scores_equal_a_dense_solve(classes):
    weights, train, test = problem(classes=classes)
    found = head_influence(*train, *test, damping=DAMPING)
    expected = dense(weights, train, test, damped(weights, train).inverse())
    assert found.shape == (15, 40) and found.dtype == torch.float64
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_the_hessian_is_that_of_the_training_images_whichever_are_fewer():
    for n, m in ((15, 40), (40, 15), (20, 20)):
        weights, train, test = problem(n=n, m=m)
        found = head_influence(*train, *test, damping=DAMPING)
        expected = dense(weights, train, test, damped(weights, train).inverse())
        assert found.shape == (m, n)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("damping", [0.0, DAMPING])
def test_a_cutoff_is_the_pseudo_inverse(damping):
    weights, train, test = problem()
    hessian = damped(weights, train, damping)
    # No singular value so near the cut that rounding could put it on the other side.
    shares = torch.linalg.eigvalsh(hessian) / torch.linalg.matrix_norm(hessian, 2)
    assert (shares - 0.05).abs().min() > 1e-6
    inverse = torch.linalg.pinv(hessian, rtol=0.05, hermitian=True)
    (found,) = head_influences(train, test, [{"damping": damping, "cutoff": 0.05}])
    torch.testing.assert_close(found, dense(weights, train, test, inverse), rtol=1e-8, atol=1e-11)


def test_several_rules_from_one_decomposition():
    _, train, test = problem()
    rules = [{"damping": 0.001}, {"damping": 0.3}, {"damping": 0.0, "cutoff": 0.1}]
    found = list(head_influences(train, test, rules))
    assert len(found) == 3
    for rule, scores in zip(rules[:2], found, strict=False):
        torch.testing.assert_close(scores, head_influence(*train, *test, **rule))
    (alone,) = head_influences(train, test, rules[2:])
    torch.testing.assert_close(found[2], alone)


def test_eigenvectors_that_one_solver_does_not_find_come_from_another(monkeypatch):
    _, train, test = problem()
    rules = [{"damping": 0.001}, {"damping": 0.0, "cutoff": 0.1}]
    found = list(head_influences(train, test, rules))

    def fails(matrix):
        raise torch.linalg.LinAlgError("linalg.eigh: The algorithm failed to converge")

    monkeypatch.setattr(torch.linalg, "eigh", fails)
    for one, other in zip(found, head_influences(train, test, rules), strict=True):
        torch.testing.assert_close(one, other)


def test_self_influence_is_the_diagonal():
    _, train, _ = problem()
    found = self_influence(*train, damping=DAMPING)
    square = head_influence(*train, *train, damping=DAMPING)
    torch.testing.assert_close(found, square.diagonal())
    assert (found > 0).all()


def test_the_sign_says_what_training_on_an_image_does():
    """One step of descent on image j lowers the loss on i where the score is positive."""
    weights, train, test = problem()
    scores = head_influence(*train, *test, damping=1e6)  # so large that H does not count
    steps = 1e-6 * gradients(weights, train).view(-1, *weights.shape)
    before = cross_entropy(logits(weights, test.features), test.y, reduction="none")
    for j in range(len(train.y)):
        after = cross_entropy(logits(weights - steps[j], test.features), test.y, reduction="none")
        clear = scores[:, j].abs() > 1e-4 * scores.abs().max()  # of the others a step tells nothing
        assert torch.equal((before - after).sign()[clear], scores[:, j].sign()[clear])
        assert clear.float().mean() > 0.5


def test_chunks_change_nothing(monkeypatch):
    _, train, test = problem()
    whole = head_influence(*train, *test, damping=DAMPING)
    alone = self_influence(*train, damping=DAMPING)
    monkeypatch.setattr(influence, "CHUNK", 7)
    torch.testing.assert_close(head_influence(*train, *test, damping=DAMPING), whole)
    torch.testing.assert_close(self_influence(*train, damping=DAMPING), alone)


def test_single_precision_where_the_head_is_large(monkeypatch):
    _, train, test = problem()
    exact = head_influence(*train, *test, damping=DAMPING)
    monkeypatch.setattr(softmax_head, "DOUBLE", 5)
    found = head_influence(*train, *test, damping=DAMPING)
    assert not torch.equal(found, exact)
    torch.testing.assert_close(found, exact, rtol=1e-3, atol=1e-4 * float(exact.abs().max()))


def test_scores_come_in_the_type_of_the_features():
    _, train, test = problem(dtype=torch.float32)
    found = head_influence(*train, *test, damping=DAMPING)
    assert found.dtype == torch.float32
    exact = head_influence(
        *(v.double() if v.is_floating_point() else v for v in (*train, *test)), damping=DAMPING
    )
    # Computed in float64 all the same; only the inputs were rounded.
    torch.testing.assert_close(found.double(), exact, rtol=1e-4, atol=1e-4)


def test_what_is_handed_in_stays_as_it_was():
    _, train, test = problem()
    before = [v.clone() for v in (*train, *test)]
    head_influence(*train, *test, damping=DAMPING)
    list(head_influences(train, test, [{"damping": 0, "cutoff": 0.1}]))
    self_influence(*train, damping=DAMPING)
    assert all(map(torch.equal, (*train, *test), before))


def test_what_still_holds_gradients_gives_plain_scores():
    _, train, test = problem()
    plain = head_influence(*train, *test, damping=DAMPING)
    attached = changed(train, probs=train.probs.clone().requires_grad_())
    found = head_influence(*attached, *test, damping=DAMPING)
    assert torch.equal(found, plain) and not found.requires_grad


def changed(seen, **values):
    return Seen(**{**seen._asdict(), **values})


BAD = {
    "rows": (
        lambda a, b: (changed(a, y=a.y[1:]), b),
        r"features are \(40, 6\), probs .* y \(39,\)",
    ),
    "features": (
        lambda a, b: (a, changed(b, features=b.features[:, 1:])),
        "6 features .* 5 features",
    ),
    "classes": (
        lambda a, b: (a, changed(b, probs=torch.full((15, 5), 0.2))),
        "6 features and 4 classes, test images have 6 features and 5 classes; both",
    ),
    "sum": (lambda a, b: (changed(a, probs=2 * a.probs), b), "sum to 2; give the softmax"),
    "negative": (
        lambda a, b: (a, changed(b, probs=b.probs - torch.tensor([1.0, -1, 0, 0]))),
        "test probs of image 0 are from -",
    ),
    "not a number": (lambda a, b: (changed(a, probs=a.probs * float("nan")), b), "sum to nan"),
    "infinite": (lambda a, b: (changed(a, features=a.features / 0), b), "not finite"),
    "label": (lambda a, b: (changed(a, y=a.y + 1), b), "run from 1 to 4; allowed are 0 to 3"),
    "negative label": (lambda a, b: (a, changed(b, y=b.y - 1)), "test labels run from -1 to"),
    "real label": (lambda a, b: (changed(a, y=a.y / 2), b), "expected class indices"),
    "one class": (lambda a, b: (changed(a, probs=a.probs[:, :1] * 0 + 1), b), "at least 2"),
    "empty": (lambda a, b: (Seen(*(v[:0] for v in a)), b), "one row for each image"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_is_one_line(kind):
    change, said = BAD[kind]
    _, train, test = problem()
    with pytest.raises(ValueError, match=said) as caught:
        train, test = change(train, test)
        head_influence(*train, *test, damping=DAMPING)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"damping": 0}, "damping is 0, and the Hessian of a softmax head is singular"),
        ({"damping": -0.1}, "damping is -0.1"),
        ({"damping": float("nan")}, "damping is nan"),
        ({"damping": 0, "cutoff": 0}, "cutoff is 0; allowed are shares"),
        ({"damping": 0, "cutoff": 1}, "cutoff is 1; allowed are shares"),
        ({"damping": -1, "cutoff": 0.1}, "damping is -1"),
    ],
)
def test_rules_without_an_inverse(rule, said):
    _, train, test = problem()
    with pytest.raises(ValueError, match=said):
        list(head_influences(train, test, [rule]))
    if "cutoff" not in rule:
        with pytest.raises(ValueError, match=said):
            head_influence(*train, *test, **rule)


def test_a_damping_lost_in_rounding(monkeypatch):
    monkeypatch.setattr(softmax_head, "DOUBLE", 5)
    _, train, test = problem(n=5)  # fewer images than unknowns: singular without damping
    with pytest.raises(ValueError, match="singular to the precision of torch"):
        head_influence(*train, *test, damping=1e-12)
