"""The ℓ2 and ℓ∞ balls of pixel space: where an adversary may go."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor


@dataclass(frozen=True)
class _Radius:
    eps: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "eps", float(self.eps))  # of NumPy's numbers and tensors, too
        if not 0 <= self.eps < float("inf"):
            raise ValueError(f"eps is {self.eps}; allowed are 0 and more, in pixels of [0, 1]")


class L2(_Radius):
    """The ball ‖δ‖₂ ≤ eps, per image over all its pixels; eps in pixels of [0, 1]."""

    def random_start(self, x: Tensor, generator: Generator | None = None) -> Tensor:
        """Draw δ uniformly from the ball: a direction, and a radius of density ∝ r^(d − 1)."""
        direction = _unit(torch.randn(x.shape, generator=generator).to(x.device))
        radius = torch.rand(len(x), 1, 1, 1, generator=generator).to(x.device)
        return self.eps * radius ** (1 / x.shape[1:].numel()) * direction

    def ascent(self, gradient: Tensor) -> Tensor:
        """Return the direction of steepest ascent: the gradient over its own norm."""
        return _unit(gradient)

    def project(self, delta: Tensor) -> Tensor:
        """Return the point of the ball nearest to δ."""
        return delta * (self.eps / _positive_norm(delta)).clamp_max(1)


class Linf(_Radius):
    """The ball max |δ| ≤ eps; eps in pixels of [0, 1], as in 8/255."""

    def random_start(self, x: Tensor, generator: Generator | None = None) -> Tensor:
        """Draw δ uniformly from the ball."""
        return self.eps * (2 * torch.rand(x.shape, generator=generator).to(x.device) - 1)

    def ascent(self, gradient: Tensor) -> Tensor:
        """Return the direction of steepest ascent: the gradient's signs."""
        return gradient.sign()

    def project(self, delta: Tensor) -> Tensor:
        """Return the point of the ball nearest to δ."""
        return delta.clamp(-self.eps, self.eps)


Ball = L2 | Linf
BALLS: dict[str, type[L2] | type[Linf]] = {"l2": L2, "linf": Linf}
"""The balls by the names of their norms."""


def _positive_norm(x):
    """ℓ2 norm of each image, (N, 1, 1, 1), above 0 so that it can be divided by."""
    norm = x.flatten(1).norm(dim=1)[:, None, None, None]
    return norm.clamp_min(torch.finfo(x.dtype).tiny)


def _unit(x):
    """Each image over its norm; an image of zeros stays zero."""
    # First over its largest value: the squares of a confident network's gradients underflow.
    largest = x.abs().amax((1, 2, 3), keepdim=True)
    x = x / largest.clamp_min(torch.finfo(x.dtype).tiny)
    return x / _positive_norm(x)
