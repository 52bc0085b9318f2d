"""Projected gradient descent, for training and for measuring."""

import math
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lib.balls import BALLS, L2, Ball, Linf  # noqa: F401, all that an attack needs, from one place

Loss = Callable[[Tensor, Tensor], Tensor]
"""What a search climbs: maps logits (N, K) and labels (N,) to a number for each image, (N,)."""
DAMAGED = "its weights are damaged, its precision is too small, or its lr was too high"


class NotFinite(ValueError):
    """A loss, weights, logits or features that are no numbers any more."""


def cross_entropy_of_each(logits: Tensor, y: Tensor) -> Tensor:
    """Return the cross-entropy of each image (N,), which training minimises."""
    return cross_entropy(logits, y, reduction="none")


def weighted_margin(logits: Tensor, y: Tensor) -> Tensor:
    """Return by how much the other classes are ahead of an image's own, (N,), the nearest most.

    It is Σ w_j (z_j − z_y) over the others, w the softmax of 3 (z_j − z_y) / |max_j z_j − z_y|,
    held constant. Its gradient has the direction of cross-entropy's for logits scaled such that
    the own class leads by 3. So it is the same for a network whose logits are all a thousand
    times larger, where the gradient of cross-entropy vanishes in float32, or smaller, as those of
    a barely trained head, where cross-entropy attends to all classes alike instead of the few that
    can be reached. Quotients of differences of logits: after DLR (Croce and Hein, 2020, eq. 5).
    """
    ahead = logits - logits.gather(1, y[:, None])
    with torch.no_grad():
        others = ahead.scatter(1, y[:, None], -torch.inf)
        lead = others.amax(1, keepdim=True).abs().clamp_min(torch.finfo(ahead.dtype).tiny)
        weights = (3 * (others / lead)).softmax(1)
    return (weights * ahead).sum(1)


def pgd(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    ball: Ball,
    *,
    steps: int,
    alpha: float | Sequence[float] | None = None,
    random_start: bool = True,
    seed: int = 0,
    loss: Loss = cross_entropy_of_each,
) -> Tensor:
    """Search the ball around each image for the point of highest loss.

    Projected gradient descent (Madry et al., 2018, section 2.1).

    model: maps (N, C, H, W) in [0, 1] to logits (N, K), in any precision;
    attacked in eval mode, left in its own. x: float (N, C, H, W) in [0, 1],
    searched in float32 or, if it is that, float64. y: int64 (N,).
    steps: gradient steps, 0 or more. alpha: step size in pixels, the same
    for all steps or one for each; None is 2.5 · eps / steps. random_start:
    begin at a random point of the ball, else at x. seed: of the random start.
    loss: what is climbed, `cross_entropy_of_each` or `weighted_margin`.

    Returns x_adv, of x's type (N, C, H, W), inside the ball and [0, 1].
    Raises ValueError for steps < 0, alpha < 0, a number of alphas other than
    that of steps, or pixels outside [0, 1], and NotFinite where the network's
    logits or their gradients are not finite.
    """
    alphas = _step_sizes(ball, steps, alpha)
    check_pixels(x)
    given, x = x.dtype, x.to(torch.promote_types(x.dtype, torch.float32))
    generator = torch.Generator().manual_seed(seed)
    delta = ball.random_start(x, generator) if random_start else torch.zeros_like(x)
    x_adv = (x + delta).clamp(0, 1)
    with evaluating(model):
        for size in alphas:
            gradient, _ = _gradient_and_logits(model, x_adv, y, loss)
            delta = ball.project(x_adv + size * ball.ascent(gradient) - x)
            x_adv = (x + delta).clamp(0, 1)
    check_finite([x_adv], "the network's logits, or their gradients,", DAMAGED)
    return x_adv.to(given)


def survives(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    ball: Ball,
    alphas: Sequence[float],
    *,
    seed: int = 0,
    loss: Loss = weighted_margin,
) -> tuple[Tensor, Tensor]:
    """Tell of each image whether the model is right at every point of one search.

    The points are those that `pgd` visits from its random start. An image that is misclassified
    at one of them is lost, wherever the search would end, and is not followed any further.

    alphas: the size of each step. The rest, and what is raised: as in `pgd`.

    Returns right, bool (N,), and of those that are, blind, bool (N,): whether no step had a
    gradient to follow, each being exactly 0. Nothing is known of what these withstand.
    """
    alphas = _step_sizes(ball, len(alphas), alphas)
    check_pixels(x)
    right = torch.ones(len(x), dtype=torch.bool, device=x.device)
    blind, left = right.clone(), torch.arange(len(x), device=x.device)
    with evaluating(model):
        delta = ball.random_start(x, torch.Generator().manual_seed(seed))
        x_adv = (x + delta).clamp(0, 1)
        for size in alphas:
            gradient, logits = _gradient_and_logits(model, x_adv, y, loss)
            check_finite([logits], "the network's logits", DAMAGED)
            blind[left[gradient.flatten(1).any(1)]] = False
            stands = logits.argmax(1) == y
            right[left[~stands]] = False
            if not stands.any():
                return right, blind & right
            left, x, y, x_adv, gradient = (v[stands] for v in (left, x, y, x_adv, gradient))
            delta = ball.project(x_adv + size * ball.ascent(gradient) - x)
            x_adv = (x + delta).clamp(0, 1)
        with torch.no_grad():
            logits = logits_of(model, x_adv)
            check_finite([logits], "the network's logits", DAMAGED)
            right[left] = logits.argmax(1) == y
    return right, blind & right


