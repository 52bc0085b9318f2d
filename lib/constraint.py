"""What a network was trained under, as a value that names itself and knows its order."""

import re
from dataclasses import dataclass
from functools import total_ordering

from lib.attacks import BALLS, Ball


@total_ordering
@dataclass(frozen=True)
class Constraint:
    """What a network was trained under.

    norm: "natural" (nothing), "l2" or "linf" (the worst case in such a ball); or, for a control or
    a network of another origin, what it is called. eps: radius of the ball in pixels of [0, 1],
    above 0; of all others 0.

    As text it is its label, as figures and tables show it: natural, ℓ2 0.25, ℓ∞ 4/255. Sorted,
    natural comes first, then ℓ2 and ℓ∞ balls of growing radius, the controls, and all others by
    name. Raises ValueError for a radius that does not fit the norm.
    """

    norm: str
    eps: float = 0.0

    def __post_init__(self) -> None:
        if (self.norm in BALLS) != (self.eps > 0):
            raise ValueError(f"eps is {self.eps} for {self.norm}; l2 and linf have more than 0")

    @property
    def ball(self) -> Ball | None:
        """The ball that the adversary of the training may use, or None."""
        return BALLS[self.norm](self.eps) if self.norm in BALLS else None

    @property
    def text(self) -> str:
        """What a command line and a file of rows call it, and `parse` reads: l2 0.25."""
        radius = repr(float(self.eps)).removesuffix(".0")  # whatever its digits, it comes back
        return f"{self.norm} {radius}" if self.norm in BALLS else self.norm

    def __str__(self) -> str:
        if self.norm not in BALLS:
            return self.norm
        return f"ℓ2 {self.eps:g}" if self.norm == "l2" else f"ℓ∞ {round(255 * self.eps, 2):g}/255"

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, Constraint):
            return NotImplemented
        return self._order() < other._order()

    def _order(self):
        return ORDER.index(self.norm) if self.norm in ORDER else len(ORDER), self.norm, self.eps

    @classmethod
    def parse(cls, text: str) -> "Constraint":
        """Read the text of a constraint or of a control.

        Raises ValueError for anything but natural, l2 EPS, linf EPS and the names of the controls.
        """
        if text in ORDER and text not in BALLS:
            return cls(text)
        parts = re.fullmatch(r"(l2|linf) +([0-9.]+(?:e-?[0-9]+)?)", text)
        norm, eps = parts.groups() if parts else ("", "")
        try:
            return cls(norm, float(eps))
        except ValueError:  # no match; 1.2.3; a radius of 0
            raise ValueError(
                f"constraint is {text!r}; allowed are natural, l2 EPS and linf EPS"
            ) from None


NATURAL = Constraint("natural")
UNTRAINED = Constraint("untrained")
"""The control: random weights."""
FROM_SCRATCH = Constraint("from scratch")
"""The other control: no source at all, everything trained on the target."""
MIXED_TEXTURES = Constraint("natural, mixed textures")
"""Trained naturally on images whose texture says nothing of the class."""
ORDER = ("natural", "l2", "linf", MIXED_TEXTURES.norm, UNTRAINED.norm, FROM_SCRATCH.norm)


def constraints(l2: list[float], linf: list[float]) -> list[Constraint]:
    """List the constraints of a ladder: natural, then ℓ2, then ℓ∞ balls of growing radius.

    l2, linf: radii, in pixels of [0, 1].
    """
    balls = [Constraint("l2", float(eps)) for eps in l2]
    balls += [Constraint("linf", float(eps)) for eps in linf]
    return [NATURAL, *sorted(balls)]
