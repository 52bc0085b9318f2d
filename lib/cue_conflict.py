"""Images whose two cues disagree: drawn, or made from any labelled images."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lib import microcosm
from lib.images import Images

APART = 20_000
"""Added to the seed of drawn conflicts, above those of all images that are learned or tested on."""


@dataclass(frozen=True)
class Conflicts:
    """Images that show the shape of one class and the texture of another.

    x: uint8 (N, 3, H, W). shape, texture: int64 (N,), indices into `classes`. shape_alone,
    texture_alone: uint8 (N, 3, H, W), the same cues each without the other, or None where they
    are not known.
    """

    x: Tensor
    shape: Tensor
    texture: Tensor
    classes: tuple[str, ...]
    shape_alone: Tensor | None = None
    texture_alone: Tensor | None = None

    def __len__(self) -> int:
        return len(self.x)


def drawn(
    n: int, seed: int, *, amplitude: float = microcosm.AMPLITUDE, size: int = microcosm.SIZE
) -> Conflicts:
    """Draw n conflicts of the microcosm: every pair of different classes equally often.

    The arguments, and what is raised: as in `lib.microcosm.draw`, but for the seed, which is not
    that of images to learn from: a conflict would have the place and the colours of one of them.
    Each cue alone is the same image without the grating, or without the shape.
    """
    shape, texture = _pairs(n, len(microcosm.CLASSES), seed)
    cues = {"seed": APART + seed, "shape": shape, "texture": texture, "size": size}
    return Conflicts(
        microcosm.draw(n, amplitude=amplitude, **cues).x,
        shape,
        texture,
        microcosm.CLASSES,
        microcosm.draw(n, amplitude=0, **cues).x,
        microcosm.draw(n, contrast=(0, 0), amplitude=amplitude, **cues).x,
    )


def phase_against_amplitude(
    images: Images, n: int, seed: int, *, pairs: tuple[Tensor, Tensor] | None = None
) -> Conflicts:
    """Join the phase spectrum of one image with the amplitude spectrum of one of another class.

    Phase carries where edges are, amplitude how strong each orientation and frequency is
    (Oppenheim and Lim, 1981). This needs no style network, but it is not texture transfer:
    amplitude also holds contrast and colour, and phase also holds where a texture's elements lie.

    n: number of conflicts. pairs: the classes wanted, (phase, amplitude), int64 (n,) each, or None
    for all pairs of different classes equally often.

    Returns Conflicts: `shape` is the class of the phase, `texture` that of the amplitude; each
    cue alone is the image it was taken from. Raises ValueError for n < 1, images of one class and
    classes without images.
    """
    present = images.y.unique()
    if len(present) < 2:
        raise ValueError(f"the images are of {len(present)} class; a conflict needs two")
    wanted = pairs or tuple(present[cue] for cue in _pairs(n, len(present), seed))
    generator = torch.Generator().manual_seed(seed)
    phase, amplitude = (_one_of_each(images.y, classes, generator) for classes in wanted)
    x_phase, x_amplitude = (images.x[chosen].float() for chosen in (phase, amplitude))
    spectrum = torch.polar(torch.fft.fft2(x_amplitude).abs(), torch.fft.fft2(x_phase).angle())
    x = torch.fft.ifft2(spectrum).real.round().clamp(0, 255).to(torch.uint8)
    cues = images.y[phase], images.y[amplitude]
    return Conflicts(x, *cues, images.classes, images.x[phase], images.x[amplitude])


def _pairs(n, count, seed):
    """List n pairs of different classes, int64 (n,) each, as evenly as they reach."""
    if n < 1:
        raise ValueError(f"n is {n}; at least 1 conflict must be made")
    first = torch.arange(count).repeat_interleave(count)
    second = torch.arange(count).repeat(count)
    differ = first != second
    first, second = first[differ], second[differ]
    generator = torch.Generator().manual_seed(seed)
    rounds = -(-n // len(first))
    order = torch.cat([torch.randperm(len(first), generator=generator) for _ in range(rounds)])[:n]
    return first[order], second[order]


def _one_of_each(y, wanted, generator):
    """Choose for each wanted class a random image of it; returns positions, int64 (n,)."""
    chosen = torch.empty(len(wanted), dtype=torch.int64)
    for label in wanted.unique():
        members, places = (y == label).nonzero().flatten(), wanted == label
        if len(members) == 0:
            raise ValueError(f"no image is of class {int(label)}, of which a cue is wanted")
        draw = torch.randint(len(members), (int(places.sum()),), generator=generator)
        chosen[places] = members[draw]
    return chosen
