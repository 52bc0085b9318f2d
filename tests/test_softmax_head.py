"""The closed form of a softmax head against automatic differentiation."""

import pytest
import torch
from torch.nn.functional import cross_entropy, one_hot

from lib.softmax_head import Seen, checked, contrast_hessian, contrasts, factors, with_one


@pytest.fixture(params=[2, 5])
def problem(request):
    """Weights (C, d + 1) of a head of C classes, and what it says of 30 images."""
    classes, generator = request.param, torch.Generator().manual_seed(0)
    weights = torch.randn(classes, 5, generator=generator, dtype=torch.float64)
    features = torch.randn(30, 4, generator=generator, dtype=torch.float64)
    y = torch.randint(classes, (30,), generator=generator)
    return weights, Seen(features, (with_one(features) @ weights.T).softmax(1), y)


def test_contrasts_are_a_basis_of_what_sums_to_zero():
    for classes in (2, 3, 10):
        basis = contrasts(torch.zeros(1, classes, dtype=torch.float64))
        assert basis.shape == (classes, classes - 1)
        torch.testing.assert_close(basis.T @ basis, torch.eye(classes - 1, dtype=torch.float64))
        assert float(basis.sum(0).abs().max()) < 1e-14
    assert contrasts(torch.zeros(1, 3)).dtype == torch.float32


def test_factors_are_those_of_each_images_gradient(problem):
    weights, seen = problem
    residuals, h = factors(seen)
    basis = contrasts(seen.probs)
    for i in range(len(seen.y)):
        leaf = weights.clone().requires_grad_()
        cross_entropy(with_one(seen.features[i : i + 1]) @ leaf.T, seen.y[i : i + 1]).backward()
        torch.testing.assert_close(torch.outer(residuals[i], h[i]), basis.T @ leaf.grad)
        # What lies outside the contrasts is zero, so nothing is lost by leaving it out.
        torch.testing.assert_close(basis @ (basis.T @ leaf.grad), leaf.grad)


def test_the_hessian_is_that_of_the_mean_loss(problem):
    weights, seen = problem
    basis = contrasts(seen.probs)

    def loss(on_contrasts):
        return cross_entropy(with_one(seen.features) @ (basis @ on_contrasts).T, seen.y)

    on_contrasts = basis.T @ weights  # the same probabilities: classes share what is left out
    expected = torch.autograd.functional.hessian(loss, on_contrasts)
    size = on_contrasts.numel()
    found = contrast_hessian(with_one(seen.features), seen.probs).tril()
    torch.testing.assert_close(found, expected.view(size, size).tril(), rtol=1e-10, atol=1e-12)


def test_what_is_checked_comes_back_in_the_precision_that_fits(problem, monkeypatch):
    _, seen = problem
    single = Seen(seen.features.float(), seen.probs.float(), seen.y.int())
    (fine,) = checked(torch.device("cpu"), training=single)
    assert fine.features.dtype == fine.probs.dtype == torch.float64 and fine.y.dtype == torch.int64
    monkeypatch.setattr("lib.softmax_head.DOUBLE", 1)
    (coarse,) = checked(torch.device("cpu"), training=seen)
    assert coarse.features.dtype == coarse.probs.dtype == torch.float32
    assert torch.equal(coarse.y, seen.y)


def test_sets_of_two_heads_are_told_apart(problem):
    _, seen = problem
    other = Seen(seen.features, one_hot(seen.y, 7).double(), seen.y)
    with pytest.raises(ValueError, match=r"training images .*, test images .* both must come from"):
        checked(torch.device("cpu"), training=seen, test=other)
