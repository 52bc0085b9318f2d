"""Heads trained to their optimum, with and without an image: the truth that influence predicts."""

import torch
from torch.nn.functional import cross_entropy

from lib.influence import head_hessian

STEPS = 100


def fit_to_optimum(features, y, classes, *, weight_decay, without=None, start=None):
    """Minimise the mean cross-entropy of a linear head + weight_decay/2·‖weights and bias‖².

    By Newton's method with the closed form of the Hessian, in float64, until the gradient is 0 to
    rounding; the optimum is unique.

    features: (N, d). y: int64 (N,), of 0 to classes − 1. weight_decay: above 0. without: position
    of an image whose loss is left out of the sum, which is still divided by N; or None. start:
    weights to start from, as returned, or None for 0.

    Returns the weights, float64 (C, d + 1), the bias last. Raises ValueError for a weight_decay
    of 0 or less, and where Newton's method does not arrive.
    """
    if not weight_decay > 0:
        raise ValueError(f"weight_decay is {weight_decay}; above 0 the optimum is unique")
    count, kept = len(features), torch.arange(len(features), device=features.device)
    if without is not None:
        kept = kept[kept != without]
    features, y = features[kept].double(), y[kept]
    share = len(features) / count
    weights = (
        features.new_zeros(classes, features.shape[1] + 1) if start is None else start.double()
    )

    def objective(weights):
        loss = share * cross_entropy(_logits(features, weights), y)
        return loss + weight_decay / 2 * weights.square().sum()

    for _ in range(STEPS):
        probs = _logits(features, weights).softmax(1)
        residuals = probs - torch.nn.functional.one_hot(y, classes)
        slope = torch.cat([residuals.T @ features, residuals.sum(0)[:, None]], 1) / count
        slope += weight_decay * weights
        if slope.abs().max() < 1e-10:
            return weights
        hessian = share * head_hessian(features, probs)
        hessian.diagonal().add_(weight_decay)
        factor = torch.linalg.cholesky(hessian)
        step = torch.cholesky_solve(slope.flatten()[:, None], factor).view_as(weights)
        now, size = objective(weights), 1.0
        # Far from the optimum a whole step may overshoot; at it, rounding decides.
        while size > 1e-6 and objective(weights - size * step) > now + 1e-14:
            size /= 2
        weights = weights - size * step
    raise ValueError(
        f"the gradient is still {slope.abs().max():.1g} after {STEPS} steps of Newton's method; "
        "raise weight_decay or scale the features"
    )


def probabilities(features, weights):
    """Return the softmax output (N, C) of a head with weights as `fit_to_optimum` returns them."""
    return _logits(features.double(), weights).softmax(1)


def leave_one_out(train, test, images, *, weight_decay):
    """Retrain a head without each of some training images, and tell how the test losses change.

    train, test: pairs (features, y). images: positions in the training images. weight_decay: as
    in `fit_to_optimum`.

    Returns the rise of each test image's loss, float64 (N_test, images): what
    `lib.influence.head_influence`, with damping = weight_decay, divided by the number of training
    images, predicts.
    """
    (features, y), (test_features, test_y) = train, test
    classes = 1 + int(max(y.max(), test_y.max()))
    full = fit_to_optimum(features, y, classes, weight_decay=weight_decay)

    def losses(weights):
        return cross_entropy(_logits(test_features.double(), weights), test_y, reduction="none")

    settings = {"weight_decay": weight_decay, "start": full}
    found = [
        losses(fit_to_optimum(features, y, classes, without=int(image), **settings))
        for image in images
    ]
    return torch.stack(found, dim=1) - losses(full)[:, None]


def _logits(features, weights):
    return features @ weights[:, :-1].T + weights[:, -1]
