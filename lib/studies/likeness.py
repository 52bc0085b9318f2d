"""How like a synthesised image is to what it should show: for pixels, and for judges.

A judge is a network that had no part in making the image, and that knows the class by one cue
alone: by the shape, or by the texture. What it recognises, the image shows.
"""

from collections.abc import Iterable, Mapping, Sequence

import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from lib import microcosm
from lib.attacks import evaluating
from lib.images import Images
from lib.training import pixels

SPREAD = 0.1
"""Largest standard deviation of the noise on what judges learn from, in pixels of [0, 1]."""


def lessons(cue: str, n: int, seed: int, *, size: int = microcosm.SIZE) -> Images:
    """Draw the images from which a judge learns: one cue tells the class, the other nothing.

    cue: "shape" or "texture"; the other one is drawn of a class at random. n, seed, size: as in
    `lib.microcosm.draw`. Noise is added of a standard deviation from 0 to SPREAD, another for each
    image, so that the noise in which a synthesis starts does not by itself blind the judge.

    Returns Images of uint8 (n, 3, size, size), labelled with the cue's class. Raises ValueError as
    `draw` does.
    """
    drawn = microcosm.one_cue({"shape": "shapes", "texture": "gratings"}[cue], n, seed, size=size)
    x, generator = pixels(drawn.x), torch.Generator().manual_seed(seed)
    strength = SPREAD * torch.rand(n, 1, 1, 1, generator=generator)
    noisy = x + strength * torch.randn(x.shape, generator=generator)
    return Images((255 * noisy.clamp(0, 1)).round().to(torch.uint8), drawn.y, microcosm.CLASSES)


@torch.no_grad()
def opinions(judges: Iterable[nn.Module], x: Tensor) -> Tensor:
    """Return the probabilities (J, N, C) that judges give the classes of float x (N, 3, H, W)."""
    answers = []
    for judge in judges:
        device = next(judge.parameters()).device
        with evaluating(judge):
            answers.append(judge(x.to(device)).softmax(1).cpu())
    return torch.stack(answers)


def right(judges: Iterable[nn.Module], x: Tensor, y: Tensor) -> Tensor:
    """Return the share of judges that name the class of each image, float (N,), 0 to 1.

    x: float (N, 3, H, W) in [0, 1]. y: the classes they should name, int64 (N,).
    """
    return (opinions(judges, x).argmax(2) == y.cpu()).double().mean(0)


def recognised(judges: Mapping[str, Sequence[nn.Module]], x: Tensor, y: Tensor) -> dict[str, float]:
    """Ask judges for the class of images, and count the answers that name the class they should.

    judges: by cue. x: float (N, 3, H, W) in [0, 1]. y: int64 (N,).

    Returns {cue: share of the answers of its networks that are y, 0 to 1}.
    """
    return {cue: float(right(networks, x, y).mean()) for cue, networks in judges.items()}


def order(judges: Iterable[nn.Module], frames: Tensor, y_from: Tensor, y_to: Tensor) -> float:
    """Tell how steadily frames go over from one class to another, to the eyes of judges.

    frames: float (T, N, 3, H, W) in [0, 1], N sequences of T frames, two or more. y_from, y_to:
    int64 (N,).

    Returns the mean over judges and sequences of Spearman's rank correlation between a frame's
    number and log p(y_to) − log p(y_from): 1 where each frame is nearer to y_to than the one
    before. Sequences that never change count as 0.
    """
    logs = opinions(judges, frames.flatten(0, 1)).clamp_min(1e-30).log()
    logs = logs.unflatten(1, frames.shape[:2])  # (J, T, N, C)
    first, last = (y.cpu().expand(*logs.shape[:3]).unsqueeze(3) for y in (y_from, y_to))
    odds = (logs.gather(3, last) - logs.gather(3, first))[..., 0].transpose(1, 2).flatten(0, 1)
    ranks = [
        float(spearmanr(range(len(row)), row).statistic) if len(row.unique()) > 1 else 0.0
        for row in odds
    ]
    return sum(ranks) / len(ranks)


def covered(found: Tensor, start: Tensor, goal: Tensor) -> Tensor:
    """Return the share of the way from `start` to `goal` that images have covered, of each (N,).

    1 − ‖found − goal‖₂ / ‖start − goal‖₂ over all pixels: 1 at the goal, 0 no nearer than at the
    start, negative farther off. All (N, 3, H, W); no start may be its own goal.
    """
    left, whole = ((part - goal).flatten(1).norm(dim=1) for part in (found, start))
    return 1 - left / whole


def similarity(found: Tensor, goal: Tensor) -> Tensor:
    """Return the structural similarity of each pair of images, (N,), 1 where they are equal.

    Wang et al. (2004), as scikit-image computes it, in windows of 7 pixels. found, goal: float
    (N, 3, H, W) in [0, 1], of 7 pixels a side or more.
    """
    from skimage.metrics import structural_similarity  # slow to import

    pairs = zip(found.cpu().numpy(), goal.cpu().numpy(), strict=True)
    return torch.tensor(
        [structural_similarity(a, b, channel_axis=0, data_range=1.0) for a, b in pairs]
    )


def masks(n: int, seed: int, *, size: int = microcosm.SIZE) -> Tensor:
    """Return the pixels that shapes of `microcosm.draw(n, seed)` cover, bool (n, size, size).

    The truth, from drawing the same images with and without a shape; pixels on an outline count.
    """
    with_shape, without = (
        microcosm.draw(n, seed, contrast=(c, c), amplitude=0, size=size).x.int() for c in (1.0, 0.0)
    )
    return ((with_shape - without).abs() > 2).any(1)


def concentration(energy: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
    """Tell how much of each map's energy lies inside its own mask.

    energy: float (N, H, W), not negative. inside: bool (N, H, W), no mask empty, N at least 2.

    Returns two tensors (N,): the energy of a pixel inside, on average, over that of a pixel of
    the whole map; and the same inside the other images' masks, averaged over them. Noise has 1
    and 1; a map that prefers the centre, whatever the image, the same number twice. A map of
    zeros counts as noise.
    """
    area = inside.flatten(1).sum(1)
    energy, inside = energy.flatten(1).double(), inside.flatten(1).double()
    energy = torch.where(energy.sum(1, keepdim=True) > 0, energy, 1.0)
    density = energy @ (inside / area[:, None]).T  # (N maps, N masks): energy a pixel
    own = density.diagonal()
    others = (density.sum(1) - own) / (len(own) - 1)
    return own / energy.mean(1), others / energy.mean(1)


def favourites(features: Tensor, y: Tensor) -> Tensor:
    """Name for each feature the class whose images have most of it, on average.

    features: float (N, d). y: int64 (N,), each class at least once. Returns int64 (d,).
    """
    means = torch.stack([features[y == label].mean(0) for label in y.unique()])
    return y.unique()[means.argmax(0).cpu()]


def elsewhere(y: Tensor, pool: Tensor, seed: int) -> Tensor:
    """Choose for each class wanted an image that shows another class.

    y: int64 (N,), the classes wanted. pool: int64 (M,), the classes of the images there are.
    seed: of the choice. Returns positions in the pool, int64 (N,). Raises ValueError where the
    pool holds one class only.
    """
    differs = pool[None, :] != y[:, None]
    if not bool(differs.any(1).all()):
        raise ValueError("all images show the class that is wanted; give images of other classes")
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.rand(differs.shape, generator=generator)
    return torch.where(differs, drawn, -1.0).argmax(1)
