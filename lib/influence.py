"""Influence of training images on test images, exact for a softmax head on frozen features.

With h an image's features and a 1 for the bias, p the head's probabilities and y the label, the
loss of one image has the gradient g = (p − e_y) ⊗ h, and the mean loss over the training images
the Hessian H = mean of (diag p − p pᵀ) ⊗ h hᵀ. The score of training image j for test image i is
g_iᵀ (H + damping·I)⁻¹ g_j (Koh and Liang, 2017, eq. 2, with the sign of leaving j out).

Adding one vector to the weights of all classes changes nothing: in that direction every gradient
is 0, and H is singular. So all is computed on the C − 1 contrasts between classes: the same
scores from a Hessian of (C − 1)(d + 1) rows.
"""

from typing import NamedTuple

import torch
from scipy.linalg import helmert

# Up to so many rows of the Hessian all is computed in float64, which then costs a second or two.
DOUBLE = 5_000
# Images whose gradients, or scores, are in memory at a time.
CHUNK = 4_096


class Seen(NamedTuple):
    """Images as the head sees them: features (N, d), probs (N, C) and y, int64 (N,)."""

    features: torch.Tensor
    probs: torch.Tensor
    y: torch.Tensor


def head_influence(
    train_features,
    train_probs,
    train_y,
    test_features,
    test_probs,
    test_y,
    *,
    damping,
    cutoff=None,
):
    """Return the influence of each training image on the loss of each test image.

    A score is positive where training on image j lowers the loss on image i; divided by the
    number of training images it is, to first order, by how much that loss rises when j is left
    out. That is exact for a head trained to the optimum of the mean loss + damping/2·‖weights‖²
    (Koh and Liang, 2017, eq. 2).

    features: (N, d), without a column for the bias, which is added here. probs: (N, C), the
    head's softmax output. y: int64 (N,), classes 0 to C − 1. damping: added to the diagonal of
    the Hessian, above 0; with a cutoff 0 is allowed. cutoff: share of the largest singular value
    of the Hessian, 0 to 1, under which singular values are cut (the pseudo-inverse of Utrera et
    al., 2021, who take 0.05), or None for the inverse. A cutoff needs an eigendecomposition, many
    times dearer than the inverse where (C − 1)(d + 1) is large.

    In float64 up to DOUBLE rows of the Hessian, above in float32, on the device of
    train_features. Returns (N_test, N_train) in the dtype of train_features. Raises ValueError
    for shapes that do not fit, numbers that are not finite, probabilities that do not sum to one,
    labels without a class, and a Hessian that is singular.
    """
    dtype, device = _kind(train_features)
    train = _checked("training", Seen(train_features, train_probs, train_y), device)
    test = _checked("test", Seen(test_features, test_probs, test_y), device)
    _fit_together(train, test)
    if cutoff is not None:
        (scores,) = head_influences(train, test, [{"damping": damping, "cutoff": cutoff}])
        return scores.to(dtype)
    factor = _factor(train, damping)
    # H⁻¹ is symmetric: it is applied to the gradients of whichever images are fewer.
    few, many = (train, test) if len(train.y) <= len(test.y) else (test, train)
    residuals, h = _factors(few)
    scores = torch.empty(len(many.y), len(few.y), dtype=dtype, device=device)
    for start in range(0, len(h), CHUNK):
        columns = slice(start, start + CHUNK)
        gradients = _outer(residuals[columns], h[columns])
        scores[:, columns] = _products(many, _solve(factor, gradients))
    return scores if few is train else scores.T


def head_influences(train, test, rules):
    """Yield the scores (N_test, N_train) under each of several rules, for a small head.

    One eigendecomposition of the Hessian serves all of them; it costs many times what one inverse
    does, and memory for several Hessians.

    train, test: Seen. rules: dicts of damping and, where singular values are cut, cutoff. The rest:
    as in `head_influence`.
    """
    device = torch.as_tensor(train[0]).device
    train, test = _checked("training", train, device), _checked("test", test, device)
    _fit_together(train, test)
    for rule in rules:
        _allowed(**rule)
    values, vectors = torch.linalg.eigh(contrast_hessian(with_one(train.features), train.probs))
    along_train, along_test = (
        vectors.T @ _outer(*_factors(seen)).flatten(0, 1) for seen in (train, test)
    )
    for rule in rules:
        damped = values + rule["damping"]
        kept = damped >= (rule.get("cutoff") or 0) * damped[-1]
        yield (along_test[kept] / damped[kept, None]).T @ along_train[kept]


