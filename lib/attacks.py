"""Projected gradient descent in the ℓ2 and ℓ∞ balls of pixel space."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import cross_entropy


@dataclass(frozen=True)
class _Radius:
    eps: float

    def __post_init__(self) -> None:
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


def pgd(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    ball: Ball,
    *,
    steps: int,
    alpha: float | Sequence[float] | None = None,
    random_start: bool = True,
    restarts: int = 1,
    seed: int = 0,
) -> Tensor:
    """Search the ball around each image for the point of highest loss.

    Projected gradient descent (Madry et al., 2018, section 2.1).

    model: maps (N, C, H, W) in [0, 1] to logits (N, K); attacked in eval
    mode, left in its own. x: float (N, C, H, W) in [0, 1]. y: int64 (N,).
    steps: gradient steps, 0 or more. alpha: step size in pixels, the same
    for all steps or one for each; None is 2.5 · eps / steps. random_start:
    begin at a random point of the ball, else at x. restarts: independent
    searches; of each image the worst case is kept: a misclassified point
    before any other, then the higher loss. seed: of the random starts.

    Returns x_adv, float (N, C, H, W), inside the ball and [0, 1].
    Raises ValueError for steps < 0, restarts < 1, alpha < 0, a number of
    alphas other than that of steps, or pixels outside [0, 1].
    """
    if restarts < 1:
        raise ValueError(f"restarts is {restarts}; allowed are 1 and more")
    alphas = _step_sizes(x, ball, steps, alpha)
    generator, worst = torch.Generator().manual_seed(seed), None
    with evaluating(model):
        for _ in range(restarts):
            delta = ball.random_start(x, generator) if random_start else torch.zeros_like(x)
            x_adv = (x + delta).clamp(0, 1)
            for size in alphas:
                gradient = input_gradient(model, x_adv, y)
                delta = ball.project(x_adv + size * ball.ascent(gradient) - x)
                x_adv = (x + delta).clamp(0, 1)
            if restarts == 1:
                return x_adv
            worst = _worse(worst, (x_adv, *_badness(model, x_adv, y)))
    return worst[0]  # type: ignore[index]


def survives(
    model: nn.Module, x: Tensor, y: Tensor, ball: Ball, alphas: Sequence[float], *, seed: int = 0
) -> Tensor:
    """Tell of each image, bool (N,), whether the model is right at every point of one search.

    The points are those that `pgd` visits from its random start. An image that is misclassified
    at one of them is lost, wherever the search would end, and is not followed any further.

    alphas: the size of each step. The rest, and what is raised: as in `pgd`.
    """
    alphas = _step_sizes(x, ball, len(alphas), alphas)
    right = torch.ones(len(x), dtype=torch.bool, device=x.device)
    left = torch.arange(len(x), device=x.device)
    with evaluating(model):
        delta = ball.random_start(x, torch.Generator().manual_seed(seed))
        x_adv = (x + delta).clamp(0, 1)
        for size in alphas:
            gradient, logits = _gradient_and_logits(model, x_adv, y)
            stands = logits.argmax(1) == y
            right[left[~stands]] = False
            if not stands.any():
                return right
            left, x, y, x_adv, gradient = (v[stands] for v in (left, x, y, x_adv, gradient))
            delta = ball.project(x_adv + size * ball.ascent(gradient) - x)
            x_adv = (x + delta).clamp(0, 1)
        with torch.no_grad():
            right[left] = model(x_adv).argmax(1) == y
    return right


def equal_steps(eps: float, steps: int) -> list[float]:
    """List equal step sizes of 2.5 · eps / steps, the rule of the paper's evaluation."""
    return [2.5 * eps / steps] * steps if steps > 0 else []


def long_then_short(eps: float, steps: int) -> list[float]:
    """List step sizes that fall from eps to 0 along a cosine, for an attack that measures.

    Equal steps of 2.5 · eps / steps end after a path of 2.5 · eps however many they are. Across
    the curved loss of a natural network that is too short: more steps then find few more errors,
    and its robust accuracy looks higher than it is.
    """
    return [eps * (1 + math.cos(math.pi * step / steps)) / 2 for step in range(steps)]


def input_gradient(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Return the gradient (N, C, H, W) of each image's own cross-entropy with respect to it."""
    return _gradient_and_logits(model, x, y)[0]


def check_pixels(x: Tensor) -> None:
    """Raise ValueError where pixels (N, C, H, W) lie outside [0, 1], or are not numbers."""
    if len(x) and not 0 <= float(x.min()) <= float(x.max()) <= 1:
        low, high = float(x.min()), float(x.max())
        raise ValueError(f"pixels run from {low:.3g} to {high:.3g}; expected them in [0, 1]")


@torch.no_grad()
def _badness(model, x, y):
    """Tell of each image whether it is misclassified, bool (N,), and its cross-entropy (N,)."""
    logits = model(x)
    return logits.argmax(1) != y, cross_entropy(logits, y, reduction="none")


def _worse(kept, found):
    """Keep of each image the worse of two searches, each (x_adv, misclassified, loss)."""
    if kept is None:
        return found
    (_, lost, loss), (_, lost_found, loss_found) = kept, found
    better = (lost_found & ~lost) | ((lost_found == lost) & (loss_found > loss))
    return tuple(
        torch.where(better.view(-1, *[1] * (old.ndim - 1)), new, old)
        for old, new in zip(kept, found, strict=True)
    )


@contextmanager
def evaluating(model: nn.Module) -> Iterator[nn.Module]:
    """Put the model, and each module in it, in eval mode, and back in its own mode after."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield model
    finally:
        for module, mode in modes:
            module.training = mode


def _gradient_and_logits(model, x, y):
    """Return the gradient as `input_gradient` does, and the logits (N, K) at x."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        logits = model(x)
        # The sum, not the mean: an image's gradient must not depend on how many others there are.
        loss = cross_entropy(logits, y, reduction="sum")
        return torch.autograd.grad(loss, x)[0], logits.detach()


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


def _step_sizes(x, ball, steps, alpha):
    """List the size of each step, or raise ValueError as `pgd` does."""
    if alpha is None:
        alphas = equal_steps(ball.eps, steps)
    else:
        alphas = [alpha] * steps if isinstance(alpha, int | float) else list(alpha)
    smallest = min(alphas, default=0)
    if steps < 0 or smallest < 0:
        raise ValueError(f"steps is {steps}, the smallest alpha {smallest}; allowed are 0 and more")
    if len(alphas) != steps:
        raise ValueError(f"alpha holds {len(alphas)} step sizes for {steps} steps")
    check_pixels(x)
    return alphas
