"""Images that networks were run backwards to, and what judges say of them.

Each function takes the network first, to be run by `Ladder.each`; `rows` then collects what was
measured of all networks.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from lib import features, stats
from lib.constraint import NATURAL, Constraint
from lib.images import Images, sample
from lib.studies import likeness
from lib.studies.ladder import Ladder
from lib.training import pixels

Jury = Mapping[str, Sequence[nn.Module]]
"""Judges by what they are called, as of `jury`."""
MEASURES = {
    "left": "features left",
    "covered": "way to the pixels",
    "ssim": "structure",
    "own": "own shape",
    "others": "others' shapes",
}
"""What tables call what is measured."""
ENDS = {
    "features left": (0, np.inf),
    "way to the pixels": (-np.inf, 1),
    "structure": (-1, 1),
    "own shape": (0, np.inf),
    "others' shapes": (0, np.inf),
}
"""What the measures cannot leave, where there is such an end."""
ROBUST_JUDGE = Constraint("l2", 0.25)
ASKED = 1000
"""Images that judges are examined on, at most."""


class Made(NamedTuple):
    """What was made with one network. pictures: on the CPU. rows: of what was measured of them."""

    pictures: Any
    rows: list[dict]


def jury(given: Mapping, train: Images, test: Images, *, drawn: bool) -> Jury:
    """Train judges: networks of other seeds and other images, each with one cue to learn from.

    given: a chapter's parameters, as in `Ladder.of`, and judges, the number for each cue. train,
    test: as in `Ladder.of`. drawn: whether they are of the microcosm, whose cues can be drawn
    apart; else judges learn the classes of `train` as the sources do.

    Returns networks by "judges of the shape", "judges of the texture" and "robust judges of the
    shape", or of other images by "judges of the class".
    """
    schools = {"judges of the class": (train, NATURAL)}
    if drawn:
        shape, texture = (
            likeness.lessons(cue, len(train), 70, size=test.x.shape[-1])
            for cue in ("shape", "texture")
        )
        schools = {
            "judges of the shape": (shape, NATURAL),
            "judges of the texture": (texture, NATURAL),
            "robust judges of the shape": (shape, ROBUST_JUDGE),
        }
    seeds = range(1000, 1000 + given["judges"])
    ladders = {
        cue: Ladder.of(given, lessons, test, under=[name], seeds=seeds, controls=False)
        for cue, (lessons, name) in schools.items()
    }
    return {cue: list(ladder.networks.values()) for cue, ladder in ladders.items()}


def examined(jury: Jury, images: Images) -> pd.DataFrame:
    """Ask judges for the classes of images, as they are and in noise as that of a search's start.

    images: at most ASKED of them are asked about.

    Returns for each kind of judge the shares that it tells: "test images" and "in noise".
    """
    asked = images if len(images) <= ASKED else sample(images, ASKED, seed=0)
    x = pixels(asked.x)
    grain = features.noise(len(x), x.shape[-1], seed=1) - 0.5
    shown = {"test images": x, "in noise": (x + grain).clamp(0, 1)}
    return pd.DataFrame({name: likeness.recognised(jury, x, asked.y) for name, x in shown.items()})


def pictures(
    made: Mapping[tuple[Constraint, int], Made],
    called: str = "",
    *,
    without: Constraint | None = None,
) -> dict[Any, Any]:
    """Return what was made with the networks of the first training seed, 0, by constraint.

    called: what it is, as a part of the keys then, which are texts. without: whose is left out.
    """
    networks = {name: one for (name, of), one in made.items() if of == 0 and name != without}
    chosen = {name: one.pictures for name, one in networks.items()}
    return {f"{name}: {called}": one for name, one in chosen.items()} if called else chosen


def rows(*made: Mapping[tuple[Constraint, int], Made]) -> pd.DataFrame:
    """Collect what was measured, as `Ladder.each` returned it once or more often, a row for each.

    Returns constraint, source_seed, what and start where they are known, measure (as in MEASURES,
    or what a kind of judge is called) and value.
    """
    keys = ["constraint", "source_seed"]
    wide = pd.DataFrame(
        {**dict(zip(keys, network, strict=True)), **row}
        for results in made
        for network, one in results.items()
        for row in one.rows
    )
    if wide.empty:
        return pd.DataFrame(columns=[*keys, "measure", "value"])
    keys += [key for key in ("what", "start") if key in wide]
    long = wide.rename(columns=MEASURES).melt(keys, var_name="measure")
    return long.dropna(subset="value")


def levels(rows: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Summarise each measure over the training seeds, its intervals cut at its ENDS.

    rows: as of `rows`. by: further columns to tell apart. Returns what `lib.stats.summary` does.
    """
    found = stats.summary(rows, "value", ["measure", *by])
    ends = [ENDS.get(measure, stats.NONE) for measure in found["measure"]]
    least, most = np.reshape(ends, (-1, 2)).T
    for end in ("low", "high"):
        found[end] = found[end].clip(least, most)
    return found


