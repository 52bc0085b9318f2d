"""Influence of training images on test images, exact for a softmax head on frozen features.

With g the gradient of an image's loss and H the Hessian of the mean loss (`lib.softmax_head`), the
score of training image j for test image i is g_iᵀ (H + damping·I)⁻¹ g_j (Koh and Liang, 2017,
eq. 2, with the sign of leaving j out), computed on the contrasts between classes.
"""

from collections.abc import Iterator, Sequence

import scipy.linalg
import torch
from torch import Tensor

from lib.softmax_head import Seen, checked, contrast_hessian, factors, with_one

# Images whose gradients, or scores, are in memory at a time.
CHUNK = 4_096


def head_influence(
    train_features: Tensor,
    train_probs: Tensor,
    train_y: Tensor,
    test_features: Tensor,
    test_probs: Tensor,
    test_y: Tensor,
    *,
    damping: float,
) -> Tensor:
    """Return the influence of each training image on the loss of each test image.

    A score is positive where training on image j lowers the loss on image i; divided by the
    number of training images it is, to first order, by how much that loss rises when j is left
    out. That is exact for a head trained to the optimum of the mean loss + damping/2·‖weights‖²
    (Koh and Liang, 2017, eq. 2).

    features: (N, d), without a column for the bias, which is added here. probs: (N, C), the
    head's softmax output. y: (N,), classes 0 to C − 1. damping: added to the diagonal of the
    Hessian, above 0. For the paper's pseudo-inverse in its place there is `head_influences`.

    In float64 up to DOUBLE rows of the Hessian, above in float32, on the device of
    train_features. Returns (N_test, N_train) in the dtype of train_features. Raises ValueError
    for shapes that do not fit, numbers that are not finite, probabilities that do not sum to one,
    labels without a class, and a Hessian that is singular.
    """
    dtype, device = _kind(train_features)
    train, test = checked(
        device,
        training=Seen(train_features, train_probs, train_y),
        test=Seen(test_features, test_probs, test_y),
    )
    factor = _factor(train, damping)
    # H⁻¹ is symmetric: it is applied to the gradients of whichever images are fewer.
    few, many = (train, test) if len(train.y) <= len(test.y) else (test, train)
    residuals, h = factors(few)
    scores = torch.empty(len(many.y), len(few.y), dtype=dtype, device=device)
    for start in range(0, len(h), CHUNK):
        columns = slice(start, start + CHUNK)
        gradients = _outer(residuals[columns], h[columns])
        scores[:, columns] = _products(many, _solve(factor, gradients))
    return scores if few is train else scores.T


def head_influences(train: Seen, test: Seen, rules: Sequence[dict]) -> Iterator[Tensor]:
    """Yield the scores (N_test, N_train) under each of several rules, for a small head.

    One eigendecomposition of the Hessian serves all of them; where (C − 1)(d + 1) is large it costs
    many times what one inverse does, and memory for several Hessians.

    train, test: features, probs and y, as in `head_influence`. rules: dicts of damping and, for the
    pseudo-inverse of Utrera et al. (2021, who take 0.05), cutoff: the share of the largest singular
    value of the damped Hessian, 0 to 1, under which singular values are cut. damping: as in
    `head_influence`; with a cutoff 0 is allowed, too. Raises ValueError for any others, and for
    what `head_influence` refuses.
    """
    device = torch.as_tensor(train[0]).device
    train, test = checked(device, training=train, test=test)
    for rule in rules:
        _allowed(**rule)
    values, vectors = _eigh(contrast_hessian(with_one(train.features), train.probs))
    along_train, along_test = (
        vectors.T @ _outer(*factors(seen)).flatten(0, 1) for seen in (train, test)
    )
    for rule in rules:
        damped = values + rule["damping"]
        kept = damped >= (rule.get("cutoff") or 0) * damped[-1]
        yield (along_test[kept] / damped[kept, None]).T @ along_train[kept]


def self_influence(features: Tensor, probs: Tensor, y: Tensor, *, damping: float) -> Tensor:
    """Return the influence (N,) of each training image on its own loss, never negative.

    The arguments and what is raised: as in `head_influence`, of whose scores of the training
    images on themselves this is the diagonal.
    """
    dtype, device = _kind(features)
    (train,) = checked(device, training=Seen(features, probs, y))
    residuals, h = factors(train)
    factor = _factor(train, damping)
    found = []
    for start in range(0, len(h), CHUNK):
        columns = slice(start, start + CHUNK)
        gradients = _outer(residuals[columns], h[columns])
        # With H = L Lᵀ, gᵀ H⁻¹ g is the squared length of L⁻¹ g.
        found.append(_half(factor, gradients).square().sum(0))
    return torch.cat(found).to(dtype)


def _eigh(hessian):
    """Return eigenvalues, ascending, and eigenvectors of a symmetric matrix, of its lower half."""
    try:
        return torch.linalg.eigh(hessian)
    except torch.linalg.LinAlgError:
        # Divide and conquer may not converge where most eigenvalues are zero but for rounding, as
        # with fewer images than features; relatively robust representations do.
        found = scipy.linalg.eigh(hessian.cpu().numpy(), driver="evr", check_finite=False)
        values, vectors = (torch.from_numpy(part).to(hessian.device) for part in found)
        return values, vectors


def _kind(features):
    """Return the dtype and the device of the scores."""
    features = torch.as_tensor(features)
    return (features if features.is_floating_point() else features.float()).dtype, features.device


def _outer(residuals, h):
    """Return gradients (C − 1, d + 1, n), one a column."""
    return residuals.T[:, None, :] * h.T[None, :, :]


def _products(test, solved):
    """Multiply the test gradients, residual ⊗ h, with columns (C − 1, d + 1, n): (N_test, n).

    A product for each contrast: the gradients themselves, N_test × (C − 1)(d + 1), never exist.
    """
    residuals, h = factors(test)
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
            "above 0, or, where a rule has one, 0 and a cutoff"
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
