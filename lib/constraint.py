"""What a network was trained under, as a value that names itself and knows its order."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import total_ordering
from itertools import pairwise

from lib.attacks import Ball
from lib.kinds import KINDS, Kind


@total_ordering
@dataclass(frozen=True)
class Constraint:
    """What a network was trained under.

    name: "natural" (nothing), a kind of `lib.kinds` (l2, linf, …); or, for a control or a network
    of another origin, what it is called. amount: of the kind, as its ball's radius in pixels of
    [0, 1], above 0; of all others 0.

    As text it is its label, as figures and tables show it: natural, ℓ2 0.25, ℓ∞ 4/255. Sorted,
    natural comes first, then the kinds, each by growing amount, the controls, and all others by
    name. Raises ValueError for an amount that does not fit the name.
    """

    name: str
    amount: float = 0.0

    def __post_init__(self) -> None:
        if self.kind is None and self.amount != 0:
            raise ValueError(f"{self.name} takes no number, and {self.amount} is given")

    @property
    def kind(self) -> Kind | None:
        """How such a source is trained, if not naturally."""
        return KINDS[self.name](self.amount) if self.name in KINDS else None

    @property
    def ball(self) -> Ball | None:
        """The ball that the adversary of the training may use, or None."""
        return self.kind.ball if self.kind else None

    @property
    def text(self) -> str:
        """What a command line and a file of rows call it, and `parse` reads: l2 0.25."""
        amount = repr(float(self.amount)).removesuffix(".0")  # whatever its digits, it comes back
        return f"{self.name} {amount}" if self.kind else self.name

    def __str__(self) -> str:
        return str(self.kind or self.name)

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, Constraint):
            return NotImplemented
        return self._order() < other._order()

    def _order(self):
        place = ORDER.index(self.name) if self.name in ORDER else len(ORDER)
        return place, self.name, self.amount

    @classmethod
    def parse(cls, text: str) -> "Constraint":
        """Read what a command line or a figure calls a constraint: l2 0.5, ℓ∞ 4/255, natural.

        Raises ValueError for anything but natural, a kind with its amount, which may be a fraction,
        and the names of the controls.
        """
        wanted = " ".join(text.casefold().split())
        if wanted in ORDER and wanted not in KINDS:
            return cls(wanted)
        called, _, number = wanted.rpartition(" ")
        for kind in KINDS.values():
            if called and called in (kind.name, kind.symbol):
                return cls(kind.name, _number(number, kind))
        raise ValueError(f"constraint is {text!r}; allowed are {ALLOWED}")


def _number(text, kind):
    """Read a number or a fraction, or raise ValueError."""
    above, fraction, below = text.partition("/")
    try:
        return float(above) / float(below if fraction else 1)
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"{kind.name} is {text!r}; allowed is a number, as 0.1 or 4/255") from None


NATURAL = Constraint("natural")
UNTRAINED = Constraint("untrained")
"""The control: random weights."""
FROM_SCRATCH = Constraint("from scratch")
"""The other control: no source at all, everything trained on the target."""
MIXED_TEXTURES = Constraint("natural, mixed textures")
"""Trained naturally on images whose texture says nothing of the class."""
ORDER = ("natural", *KINDS, MIXED_TEXTURES.name, UNTRAINED.name, FROM_SCRATCH.name)
ALLOWED = ", ".join(["natural", *(f"{kind.name} {kind.letter}" for kind in KINDS.values())])
"""What sources can be trained under, as a message lists it."""


def constraints(l2: list[float], linf: list[float], more: Iterable[str] = ()) -> list[Constraint]:
    """List the constraints of a ladder in their order, natural first, each once.

    l2, linf: radii of balls, in pixels of [0, 1]. more: any others, as texts that `parse` reads.
    Raises ValueError as `parse` does, and for two that figures would call the same.
    """
    under = {NATURAL, *(Constraint("l2", float(eps)) for eps in l2)}
    under |= {Constraint("linf", float(eps)) for eps in linf}
    ladder = sorted(under | {Constraint.parse(text) for text in more})
    check_shown(ladder)
    return ladder


def check_shown(ladder: Iterable[Constraint]) -> None:
    """Raise ValueError where figures would call two different constraints the same."""
    for one, other in pairwise(sorted(set(ladder))):
        if str(one) == str(other):
            raise ValueError(f"{one.text} and {other.text} are both shown as {one}; give only one")


def middle(constraints: Iterable[Constraint]) -> Constraint:
    """Return the middle one in order, of two the weaker: it stands for all of them."""
    ordered = sorted(constraints)
    return ordered[(len(ordered) - 1) // 2]