def equal_steps(eps: float, steps: int) -> list[float]:
    """List equal step sizes of 2.5 · eps / steps, the rule of the paper's evaluation."""
    return [2.5 * eps / steps for _ in range(steps)]


def long_then_short(eps: float, steps: int) -> list[float]:
    """List step sizes that fall from eps to 0 along a cosine, for an attack that measures.

    Equal steps of 2.5 · eps / steps end after a path of 2.5 · eps however many they are. Across
    the curved loss of a natural network that is too short: more steps then find few more errors,
    and its robust accuracy looks higher than it is.
    """
    return [eps * (1 + math.cos(math.pi * step / steps)) / 2 for step in range(steps)]


def input_gradient(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Return the gradient (N, C, H, W) of each image's own cross-entropy with respect to it."""
    return _gradient_and_logits(model, x, y, cross_entropy_of_each)[0]


def logits_of(model: nn.Module, x: Tensor) -> Tensor:
    """Return the logits (N, K) of a network of any precision, in float32 at least.

    x: float (N, C, H, W); the network is shown it in the precision of its own first weights.
    """
    first = next(model.parameters(), x)
    logits = model(x.to(first.dtype) if first.is_floating_point() else x)
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def check_finite(tensors: Iterable[Tensor], what: str, remedy: str) -> None:
    """Raise NotFinite, saying what they are and what to do, unless all tensors are finite."""
    if not all(bool(tensor.isfinite().all()) for tensor in tensors):
        raise NotFinite(f"{what} are not finite; {remedy}")


def whole(name: str, value: object, least: int) -> int:
    """Return a whole number, NumPy's or a tensor's too, or raise ValueError where it is none."""
    with suppress(TypeError):
        if (number := operator.index(value)) >= least:  # type: ignore[arg-type]
            return number
    raise ValueError(f"{name} is {value}; allowed are whole numbers of {least} and more")


def check_pixels(x: Tensor) -> None:
    """Raise ValueError where pixels (N, C, H, W) lie outside [0, 1], or are not numbers."""
    if len(x) and not 0 <= float(x.min()) <= float(x.max()) <= 1:
        low, high = float(x.min()), float(x.max())
        raise ValueError(f"pixels run from {low:.3g} to {high:.3g}; expected them in [0, 1]")


@contextmanager
def evaluating(model: nn.Module) -> Iterator[nn.Module]:
    """Put the model, and each module in it, in eval mode, and back in its own mode after."""
    modes = [(module, module.training) for module in model.modules()]
    with suppress(NotImplementedError):  # an exported network has one mode, and no other
        model.eval()
    try:
        yield model
    finally:
        for module, mode in modes:
            module.training = mode


def _gradient_and_logits(model, x, y, loss):
    """Return the gradient (N, C, H, W) of each image's own loss, and the logits (N, K) at x."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        logits = logits_of(model, x)
        # The sum, not the mean: an image's gradient must not depend on how many others there are.
        return torch.autograd.grad(loss(logits, y).sum(), x)[0], logits.detach()


def _step_sizes(ball, steps, alpha):
    """List the size of each step, or raise ValueError as `pgd` does."""
    steps = whole("steps", steps, 0)
    found = equal_steps(ball.eps, steps) if alpha is None else alpha
    try:  # numbers of any library
        one = np.ndim(found) == 0
        sizes = [float(found)] * steps if one else [float(size) for size in found]
    except (TypeError, ValueError):
        raise ValueError(f"alpha is {alpha!r}; give a step size in pixels, or a list") from None
    if len(sizes) != steps:
        raise ValueError(f"alpha holds {len(sizes)} step sizes for {steps} steps")
    if wrong := [size for size in sizes if not 0 <= size < math.inf]:
        raise ValueError(f"alpha {wrong[0]} is no size of a step; allowed are 0 and more")
    return sizes
