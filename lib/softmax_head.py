"""The softmax head in closed form: gradients and Hessian of its cross-entropy.

With h an image's features and a 1 for the bias, p the head's probabilities and y the label, the
loss of one image has the gradient g = (p − e_y) ⊗ h, and the mean loss over images the Hessian
H = mean of (diag p − p pᵀ) ⊗ h hᵀ.

Adding one vector to the weights of all classes changes nothing: in that direction every gradient
is 0, and H is singular. So all can be computed on the C − 1 contrasts between classes: the same
from a Hessian of (C − 1)(d + 1) rows.
"""

from typing import NamedTuple

import torch
from scipy.linalg import helmert
from torch import Tensor
from torch.nn.functional import one_hot

# Up to so many rows of the Hessian all is computed in float64, which then costs a second or two.
DOUBLE = 5_000


class Seen(NamedTuple):
    """Images as the head sees them: features (N, d), probs (N, C) and y, int64 (N,)."""

    features: Tensor
    probs: Tensor
    y: Tensor


def contrast_hessian(h: Tensor, probs: Tensor) -> Tensor:
    """Return the lower triangle of the Hessian on the contrasts between classes.

    h: (N, d + 1), as `with_one` returns them. probs: (N, C). Returns ((C − 1)(d + 1), the same),
    contrast by contrast; what stands above the diagonal means nothing.
    """
    basis = contrasts(probs)
    seen = probs @ basis
    weights = (probs[:, None, :] * basis.T) @ basis  # (N, C − 1, C − 1)
    weights = weights - seen[:, :, None] * seen[:, None, :]
    count, width = basis.shape[1], h.shape[1]
    hessian = h.new_empty(count * width, count * width)
    for a in range(count):
        for b in range(a + 1):
            block = h.T @ (weights[:, a, b, None] * h)
            hessian[a * width : (a + 1) * width, b * width : (b + 1) * width] = block.div_(len(h))
    return hessian


def contrasts(probs: Tensor) -> Tensor:
    """Return an orthonormal basis (C, C − 1) of what sums to 0 over the C classes of probs."""
    return torch.as_tensor(helmert(probs.shape[1]).T, dtype=probs.dtype, device=probs.device)


def with_one(features: Tensor) -> Tensor:
    """Return h (N, d + 1): features (N, d) with a 1 for the bias."""
    return torch.cat([features, features.new_ones(len(features), 1)], dim=1)


def factors(seen: Seen) -> tuple[Tensor, Tensor]:
    """Return the factors of the gradients: residuals on the contrasts (N, C − 1), h (N, d + 1)."""
    errors = seen.probs - one_hot(seen.y, seen.probs.shape[1])
    return errors @ contrasts(seen.probs), with_one(seen.features)


def checked(device: torch.device, **sets: Seen) -> list[Seen]:
    """Check what is known of sets of images, and bring it to one device and precision.

    sets: by what errors call them, training or test. Raises ValueError for shapes that do not fit,
    also those of one set to another's, numbers that are not finite, probabilities that do not sum
    to one, and labels without a class.
    """
    clean = {name: _checked(name, seen, device) for name, seen in sets.items()}
    said = [
        f"{name} images have {s.features.shape[1]} features and {s.probs.shape[1]} classes"
        for name, s in clean.items()
    ]
    if len({text.partition(" ")[2] for text in said}) > 1:
        raise ValueError(f"{', '.join(said)}; both must come from one head")
    return list(clean.values())


def _checked(name, seen, device):
    """Check one set of images, as `checked` does."""
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
