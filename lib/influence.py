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
    for name, one, other in (
        ("features", *_widths(train, test, 0)),
        ("classes", *_widths(train, test, 1)),
    ):
        if one != other:
            raise ValueError(
                f"training images have {one} {name}, test images {other}; both must come from one head"
            )
    residuals, h = _factors(train)
    test_residuals, test_h = _factors(test)
    solve = _inverse(train, h, damping, cutoff)
    scores = torch.zeros(len(test_h), len(h), dtype=dtype, device=device)
    for start in range(0, len(h), CHUNK):
        columns = slice(start, start + CHUNK)
        solved = solve(_outer(residuals[columns], h[columns]))  # (C − 1, d + 1, n)
        for first in range(0, len(test_h), CHUNK):
            rows = slice(first, first + CHUNK)
            # g_i = residual ⊗ h: a product for each contrast, and the test gradients never exist.
            part = h.new_zeros(len(test_h[rows]), solved.shape[2])
            for residual, block in zip(test_residuals[rows].T, solved, strict=True):
                part.addmm_(residual[:, None] * test_h[rows], block)
            scores[rows, columns] = part
    return scores


def self_influence(features, probs, y, *, damping, cutoff=None):
    """Return the influence (N,) of each training image on its own loss, never negative.

    The arguments and what is raised: as in `head_influence`, of whose scores of the training
    images on themselves this is the diagonal.
    """
    dtype, device = _kind(features)
    train = _checked("training", Seen(features, probs, y), device)
    residuals, h = _factors(train)
    solve = _inverse(train, h, damping, cutoff)
    found = []
    for start in range(0, len(h), CHUNK):
        columns = slice(start, start + CHUNK)
        gradients = _outer(residuals[columns], h[columns])
        found.append((gradients * solve(gradients)).sum((0, 1)))
    return torch.cat(found).to(dtype)


def head_gradients(features, probs, y):
    """Return the gradients (N, C, d + 1) of each image's loss by weights and bias: (p − e_y) ⊗ h.

    Arguments as in `head_influence`.
    """
    errors = probs - torch.nn.functional.one_hot(y, probs.shape[1])
    return errors[:, :, None] * _with_one(features)[:, None, :]


def head_hessian(features, probs):
    """Return the Hessian of the mean loss by weights and bias, mean of (diag p − p pᵀ) ⊗ h hᵀ.

    Arguments as in `head_influence`. Returns (C(d + 1), C(d + 1)), class by class, in each the
    features and last the bias.
    """
    hessian = _blocks(
        _with_one(features), torch.diag_embed(probs) - probs[:, :, None] * probs[:, None, :]
    )
    return hessian.tril() + hessian.tril(-1).T


def _kind(features):
    """Return the dtype and the device of the scores."""
    features = torch.as_tensor(features)
    return (features if features.is_floating_point() else features.float()).dtype, features.device


def _widths(train, test, which):
    return train[which].shape[1], test[which].shape[1]


def _checked(name, seen, device):
    """Check what is known of one set of images, and bring it to one device and precision."""
    features, probs, y = (torch.as_tensor(v, device=device) for v in seen)
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
    wrong = ((probs.sum(1) - 1).abs() < 1e-3) & (probs >= 0).all(1)
    if not wrong.all():
        worst = int(wrong.logical_not().nonzero()[0])
        raise ValueError(
            f"{name} probs of image {worst} are from {float(probs[worst].min()):.3g} and sum to "
            f"{float(probs[worst].sum()):.6g}; give the softmax of the logits, which sums to 1"
        )
    return Seen(features, probs, y.long())


def _with_one(features):
    return torch.cat([features, features.new_ones(len(features), 1)], dim=1)


def _contrasts(probs):
    """Return an orthonormal basis (C, C − 1) of what sums to 0 over the classes."""
    return torch.as_tensor(helmert(probs.shape[1]).T, dtype=probs.dtype, device=probs.device)


def _factors(seen):
    """Return the factors of the gradients: residuals (N, C − 1) on the contrasts, and h (N, d + 1)."""
    errors = seen.probs - torch.nn.functional.one_hot(seen.y, seen.probs.shape[1])
    return errors @ _contrasts(seen.probs), _with_one(seen.features)


def _outer(residuals, h):
    """Return gradients (C − 1, d + 1, n), one a column."""
    return residuals.T[:, None, :] * h.T[None, :, :]


def _blocks(h, weights):
    """Return the lower blocks of mean of weights ⊗ h hᵀ, weights (N, K, K), as (K(d+1), K(d+1))."""
    count, width = weights.shape[1], h.shape[1]
    hessian = h.new_zeros(count * width, count * width)
    for a in range(count):
        for b in range(a + 1):
            block = h.T @ (weights[:, a, b, None] * h)
            hessian[a * width : (a + 1) * width, b * width : (b + 1) * width] = block.div_(len(h))
    return hessian


def _inverse(train, h, damping, cutoff):
    """Return the function that maps gradients (C − 1, d + 1, n) to H⁻¹ times them."""
    if not damping >= 0 or (damping == 0 and cutoff is None) or damping == float("inf"):
        raise ValueError(
            f"damping is {damping}, and the Hessian of a softmax head is singular; give a damping "
            "above 0, or 0 and a cutoff"
        )
    if cutoff is not None and not 0 < cutoff < 1:
        raise ValueError(
            f"cutoff is {cutoff}; allowed are shares of the largest singular value above 0 and "
            "below 1, or None"
        )
    basis, probs = _contrasts(train.probs), train.probs
    seen = probs @ basis
    weights = (
        torch.einsum("nc,ca,cb->nab", probs, basis, basis) - seen[:, :, None] * seen[:, None, :]
    )
    hessian = _blocks(h, weights)
    hessian.diagonal().add_(damping)
    if cutoff is not None:
        values, vectors = torch.linalg.eigh(hessian)
        kept = values >= cutoff * values[-1]
        root = vectors[:, kept] / values[kept].sqrt()
        return lambda g: (root @ (root.T @ g.flatten(0, 1))).view_as(g)
    # The transpose is in the order of LAPACK, and the result may overwrite it: one matrix, not two.
    factor, info = torch.linalg.cholesky_ex(hessian)
    del hessian
    if info:
        raise ValueError(
            f"with damping {damping} the Hessian is singular to the precision of {h.dtype}; raise "
            "damping"
        )
    return lambda g: torch.cholesky_solve(g.flatten(0, 1), factor).view_as(g)