def self_influence(features, probs, y, *, damping):
    """Return the influence (N,) of each training image on its own loss, never negative.

    The arguments and what is raised: as in `head_influence`, of whose scores of the training
    images on themselves this is the diagonal.
    """
    dtype, device = _kind(features)
    train = _checked("training", Seen(features, probs, y), device)
    residuals, h = _factors(train)
    factor = _factor(train, damping)
    found = []
    for start in range(0, len(h), CHUNK):
        columns = slice(start, start + CHUNK)
        gradients = _outer(residuals[columns], h[columns])
        # With H = L Lᵀ, gᵀ H⁻¹ g is the squared length of L⁻¹ g.
        found.append(_half(factor, gradients).square().sum(0))
    return torch.cat(found).to(dtype)


def head_gradients(features, probs, y):
    """Return the gradients (N, C, d + 1) of each image's loss by weights and bias: (p − e_y) ⊗ h.

    Arguments as in `head_influence`.
    """
    errors = probs - torch.nn.functional.one_hot(y, probs.shape[1])
    return errors[:, :, None] * with_one(features)[:, None, :]


def head_hessian(features, probs):
    """Return the Hessian of the mean loss by weights and bias, mean of (diag p − p pᵀ) ⊗ h hᵀ.

    Arguments as in `head_influence`. Returns (C(d + 1), C(d + 1)), class by class, in each the
    features and last the bias.
    """
    weights = torch.diag_embed(probs) - probs[:, :, None] * probs[:, None, :]
    lower = _blocks(with_one(features), weights)
    return lower.tril() + lower.tril(-1).T


def contrast_hessian(h, probs):
    """Return the lower triangle of the Hessian on the contrasts between classes.

    h: (N, d + 1), as `with_one` returns them. probs: (N, C). Returns ((C − 1)(d + 1), the same),
    contrast by contrast; what stands above the diagonal means nothing.
    """
    basis = contrasts(probs)
    seen = probs @ basis
    weights = (probs[:, None, :] * basis.T) @ basis  # (N, C − 1, C − 1)
    return _blocks(h, weights - seen[:, :, None] * seen[:, None, :])


def contrasts(probs):
    """Return an orthonormal basis (C, C − 1) of what sums to 0 over the C classes of probs."""
    return torch.as_tensor(helmert(probs.shape[1]).T, dtype=probs.dtype, device=probs.device)


def with_one(features):
    """Return h (N, d + 1): features (N, d) with a 1 for the bias."""
    return torch.cat([features, features.new_ones(len(features), 1)], dim=1)


def _kind(features):
    """Return the dtype and the device of the scores."""
    features = torch.as_tensor(features)
    return (features if features.is_floating_point() else features.float()).dtype, features.device


def _fit_together(train, test):
    """Raise ValueError unless both sets come from one head."""
    widths = [(seen.features.shape[1], seen.probs.shape[1]) for seen in (train, test)]
    if widths[0] != widths[1]:
        raise ValueError(
            "training images have {} features and {} classes, test images {} and {}; both must "
            "come from one head".format(*widths[0], *widths[1])
        )


def _checked(name, seen, device):
    """Check what is known of one set of images, and bring it to one device and precision."""
    features, probs, y = (torch.as_tensor(v, device=device).detach() for v in seen)
    count = len(y) if y.ndim == 1 else -1
    if features.ndim != 2 or probs.ndim != 2 or not len(features) == len(probs) == count > 0:
        raise ValueError(
            f"{name} features are {tuple(features.shape)}, probs {tuple(probs.shape)} and y "
            f"{tuple(y.shape)}; expected (N, d), (N, C) and (N,), one row for each image"
        )
    classes = probs.shape[1]
    if classes < 2:
        raise ValueError(f"{name} probs have {classes} column; a head has at least 2 classes")
    if y.is_floating_point() or y.is_complex() or y.dtype == torch.bool:
        raise ValueError(f"{name} y is {y.dtype}; expected class indices, int64")
    low, high = int(y.min()), int(y.max())
    if not 0 <= low <= high < classes:
        raise ValueError(
            f"{name} labels run from {low} to {high}; allowed are 0 to {classes - 1}, the "
            f"{classes} columns of probs"
        )
    dtype = torch.float64 if (classes - 1) * (features.shape[1] + 1) <= DOUBLE else torch.float32
    features, probs = features.to(dtype), probs.to(dtype)
    if not features.isfinite().all():
        raise ValueError(f"{name} features hold numbers that are not finite; check the network")
    fine = ((probs.sum(1) - 1).abs() < 1e-3) & (probs >= 0).all(1)
    if not fine.all():
        worst = int(fine.logical_not().nonzero()[0])
        raise ValueError(
            f"{name} probs of image {worst} are from {float(probs[worst].min()):.3g} and sum to "
            f"{float(probs[worst].sum()):.6g}; give the softmax of the logits, which sums to 1"
        )
    return Seen(features, probs, y.long())


