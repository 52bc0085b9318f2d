"""Seeing a representation: images descended in pixel space to what a network's features ask for."""

from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

from lib.attacks import L2, Ball, check_pixels, evaluating, input_gradient, long_then_short
from lib.images import indices

LARGE = 128  # images that the network takes at once; more take longer each, on a CPU
_unit = L2(0.0).ascent  # a gradient over its own norm


def noise(n: int, size: int, seed: int, *, spread: float = 0.1) -> Tensor:
    """Draw images of independent normal pixels around mid-grey, cut at 0 and 1.

    The first n of a longer draw are the same. size: pixels of a side. spread: standard deviation
    of a pixel; 0 is plain grey.

    Returns float (n, 3, size, size) in [0, 1]. Raises ValueError for n < 1, size < 1, spread < 0.
    """
    if n < 1 or size < 1 or not spread >= 0:
        raise ValueError(
            f"n is {n}, size {size}, spread {spread}; allowed are n ≥ 1, size ≥ 1, spread ≥ 0"
        )
    generator = torch.Generator().manual_seed(seed)
    # One image after another: a whole draw of randn depends on its length.
    drawn = [torch.randn(3, size, size, generator=generator) for _ in range(n)]
    return (0.5 + spread * torch.stack(drawn)).clamp(0, 1)


@torch.no_grad()
def vectors(model: nn.Module, x: Tensor) -> Tensor:
    """Return the features (N, d) of the model in eval mode, for float x (N, 3, H, W) in [0, 1]."""
    with evaluating(model):
        return torch.cat([model.features(part) for part in x.split(LARGE)])


def distance(features: Tensor, target: Tensor) -> Tensor:
    """Return ‖features − target‖₂ / ‖target‖₂ of each row (N,): 0 is a match.

    Engstrom et al. (2019, eq. 5). A target of zeros is measured by ‖features‖₂ alone.
    """
    norm = target.norm(dim=1)
    return (features - target).norm(dim=1) / torch.where(norm > 0, norm, 1)


def match(
    model: nn.Module,
    x: Tensor,
    target: Tensor,
    *,
    steps: int = 100,
    size: float = 1.0,
    ball: Ball | None = None,
    keep: Collection[int] = (),
) -> dict[int, Tensor]:
    """Change images until their features are those asked for.

    Minimises `distance` of the model's features to the target (Engstrom et al., 2019, eq. 5),
    each image by itself. Every step moves an image by a set length along its own gradient, then
    back into [0, 1]; the lengths fall along a cosine from `size` to 0, so that the search settles.

    model: used in eval mode and left as it is. x: float (N, 3, H, W) in [0, 1], where the search
    starts. target: features (N, d). size: ℓ2 length of the first step, in pixels of [0, 1]. ball:
    around x, which the images may not leave, or None for all of [0, 1]. keep: steps after which to
    keep a snapshot, 0 (the start) to `steps`.

    Returns images (N, 3, H, W) by step, for those of `keep` and the last, in rising order. Raises
    ValueError for steps < 0, size ≤ 0, a snapshot outside 0 to `steps`, pixels outside [0, 1], and
    a target of another shape than the features.
    """
    expected = (len(x), vectors(model, x[:1]).shape[1])
    if tuple(target.shape) != expected:
        raise ValueError(f"target is {tuple(target.shape)}; expected {expected}, images × features")

    def downhill(x, part):
        return -_gradient(lambda z: distance(model.features(z), target[part]), x)

    return _descend(model, x, downhill, steps=steps, size=size, ball=ball, keep=keep)


def maximise(
    model: nn.Module, x: Tensor, unit: Tensor | Sequence[int], **search
) -> dict[int, Tensor]:
    """Change images so that one feature of each becomes as large as it can be.

    Engstrom et al. (2019, eq. 6). A feature that is 0 all around an image has no gradient there,
    and the image stays as it is. unit: the feature of each image (N,), 0 to d − 1. search, and
    what is returned and raised: as in `match`.
    """
    unit = indices("unit", unit, len(x), vectors(model, x[:1]).shape[1]).to(x.device)

    def uphill(x, part):
        return _gradient(lambda z: model.features(z).gather(1, unit[part, None])[:, 0], x)

    return _descend(model, x, uphill, **search)


