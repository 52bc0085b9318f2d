"""Kinds of sources: what their training shows in place of the images, a class for each.

A new kind is one more class here: its name and one number stand for it on command lines, in the
parameters of chapters, in rows and in figures.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lib.attacks import L2, Ball, Linf


@dataclass(frozen=True)
class Kind:
    """A way of training a source, natural where nothing below is otherwise.

    name: what command lines and rows call it, before its amount. symbol: what figures call it, if
    not by its name. letter: what stands for the amount in a message. amount: above 0, at most
    `most` and finite; any other is a ValueError. norm: `L2` or `Linf`, where training shows the
    worst cases in a ball, whose radius is the amount.
    """

    amount: float
    name: ClassVar[str]
    symbol: ClassVar[str] = ""
    letter: ClassVar[str]
    most: ClassVar[float] = math.inf
    norm: ClassVar[type[Ball] | None] = None

    def __post_init__(self) -> None:
        if not 0 < self.amount <= self.most or self.amount == math.inf:
            limit = f" and at most {self.most:g}" if self.most < math.inf else ""
            raise ValueError(f"{self.name} is {self.amount}; allowed is a number above 0{limit}")

    def __str__(self) -> str:
        return f"{self.symbol or self.name} {self.amount:g}"

    @property
    def ball(self) -> Ball | None:
        """The ball whose worst cases training shows, or None."""
        return self.norm(self.amount) if self.norm else None

    def shown(self, x: Tensor, seed: int) -> Tensor:
        """Return what training shows of a batch, where it is no worst case.

        x: float (N, C, H, W) in [0, 1], and so is what is returned. seed: of what is drawn.
        """
        return x

    def enough(self, accuracy: float) -> bool:
        """Tell whether training ends after an epoch of this accuracy, 0 to 1, on what it shows."""
        return False


class L2Ball(Kind):
    """Worst cases in the ℓ2 ball of a radius in pixels of [0, 1]."""

    name, symbol, letter, norm = "l2", "ℓ2", "EPS", L2


class LinfBall(Kind):
    """Worst cases in the ℓ∞ ball of a radius in pixels of [0, 1], which figures give in 1/255."""

    name, symbol, letter, norm = "linf", "ℓ∞", "EPS", Linf

    def __str__(self) -> str:
        return f"{self.symbol} {255 * self.amount:.3g}/255"


class Noise(Kind):
    """Gaussian noise on every pixel, of a standard deviation in pixels, clamped to [0, 1]."""

    name, letter = "noise", "SIGMA"

    def shown(self, x: Tensor, seed: int) -> Tensor:
        """Add noise that differs by batch."""
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))
        return (x + self.amount * noise.to(x.device)).clamp(0, 1)


class LowPass(Kind):
    """Images blurred so that the amplitude of a frequency, in cycles per pixel, is halved."""

    name, letter = "low-pass", "CUTOFF"

    def shown(self, x: Tensor, seed: int) -> Tensor:
        """Blur the images."""
        return low_passed(x, self.amount).clamp(0, 1)


class Until(Kind):
    """The images as they are, until an epoch's accuracy on them, 0 to 1, is reached."""

    name, letter, most = "natural until", "ACCURACY", 1.0

    def enough(self, accuracy: float) -> bool:
        """End after the epoch that reaches it."""
        return accuracy >= self.amount


KINDS: dict[str, type[Kind]] = {
    kind.name: kind for kind in (L2Ball, LinfBall, Noise, LowPass, Until)
}
"""The kinds by their names, in the order of figures and tables."""


def low_passed(x: Tensor, cutoff: float) -> Tensor:
    """Blur by a Gaussian that halves the amplitude at `cutoff`.

    x: (N, 3, H, W), reflected at its borders. cutoff: frequency in cycles per pixel, above 0; 0.5
    is the finest grating pixels can show. Returns float of x's shape and range. Raises ValueError
    for a cutoff ≤ 0.
    """
    # Imported here, since it takes two seconds that most who import this do not need.
    from torchvision.transforms.v2.functional import gaussian_blur

    if not cutoff > 0:
        raise ValueError(f"cutoff is {cutoff}; allowed is above 0, in cycles per pixel")
    # A Gaussian of σ pixels passes exp(−2 π² σ² f²) of the frequency f.
    sigma = math.sqrt(math.log(2) / 2) / (math.pi * cutoff)
    reach = min(math.ceil(4 * sigma), min(x.shape[2:]) - 1)  # reflection goes no further
    return gaussian_blur(x.float(), 2 * reach + 1, sigma) if reach else x.float()
