"""The one form in which images travel through the book."""

import hashlib
from dataclasses import dataclass

import torch

SPLITS = ("train", "test")
# Share of a set that comes without a split of its own which is kept for testing.
TEST_SHARE = 0.3


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

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        """Return the images at `index`: a slice, or a 1-d tensor or list of positions."""
        return Images(self.x[index], self.y[index], self.classes)


def scale(x, size):
    """Scale square uint8 images (N, C, H, H) to (N, C, size, size)."""
    if x.shape[-1] == size:
        return x
    scaled = torch.nn.functional.interpolate(
        x.float(), (size, size), mode="bilinear", antialias=True
    )
    return scaled.round().clamp(0, 255).to(torch.uint8)


def held_out(y):
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


def digest(images):
    """Return the sha256 hex of the pixels, labels and classes of Images."""
    found = hashlib.sha256(repr((images.x.shape, images.classes)).encode())
    found.update(images.x.contiguous().numpy())
    found.update(images.y.contiguous().numpy())
    return found.hexdigest()