def _factors(seen):
    """Return the factors of the gradients: residuals on the contrasts (N, C − 1), h (N, d + 1)."""
    errors = seen.probs - torch.nn.functional.one_hot(seen.y, seen.probs.shape[1])
    return errors @ contrasts(seen.probs), with_one(seen.features)


def _outer(residuals, h):
    """Return gradients (C − 1, d + 1, n), one a column."""
    return residuals.T[:, None, :] * h.T[None, :, :]


def _blocks(h, weights):
    """Return the lower blocks of mean of weights ⊗ h hᵀ, weights (N, K, K), as (K(d+1), K(d+1))."""
    count, width = weights.shape[1], h.shape[1]
    hessian = h.new_empty(count * width, count * width)
    for a in range(count):
        for b in range(a + 1):
            block = h.T @ (weights[:, a, b, None] * h)
            hessian[a * width : (a + 1) * width, b * width : (b + 1) * width] = block.div_(len(h))
    return hessian


def _products(test, solved):
    """Multiply the test gradients, residual ⊗ h, with columns (C − 1, d + 1, n): (N_test, n).

    A product for each contrast: the gradients themselves, N_test × (C − 1)(d + 1), never exist.
    """
    residuals, h = _factors(test)
    scores = h.new_zeros(len(h), solved.shape[2])
    for start in range(0, len(h), CHUNK):
        rows = slice(start, start + CHUNK)
        for residual, block in zip(residuals[rows].T, solved, strict=True):
            scores[rows].addmm_(residual[:, None] * h[rows], block)
    return scores


def _allowed(damping, cutoff=None):
    """Raise ValueError for a rule under which the Hessian has no inverse."""
    if not 0 <= damping < float("inf") or (damping == 0 and cutoff is None):
        raise ValueError(
            f"damping is {damping}, and the Hessian of a softmax head is singular; give a damping "
            "above 0, or 0 and a cutoff"
        )
    if cutoff is not None and not 0 < cutoff < 1:
        raise ValueError(
            f"cutoff is {cutoff}; allowed are shares of the largest singular value above 0 and "
            "below 1, or None"
        )


def _factor(train, damping):
    """Return the Cholesky factor L, lower triangular, of the damped Hessian: H = L Lᵀ.

    It takes the place of the Hessian, by far the largest thing in memory. LAPACK reads matrices
    column by column, so what it is given is the transpose, and no copy is made.
    """
    _allowed(damping)
    h = with_one(train.features)
    hessian = contrast_hessian(h, train.probs)
    hessian.diagonal().add_(damping)
    info = torch.empty(0, dtype=torch.int32, device=h.device)
    torch.linalg.cholesky_ex(hessian.mT, upper=True, out=(hessian.mT, info))
    if info:
        raise ValueError(
            f"with damping {damping} the Hessian is singular to the precision of {h.dtype}; raise "
            "damping"
        )
    return hessian


def _half(factor, gradients):
    """Return L⁻¹ times gradients (C − 1, d + 1, n), as (rows, n), in their place."""
    flat = gradients.flatten(0, 1)
    return torch.linalg.solve_triangular(factor, flat, upper=False, out=flat)


def _solve(factor, gradients):
    """Return H⁻¹ times gradients (C − 1, d + 1, n), in their place."""
    half = _half(factor, gradients)
    torch.linalg.solve_triangular(factor.mT, half, upper=True, out=half)
    return half.view(gradients.shape)
