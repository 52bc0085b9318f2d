"""Which cue a network uses: its accuracy with a cue taken away, and on targets of one cue."""

from collections.abc import Mapping

import pandas as pd
import torch
from torch import Tensor, nn

from lib import cue_conflict, microcosm, stats
from lib.cue_conflict import Conflicts
from lib.datasets.stimuli import read_mapping, read_stimuli
from lib.images import Images, sample
from lib.robustness import accuracy
from lib.studies import cues

CUTOFFS = (0.03, 0.06, 0.12, 0.25, 0.5)
"""Of the filters, in cycles per pixel."""
SIZES = (4, 8, 12, 16, 32)
"""Pixels of a side of low resolutions."""
NO_TEXTURE: dict = {"amplitude": 0}
NO_SHAPE: dict = {"contrast": (0, 0)}
"""What leaves a cue out of what `lib.microcosm.draw` draws."""
SHARES = {
    "shape_known": ("shape alone", "image of the phase"),
    "texture_known": ("texture alone", "image of the amplitude"),
    "counted": ("conflicts that count",) * 2,
    "shape_bias": ("shape bias", "for the phase"),
    "shape_bias_of_all": ("bias of all conflicts",) * 2,
    "decided_of_all": ("of all, decided for a cue",) * 2,
}
"""What tables call the shares that are measured: of shape and texture, of phase and amplitude."""


def versions(images: Images, *, drawn: bool) -> dict[str | tuple[str, float], Images]:
    """Take cues away from images, one way after another.

    drawn: whether the images are of the microcosm; it is then drawn without a texture, and without
    a shape, too: the truth that the others come near to.

    Returns the versions by what was done, "as it is" first: a text, or for filters, which leave a
    range of frequencies or of sizes, a pair (filter, at).
    """
    x, side = images.x, images.x.shape[-1]
    changed: dict = {
        "as it is": x,
        "texture flattened": cues.without_texture(x),
        "silhouettes": cues.silhouettes(x),
        "edges": cues.edges(x),
        "phases at random": cues.without_shape(x),
        **{f"patches, {p} × {p}": cues.shuffled(x, p) for p in (2, 4, 8) if side % p == 0},
        **{("low-pass", cutoff): cues.low_pass(x, cutoff) for cutoff in CUTOFFS},
        **{("high-pass", cutoff): cues.high_pass(x, cutoff) for cutoff in CUTOFFS},
        **{("low resolution", s): cues.low_resolution(x, s) for s in SIZES if s <= side},
    }
    made = {key: Images(part, images.y, images.classes) for key, part in changed.items()}
    if drawn:
        made["texture not drawn"] = microcosm.draw(len(images), 5, size=side, **NO_TEXTURE)
        made["shape not drawn"] = microcosm.draw(len(images), 5, size=side, **NO_SHAPE)
    return made


def accuracies(model: nn.Module, versions: Mapping) -> list[dict]:
    """Measure the accuracy on several versions of images, as of `versions`.

    Returns one dict each: version (as text), filter and at (None where it is none), and accuracy
    (0 to 1).
    """
    rows = []
    for key, images in versions.items():
        kind, at = key if isinstance(key, tuple) else (None, None)
        version = f"{kind} {at:g}" if kind else key
        row = {"version": version, "filter": kind, "at": at, "accuracy": accuracy(model, images)}
        rows.append(row)
    return rows


def one_cue_targets(
    train: Images, test: Images, most: int, *, drawn: bool
) -> dict[str, tuple[Images, ...]]:
    """Make two targets, training and test images, that show one cue alone: shape, or texture.

    train, test: the images of which the other cue is taken away. most: images of each at most.
    drawn: whether they are of the microcosm; it is then drawn anew without the other cue.
    """
    ways = {
        "shape alone": (NO_TEXTURE, cues.without_texture),
        "texture alone": (NO_SHAPE, cues.without_shape),
    }
    targets = {}
    for name, (absent, take) in ways.items():
        if drawn:
            side = test.x.shape[-1]
            made = [microcosm.draw(most, seed, size=side, **absent) for seed in (11, 12)]
        else:
            some = (sample(part, min(most, len(part)), seed=0) for part in (train, test))
            made = [Images(take(part.x), part.y, part.classes) for part in some]
        targets[name] = tuple(made)
    return targets


def shares(rows: pd.DataFrame, cue: str = "shape") -> pd.DataFrame:
    """Summarise what `lib.shape_bias.bias` returns, share by share, as a table shows it.

    cue: of which the bias is: "shape", or "phase" where conflicts are of phase and amplitude.

    Returns constraint, share (what the table calls it), mean, seeds, and the smallest and the
    largest seed as low and high, NaN where there is one: an interval of the mean would say nothing
    where some seeds are near 0 and some near 1. Values that are not known are left out.
    """
    rows = rows.assign(counted=rows["counted"] / rows["conflicts"])
    parts = []
    for column, title in SHARES.items():
        known = rows.dropna(subset=[column])
        part = stats.summary(known, column, ["constraint"], limits=(0, 1))
        several = part["seeds"] > 1
        part["low"] = part["of_seeds"].map(min).where(several)
        part["high"] = part["of_seeds"].map(max).where(several)
        parts.append(part.assign(share=title[cue == "phase"]))
    return pd.concat(part for part in parts if len(part))


def all_pairs(images: Images, count: int, *, drawn: bool) -> Tensor:
    """Make a conflict of each pair of the first classes, all of the first shape before the next.

    images: as in `lib.cue_conflict.phase_against_amplitude`. drawn: whether they are of the
    microcosm; their conflicts are then drawn.

    Returns uint8 (count², 3, H, W).
    """
    shape, texture = torch.arange(count).repeat_interleave(count), torch.arange(count).repeat(count)
    if drawn:
        side = images.x.shape[-1]
        return microcosm.draw(count**2, 3, shape=shape, texture=texture, size=side).x
    return cue_conflict.phase_against_amplitude(images, count**2, 0, pairs=(shape, texture)).x


def pulled_apart(
    kind: str, images: Images, n: int, *, seed: int = 0, mapping: str | None = None
) -> tuple[Conflicts, Tensor | None]:
    """Return conflicts of the kind asked for, and how a model of the images' classes answers them.

    kind: "drawn" (the microcosm's, for models of its classes), "phase" (phase of one of the
    images against amplitude of another) or a folder of published stimuli. images: of the
    classes the model knows, of the size it is shown. n: number of conflicts to draw or make.
    mapping: CSV for a folder of stimuli, as of `lib.datasets.stimuli.read_mapping`, or None.

    Returns (Conflicts, mapping or None). Raises ValueError for drawn conflicts of other classes
    than the microcosm's, and as the functions do that make or read them.
    """
    if kind == "drawn":
        if images.classes != microcosm.CLASSES:
            raise ValueError(
                "conflicts can only be drawn of the microcosm's classes, not of "
                f"{', '.join(images.classes[:5])}; use phase, or a folder of stimuli"
            )
        return cue_conflict.drawn(n, seed, size=images.x.shape[-1]), None
    if kind == "phase":
        return cue_conflict.phase_against_amplitude(images, n, seed), None
    stimuli = read_stimuli(kind, images.x.shape[-1])
    return stimuli, read_mapping(mapping, images.classes, stimuli.classes)
