"""Heads trained to their optimum, with and without an image: the truth that influence predicts."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from lib.softmax_head import contrast_hessian, contrasts, with_one

STEPS = 100


def fit_to_optimum(features: Tensor, y: Tensor, classes: int, *, weight_decay: float) -> Tensor:
    """Minimise the mean cross-entropy of a linear head + weight_decay/2·‖weights and bias‖².

    By Newton's method with the closed form of the Hessian, in float64, until the gradient is 0 to
    rounding. The optimum is unique, and at it the weights of the classes sum to 0.

    features: (N, d). y: int64 (N,), of 0 to classes − 1. weight_decay: above 0.

    Returns the weights, float64 (classes, d + 1), the bias last. Raises ValueError for a
    weight_decay of 0 or less, and where Newton's method does not arrive.
    """
    h, truth = with_one(features.double()), one_hot(y, classes).double()
    weights, _ = _descend(h, truth, 1.0, weight_decay)
    return contrasts(truth) @ weights


def probabilities(features: Tensor, weights: Tensor) -> Tensor:
    """Return the softmax output (N, C) of a head with weights as `fit_to_optimum` returns them."""
    return (with_one(features.double()) @ weights.T).softmax(1)


def leave_one_out(
    train: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    images: Iterable[int],
    *,
    classes: int,
    weight_decay: float,
) -> Tensor:
    """Retrain a head without each of some training images, and tell how the test losses change.

    The loss of the image is left out of the sum, which is still divided by the number N of all.

    train, test: pairs (features, y). images: positions in the training images. classes,
    weight_decay: as in `fit_to_optimum`.

    Returns the rise of each test image's loss, float64 (N_test, images): what
    `lib.influence.head_influence`, with damping = weight_decay, divided by N, predicts. Raises
    ValueError as `fit_to_optimum` does.
    """
    h, test_h = (with_one(features.double()) for features, _ in (train, test))
    truth, count = one_hot(train[1], classes).double(), len(h)
    basis, share = contrasts(truth), (count - 1) / count
    full, factor = _descend(h, truth, 1.0, weight_decay)

    def losses(weights):
        return cross_entropy(test_h @ (basis @ weights).T, test[1], reduction="none")

    rises = []
    for image in images:
        others = torch.arange(count, device=h.device) != int(image)
        weights, _ = _descend(h[others], truth[others], share, weight_decay, full, factor)
        rises.append(losses(weights) - losses(full))
    return torch.stack(rises, dim=1)


def _descend(h, truth, share, weight_decay, weights=None, factor=None):
    """Minimise share · mean loss + penalty over weights (C − 1, d + 1) on the contrasts.

    weights, factor: to start from: near the optimum the Cholesky factor of an old Hessian serves
    as long as it brings the gradient down fast. Returns (weights, factor).
    """
    if not weight_decay > 0:
        raise ValueError(f"weight_decay is {weight_decay}; above 0 the optimum is unique")
    basis, before = contrasts(truth), float("inf")
    if weights is None:
        weights = h.new_zeros(basis.shape[1], h.shape[1])

    def objective(weights):
        loss = cross_entropy(h @ (basis @ weights).T, truth)
        return share * loss + weight_decay / 2 * weights.square().sum()

    for _ in range(STEPS):
        probs = (h @ (basis @ weights).T).softmax(1)
        slope = share / len(h) * basis.T @ (probs - truth).T @ h + weight_decay * weights
        steepest = float(slope.abs().max())
        if steepest < 1e-10:
            return weights, factor
        if factor is None or steepest > before / 3:
            hessian = share * contrast_hessian(h, probs)
            hessian.diagonal().add_(weight_decay)
            factor = torch.linalg.cholesky(hessian)
        step = torch.cholesky_solve(slope.flatten()[:, None], factor).view_as(weights)
        now, size, before = objective(weights), 1.0, steepest
        # Far from the optimum a whole step may overshoot; at it, rounding decides.
        while size > 1e-6 and objective(weights - size * step) > now + 1e-14:
            size /= 2
        weights = weights - size * step
    raise ValueError(
        f"the gradient is still {steepest:.1g} after {STEPS} steps of Newton's method; raise "
        "weight_decay or scale the features"
    )