def synthesise(
    model: nn.Module, x: Tensor, y: Tensor | Sequence[int], **search
) -> dict[int, Tensor]:
    """Change images so that the model is sure of a class.

    Minimises the cross-entropy of class y (Santurkar et al., 2019, section 3). y: the class asked
    of each image (N,). search, and what is returned and raised: as in `match`.
    """
    y = indices("y", y, len(x), model.head.out_features).to(x.device)

    def downhill(x, part):
        return -input_gradient(model, x, y[part])

    return _descend(model, x, downhill, **search)


def interpolate(
    model: nn.Module, x: Tensor, other: Tensor, *, shares: Sequence[float], **search
) -> Tensor:
    """Move images towards others through the space of features.

    For each share t of the way, 0 to 1, `match` from x to the features (1 − t) R(x) + t R(other)
    (Engstrom et al., 2019, section 4.2). x, other: float (N, 3, H, W) in [0, 1]. search: as in
    `match`, but for `keep`.

    Returns float (len(shares), N, 3, H, W). Raises ValueError for no shares, or shares outside
    0 to 1, for pairs of different shapes, and as `match` does.
    """
    if not shares or not 0 <= min(shares) <= max(shares) <= 1:
        raise ValueError(f"shares are {tuple(shares)}; allowed are one or more, each 0 to 1")
    if x.shape != other.shape:
        raise ValueError(f"images are {tuple(x.shape)} and {tuple(other.shape)}; expected the same")
    here, there = vectors(model, x), vectors(model, other)
    target = torch.cat([(1 - t) * here + t * there for t in shares])
    *_, found = match(model, x.repeat(len(shares), 1, 1, 1), target, **search).values()
    return found.unflatten(0, (len(shares), len(x)))


def saliency(model: nn.Module, x: Tensor, y: Tensor | Sequence[int]) -> Tensor:
    """Return the energy of the loss's gradient in each pixel, (N, H, W), summing to 1 an image.

    The square of the input gradient of the cross-entropy, added over the channels (Simonyan et
    al., 2014; for robust networks Tsipras et al., 2019, section 2.2). An image without any
    gradient gets zeros. x: float (N, 3, H, W) in [0, 1]. y: labels (N,).

    Raises ValueError for labels that are no classes of the model.
    """
    y = indices("y", y, len(x), model.head.out_features).to(x.device)
    with evaluating(model):
        parts = zip(x.split(LARGE), y.split(LARGE), strict=True)
        gradient = torch.cat([input_gradient(model, *part) for part in parts])
    return _unit(gradient).pow(2).sum(1)


def _descend(model, x, direction, *, steps=100, size=1.0, ball=None, keep=()):
    """Take steps of falling length along `direction`, and keep snapshots, as `match` does.

    direction: maps images (n, 3, H, W) and their slice of the batch to gradients, uphill in what
    is wanted.
    """
    if steps < 0 or not 0 < size < float("inf"):
        raise ValueError(f"steps is {steps}, size {size}; allowed are steps ≥ 0, size above 0")
    outside = [step for step in keep if step not in range(steps + 1)]
    if outside:
        raise ValueError(f"keep holds step {outside[0]}; allowed are 0 to {steps}")
    if not len(x):
        raise ValueError("there are no images to start from; give one or more")
    check_pixels(x)
    kept = {step: [] for step in sorted({*keep, steps})}
    lengths = [0.0, *long_then_short(size, steps)]
    with evaluating(model):
        for start in range(0, len(x), LARGE):
            part = slice(start, start + LARGE)
            first = found = x[part].detach()
            for step, length in enumerate(lengths):
                if step:
                    delta = found + length * _unit(direction(found, part)) - first
                    found = (first + (ball.project(delta) if ball else delta)).clamp(0, 1)
                if step in kept:
                    kept[step].append(found)
    return {step: torch.cat(parts) for step, parts in kept.items()}


def _gradient(score, x):
    """Return the gradient (N, C, H, W) of each image's own score (N,) with respect to it."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        return torch.autograd.grad(score(x).sum(), x)[0]
