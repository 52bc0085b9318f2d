"""Random views of images, as the paper's fine-tuning shows them."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

POLICIES = ("none", "crops", "paper")
"""How images are shown: none leaves them as they are, crops pads, crops and turns half of them
round, and paper does as Utrera et al. (2021)."""
BATCH = 128


def is_grey(x: Tensor) -> bool:
    """Tell whether the three channels of images (N, 3, H, W) are all equal."""
    return all(torch.equal(part[:, 0], part[:, c]) for part in x.split(BATCH) for c in (1, 2))


def check_policy(policy: str, views: int) -> None:
    """Raise ValueError for a policy or a number of views that there is not."""
    if policy not in POLICIES:
        raise ValueError(f"augment is {policy!r}; allowed are {', '.join(POLICIES)}")
    if views < 0 or (policy == "none" and views != 1):
        raise ValueError(
            f"views is {views} with augment {policy}; allowed are 1 without augmentation, and "
            "with it 0, new ones in each epoch and none kept, or the number that is kept"
        )


def _drawing(policy, side):
    """Return what draws a view of an image of so many pixels a side."""
    # Imported here, since it takes two seconds that most who import this do not need.
    from torchvision import transforms

    steps = [transforms.RandomCrop(side, padding=4), transforms.RandomHorizontalFlip()]
    if policy == "paper":
        steps += [transforms.ColorJitter(0.25, 0.25, 0.25), transforms.RandomRotation(2)]
    return transforms.Compose(steps)


def one_view(
    x: Tensor,
    positions: Sequence[int] | Tensor,
    number: int,
    *,
    policy: str = "paper",
    seed: int = 0,
) -> Tensor:
    """Draw one random view of each image.

    Padded by 4 pixels, cropped at random, and flipped or not; as the paper's fine-tuning does
    (Utrera et al., 2021), brightness, contrast and saturation changed by up to 25 %, too, and
    turned by up to 2°.

    x: uint8 (N, 3, H, W). positions: of the N images in their set. number: of the view. policy:
    "crops" or "paper". seed: an image's view is drawn by this seed, its position and the number
    alone, whatever other images are drawn beside it.

    Returns uint8 of x's shape.
    """
    draw = _drawing(policy, x.shape[-1])
    drawn = torch.empty_like(x)
    with torch.random.fork_rng(devices=[]):
        for i, position in enumerate(positions):
            # Odd multipliers: different triples give different seeds, as far as 2⁶³ reaches.
            mixed = 0x9E3779B97F4A7C15 * (seed + 1) + 0xD1B54A32D192ED03 * number + int(position)
            torch.manual_seed(mixed % 2**63)
            drawn[i] = draw(x[i])
    return drawn


def flipped(x: Tensor, seed: int) -> Tensor:
    """Mirror half of the images, left to right: the cheapest of all augmentations.

    x: (N, C, H, W). seed: of which ones. Returns x's type and shape.
    """
    drawn = torch.rand(len(x), generator=torch.Generator().manual_seed(seed)).to(x.device)
    return torch.where(drawn[:, None, None, None] < 0.5, x.flip(3), x)


def all_views(x: Tensor, positions: Tensor, count: int, **how) -> Iterator[Tensor]:
    """Yield the images at some positions in batches, uint8 (B, 3, H, W): view 0 of all, view 1, …

    x: uint8 (N, 3, H, W). positions: int64 (n,). count: of views. how: as in `one_view`.
    """
    for number in range(count):
        for part in positions.split(BATCH):
            yield one_view(x[part], part, number, **how)
