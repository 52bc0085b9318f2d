"""What an image set holds, to be said before anything is computed with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from lib.datasets.reading import Depth

UNDIVIDED = "no split of its own: 30 % of each class test, always the same ones"
MANY = 12
"""Classes whose counts are all said; of more the largest and the smallest ones."""


@dataclass(frozen=True)
class Survey:
    """How many images an image set holds, of which split and class, and what is doubtful.

    name: as a figure shows it. classes: the C names. counts: of each split, in the order train,
    validation, test, the number of images of each class. notes: one-line texts on what was
    understood, skipped, or is doubtful. depth: as in `lib.datasets.reading.read_image`.
    """

    name: str
    classes: tuple[str, ...]
    counts: Mapping[str, tuple[int, ...]]
    notes: tuple[str, ...] = ()
    depth: Depth | None = None

    @property
    def totals(self) -> tuple[int, ...]:
        """The number of images of each class, all splits together."""
        return tuple(map(sum, zip(*self.counts.values(), strict=True)))

    @property
    def divided(self) -> bool:
        """Whether it comes with a split of its own."""
        return UNDIVIDED not in self.notes

    def together(self) -> "Survey":
        """Count the splits as one, where all that is labelled serves at once."""
        notes = tuple(note for note in self.notes if note != UNDIVIDED)
        return replace(self, counts={"all": self.totals}, notes=notes)

    def lines(self) -> list[str]:
        """Say all of it in plain text: what there is, the counts of the classes, and the notes."""
        words = {"train": "training", "all": "labelled"}
        parts = [f"{sum(n):,} {words.get(split, split)}" for split, n in self.counts.items()]
        numbers = " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))
        totals = self.totals
        largest = self.classes[totals.index(max(totals))]
        chance, share = 1 / len(self.classes), max(totals) / sum(totals)
        return [
            f"{self.name}: {numbers} images of {len(self.classes)} classes; chance is "
            f"{100 * chance:.3g} %, the largest class, {largest}, has {100 * share:.3g} %",
            f"images of each class: {_listed(self.classes, totals)}",
            *self.notes,
        ]


def _listed(classes: Sequence[str], totals: Sequence[int]) -> str:
    """List classes with their counts: all of them, or the largest and the smallest."""
    pairs = [f"{name} {count:,}" for name, count in zip(classes, totals, strict=True)]
    if len(pairs) <= MANY:
        return ", ".join(pairs)
    order = sorted(range(len(totals)), key=lambda i: -totals[i])
    half = MANY // 2
    ends = [pairs[i] for i in order[:half]], [pairs[i] for i in order[-half:]]
    return f"{', '.join(ends[0])}, …, {', '.join(ends[1])}"