def invert(
    model: nn.Module, images: Images, others: Images, jury: Jury, *, keep: Sequence[int], **search
) -> Made:
    """Make images of the features of others, from noise and from images of other classes.

    images: N, whose features are matched. others: N, to start from. keep: steps whose pictures are
    kept, besides the last. search: as in `lib.features.match`.

    Returns pictures {start: {step: float (N, 3, H, W)}}, and a row for each start: what ("features
    of an image"), start, left (`lib.features.distance` to the features), covered and ssim (of
    `lib.studies.likeness`, to the images), and for each kind of judge the share that tells the
    image's class.
    """
    x, begin = pixels(images.x), _begin(others, seed=0)
    goal = features.vectors(model, torch.cat([x, x]).to(_device(model)))
    made = features.match(model, _joined(model, begin), goal, keep=keep, **search)
    *_, last = made.values()
    left = features.distance(features.vectors(model, last).cpu(), goal.cpu()).split(len(x))
    found = _judged("features of an image", made, begin, images.y, jury)
    for row, start, rest, image in zip(
        found.rows, begin.values(), left, last.cpu().split(len(x)), strict=True
    ):
        row["left"] = float(rest.mean())
        row["covered"] = float(likeness.covered(image, start, x).mean())
        row["ssim"] = float(likeness.similarity(image, x).mean())
    return found


def maximise(
    model: nn.Module,
    seen: Images,
    pool: Images,
    count: int,
    jury: Jury,
    *,
    keep: Sequence[int],
    **search,
) -> Made:
    """Make single features as large as they will be, from noise and from images.

    A feature is given the class of those among the images `seen` that have most of it. pool: of
    which the images to start from are chosen, each of another class. count: features, drawn at
    random. The rest, and what is returned: as in `invert`, with "a single feature"
    as what.
    """
    vectors = features.vectors(model, pixels(seen.x).to(_device(model))).cpu()
    order = torch.randperm(vectors.shape[1], generator=torch.Generator().manual_seed(0))
    units = order[:count]
    y = likeness.favourites(vectors, seen.y)[units]
    begin = _begin(pool[likeness.elsewhere(y, pool.y, seed=1)], seed=2)
    start = _joined(model, begin)
    made = features.maximise(model, start, units.repeat(2), keep=keep, **search)
    return _judged("a single feature", made, begin, y, jury)


def synthesise(
    model: nn.Module, pool: Images, jury: Jury, *, keep: Sequence[int], **search
) -> Made:
    """Make the network sure of each class, the first ten at most, from noise and from images.

    The rest, and what is returned: as in `maximise`, with "a class" as what.
    """
    y = torch.arange(min(10, len(pool.classes)))
    begin = _begin(pool[likeness.elsewhere(y, pool.y, seed=2)], seed=3)
    made = features.synthesise(model, _joined(model, begin), y.repeat(2), keep=keep, **search)
    return _judged("a class", made, begin, y, jury)


def interpolate(
    model: nn.Module,
    images: Images,
    goals: Images,
    inverted: Made,
    jury: Jury,
    **search,
) -> Made:
    """Turn images into others through the space of features, in frames.

    images, goals: N each, the pairs. inverted: what `invert` made from these images, or from more
    that begin with them: the ends. search: as in `lib.features.interpolate`.

    Returns pictures float (5, N, 3, H, W), from the images to the ends by quarters of the way, and
    a row: the order that each kind of judge sees (of `lib.studies.likeness`).
    """
    device, x = _device(model), pixels(images.x)
    pair = x.to(device), pixels(goals.x).to(device)
    between = features.interpolate(model, *pair, shares=(0.25, 0.5, 0.75), **search)
    *_, ends = inverted.pictures["another image"].values()
    path = torch.cat([x[None], between.cpu(), ends[None, : len(x)]])
    orders = {cue: likeness.order(judges, path, images.y, goals.y) for cue, judges in jury.items()}
    return Made(path, [orders])


def gradients(model: nn.Module, images: Images, inside: Tensor | None = None) -> Made:
    """Map the energy of the loss's gradient, and tell how much of it lies in masks.

    images: N. inside: bool (N, H, W), as of `lib.studies.likeness.masks`, or None for no row.

    Returns pictures float (N, H, W), as of `lib.features.saliency`, and a row: own, others (the
    means of `lib.studies.likeness.concentration`) and excess, their difference.
    """
    device = _device(model)
    maps = features.saliency(model, pixels(images.x).to(device), images.y.to(device)).cpu()
    if inside is None:
        return Made(maps, [])
    own, others = (float(part.mean()) for part in likeness.concentration(maps, inside))
    return Made(maps, [{"own": own, "others": others, "excess": own - others}])


def _device(model):
    return next(model.parameters()).device


def _begin(others, seed):
    """Return where a search starts, {start: float (N, 3, H, W)}: in noise, and in other images."""
    noise = features.noise(len(others), others.x.shape[-1], seed=seed)
    return {"noise": noise, "another image": pixels(others.x)}


def _joined(model, begin):
    """Join the starts to one batch, on the network's device."""
    return torch.cat(list(begin.values())).to(_device(model))


def _judged(what, made, begin, y, jury):
    """Part {step: images} by their starts, and let the jury look at the last ones."""
    pictures = {start: {} for start in begin}
    for step, images in made.items():
        for start, part in zip(begin, images.cpu().split(len(y)), strict=True):
            pictures[start][step] = part
    judged = []
    for start, steps in pictures.items():
        *_, last = steps.values()
        judged.append({"what": what, "start": start, **likeness.recognised(jury, last, y)})
    return Made(pictures, judged)
