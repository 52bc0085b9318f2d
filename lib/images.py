"""The one form in which images travel through the book."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch

SPLITS = ("train", "test")
# Share of a set that comes without a split of its own which is kept for testing.
TEST_SHARE = 0.3
LOOKED_AT = 1000
"""Images from which is told what a set is like."""


@dataclass(frozen=True)
class Images:
    """Labelled images of one split of one data set.

    x: uint8 (N, 3, H, W), 0 to 255; divided by 255 they are the pixels in [0, 1] in which
    every ε of the book is measured. y: int64 (N,), indices into `classes`.

    Raises ValueError where shapes, types or labels do not fit together.
    """

    x: torch.Tensor
    y: torch.Tensor
    classes: tuple[str, ...]

    def __post_init__(self):
        if self.x.dtype != torch.uint8 or self.x.ndim != 4 or self.x.shape[1] != 3:
            raise ValueError(
                f"images are {self.x.dtype} {tuple(self.x.shape)}; expected uint8 (N, 3, H, W)"
            )
        if self.y.dtype != torch.int64 or self.y.shape != self.x.shape[:1]:
            raise ValueError(
                f"labels are {self.y.dtype} {tuple(self.y.shape)}; "
                f"expected int64 ({len(self.x)},), one for each image"
            )
        if len(self.y) and not 0 <= int(self.y.min()) <= int(self.y.max()) < len(self.classes):
            raise ValueError(
                f"labels run from {int(self.y.min())} to {int(self.y.max())}; "
                f"allowed are 0 to {len(self.classes) - 1}, the {len(self.classes)} classes"
            )

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: slice | Sequence[int] | torch.Tensor) -> "Images":
        """Return the images at `index`: a slice, or a 1-d tensor or list of positions."""
        return Images(self.x[index], self.y[index], self.classes)


def scale(x: torch.Tensor, size: int) -> torch.Tensor:
    """Scale square uint8 images (N, C, H, H) to (N, C, size, size)."""
    if x.shape[-1] == size:
        return x
    scaled = torch.nn.functional.interpolate(
        x.float(), (size, size), mode="bilinear", antialias=True
    )
    return scaled.round().clamp(0, 255).to(torch.uint8)


def held_out(y: torch.Tensor) -> torch.Tensor:
    """Tell of each image of a set without a split, bool (N,), whether it is kept for testing.

    y: int64 (N,). TEST_SHARE of each class, at least one image, chosen at random but always the
    same.
    """
    generator = torch.Generator().manual_seed(0)
    chosen = torch.zeros(len(y), dtype=torch.bool)
    for label in y.unique():
        members = (y == label).nonzero().flatten()
        members = members[torch.randperm(len(members), generator=generator)]
        chosen[members[: max(1, round(TEST_SHARE * len(members)))]] = True
    return chosen


def indices(name: str, value: torch.Tensor | Sequence[int], n: int, count: int) -> torch.Tensor:
    """Return indices below `count`, one for each of n images, as int64 (n,).

    name: what a message calls them. Raises ValueError for another number of them, and for one that
    is below 0, or `count` and more.
    """
    value = torch.as_tensor(value, dtype=torch.int64)
    expected = f"expected {n} indices of 0 to {count - 1}, one an image"
    if value.shape != (n,):
        raise ValueError(f"{name} has shape {tuple(value.shape)}; {expected}")
    if n and not 0 <= int(value.min()) <= int(value.max()) < count:
        raise ValueError(f"{name} runs from {int(value.min())} to {int(value.max())}; {expected}")
    return value


def digest(images: Images) -> str:
    """Return the sha256 hex of the pixels, labels and classes of Images."""
    content = hashlib.sha256(repr((images.x.shape, images.classes)).encode())
    content.update(images.x.contiguous().numpy())
    content.update(images.y.contiguous().numpy())
    return content.hexdigest()


def subset(images: Images, n: int, seed: int) -> Images:
    """Return n of the images, chosen as `choose` does."""
    return images[choose(images, n, seed)]


def sample(images: Images, n: int, seed: int) -> Images:
    """Return n of the images to look at: as `subset` does, but fewer than one a class, too.

    n: 1 to all there are. Raises ValueError for any other n.
    """
    if not 1 <= n <= len(images):
        raise ValueError(f"n is {n}; allowed are 1 to {len(images)}, all there are")
    return images[_even_order(images.y, seed)[:n]]


def choose(images: Images, n: int, seed: int) -> torch.Tensor:
    """Choose n images, as evenly over the classes as they reach.

    n: from the number of classes, so that each is seen, to all. seed: of the choice; with the
    same seed a smaller choice lies within a larger one.

    Returns their positions, int64 (n,). Raises ValueError for any other n.
    """
    return positions(images.y, n, seed)


def positions(y: torch.Tensor, n: int, seed: int) -> torch.Tensor:
    """Choose n positions by their labels alone, int64 (N,), as `choose` does."""
    low = len(y.unique())
    if not low <= n <= len(y):
        raise ValueError(
            f"n is {n}; allowed are {low}, one image a class, to {len(y)}, all there are"
        )
    return _even_order(y, seed)[:n]


def _even_order(y, seed):
    """Put positions in random order, the first image of each class before any second one."""
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
    # The place of each image within its own class: all first ones, then all second ones, …
    place = torch.empty(len(y), dtype=torch.int64)
    for label in y.unique():
        members = order[y[order] == label]
        place[members] = torch.arange(len(members))
    return order[place[order].argsort(stable=True)]


def doubling(
    images: Images, largest: int = 0, smallest: int = 0, everything: bool = False
) -> list[int]:
    """Return training-set sizes: `smallest`, doubled as often as it goes, and `largest`.

    smallest: at least one a class, or 0 for two a class. largest: 0 for all there are. everything:
    whether all there are is one more size. Raises ValueError for others, and where the largest is
    more than the set holds or less than the smallest.
    """
    classes, held = len(images.y.unique()), len(images)
    if smallest and not classes <= smallest <= held:
        raise ValueError(
            f"the smallest n is {smallest}; allowed are {classes}, one a class, to {held}, or 0"
        )
    start = smallest or 2 * classes
    stop = largest or held
    if not min(start, held) <= stop <= held:
        raise ValueError(f"the largest n is {stop}; allowed are {start} to {held}, all there are")
    sizes = []
    while start < stop:
        sizes.append(start)
        start *= 2
    return [*sizes, stop, *([held] if everything and stop < held else [])]


def fine_detail(images: Images, finest: float = 0.2) -> float:
    """Return how much of what varies in images is finer than so many cycles a pixel, 0 to 1.

    The share of the power of their spectra, without that of the mean colour, of at most LOOKED_AT
    images. finest: in cycles a pixel, 0 to 0.7.
    """
    x = sample(images, min(LOOKED_AT, len(images)), seed=0).x
    power = sum(torch.fft.fft2(some.float()).abs().square().sum((0, 1)) for some in x.split(32))
    power[0, 0] = 0
    height, width = (torch.fft.fftfreq(side) for side in power.shape)
    fine = power[torch.hypot(height[:, None], width) > finest]
    return float(fine.sum() / power.sum().clamp(min=1e-9))
