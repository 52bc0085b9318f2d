"""What sources see in photographs that are looked for by their features alone."""

from collections.abc import Iterable
from typing import Any

import pandas as pd
import torch
from torch import nn

from lib import features
from lib.constraint import NATURAL, Constraint
from lib.images import Images
from lib.random_effects import effect
from lib.studies import contrasts, likeness
from lib.studies.claims import simultaneous
from lib.studies.synthesis import Jury, invert
from lib.training import pixels

COUNT = 200
"""How many photographs are looked for,"""
SEARCH: dict[str, Any] = {"steps": 60, "size": 1.0}
"""and how: as chapter 06 does by default."""
PARTS = 10
"""Into as many parts the photographs are divided, which stand for the luck of choosing them."""
STRUCTURE, STRANGERS = "structure", "judges kin to neither"
JOINED_LATER = ("low-pass",)
"""Judges that joined when the answers of the others were known, and so count among no strangers."""
PREDICTED = (NATURAL.name, "noise", "natural until")
"""The kinds of sources that data/claims.yaml expects the robust rung to be ahead of."""


def inversions(
    model: nn.Module, images: Images, others: Images, jury: Jury, **search
) -> pd.DataFrame:
    """Look for images by their features, and measure what was found, one part of them by another.

    images, others, jury, search: as in `lib.studies.synthesis.invert`, whose starts they are.

    Returns a row for each start and each of PARTS parts of the images, fewer where one would be of
    a single image: start, part, left and covered as there, structure (structural similarity to the
    image less that to another image of its part: 0 where nothing is found), and for each kind of
    judge the share that tells the class.
    Besides, told and told_in_noise: shares of the images themselves, and with the noise of the
    start on them, whose class the network tells.
    """
    device, x, y = next(model.parameters()).device, pixels(images.x), images.y
    parts = torch.arange(len(x)).tensor_split(max(min(PARTS, len(x) // 2), 1))
    part_of = torch.cat([torch.full_like(part, i) for i, part in enumerate(parts)]).numpy()
    another = torch.cat([x[part].roll(1, 0) for part in parts])
    grain = features.noise(len(x), x.shape[-1], seed=0) - 0.5
    itself = {"told": x, "told_in_noise": (x + grain).clamp(0, 1)}
    own = {name: likeness.right([model], shown, y) for name, shown in itself.items()}
    goal = features.vectors(model, x.to(device)).cpu()
    tables = []
    for start, steps in invert(model, images, others, {}, keep=[0], **search).pictures.items():
        found = steps[max(steps)]
        reached = features.vectors(model, found.to(device)).cpu()
        values = {
            "left": features.distance(reached, goal),
            "covered": likeness.covered(found, steps[0], x),
            STRUCTURE: likeness.similarity(found, x) - likeness.similarity(found, another),
            **{kind: likeness.right(networks, found, y) for kind, networks in jury.items()},
            **own,
        }
        each = pd.DataFrame({name: value.double().numpy() for name, value in values.items()})
        means = each.groupby(part_of).mean().rename_axis("part").reset_index()
        means.insert(0, "start", start)
        tables.append(means)
    return pd.concat(tables, ignore_index=True)


def judges(constraint: Constraint) -> str:
    """Return what a column calls the sources of a kind as judges."""
    return f"{constraint} judges"


def shares(rows: pd.DataFrame) -> pd.DataFrame:
    """Return what each kind of judge recognises, in percent, mean over the seeds and images.

    rows: of `inversions`, of one start.

    Returns a column for each kind of judge, named as the source; first two rows for the photographs
    themselves, as they are and in the noise of a start, then one for each source.
    """
    kinds = _kinds(rows)
    means = rows.groupby("constraint", sort=False).mean(numeric_only=True)
    first = {"the photographs": "told", "the same in noise": "told_in_noise"}
    told = {name: [means.loc[kind, column] for kind in kinds] for name, column in first.items()}
    known = pd.DataFrame.from_dict(told, orient="index", columns=kinds)
    answers = means.rename(columns={judges(kind): kind for kind in kinds})[kinds]
    return 100 * pd.concat([known, answers]).rename_axis(index="found by", columns="judged by")


def over_each(
    rows: pd.DataFrame, first: Constraint, others: Iterable[Constraint], *, intervals: int = 1
) -> pd.DataFrame:
    """Return what one kind of source has over others, by what was measured.

    Pairs share seed and images; both are draws (`lib.random_effects`), the images by their parts.
    Judges kin to neither are those of a third kind, without JOINED_LATER: all robust sources are of
    one kind, natural ones are of one kind whenever they ended.

    rows: of `inversions`, of one start. intervals: how many are to hold together.

    Returns measure (structure, what each kind of judge is called, STRANGERS), against, mean, low,
    high: differences of shares. Raises as `effect` does.
    """
    kinds, found = _kinds(rows), []
    rows = rows.rename(columns={"part": "target"})
    for other in others:
        not_asked = {_family(first), _family(other), *JOINED_LATER}
        third = [judges(kind) for kind in kinds if _family(kind) not in not_asked]
        measures = [STRUCTURE, *map(judges, kinds), *([STRANGERS] if third else [])]
        seen = rows.assign(**{STRANGERS: rows[third].mean(axis=1)})
        for measure in measures:
            pairs = contrasts.gap(seen, measure, first, other)
            difference = effect(pairs, "gap")
            low, high = difference.interval(simultaneous(intervals))
            values = {"mean": difference.mean / 100, "low": low / 100, "high": high / 100}
            found.append({"measure": measure, "against": other, **values})
    return pd.DataFrame(found)


def predicted(rows: pd.DataFrame, first: Constraint) -> pd.DataFrame:
    """Return the contrasts that data/claims.yaml expects to be above 0, their intervals together.

    rows, and what is returned: as in `over_each`; structure and judges of the robust rung.
    """
    others = [one for kind in PREDICTED for one in contrasts.of_kind(rows, kind)]
    asked = (STRUCTURE, judges(first))
    every = over_each(rows, first, others, intervals=len(asked) * len(others))
    return every[every["measure"].isin(asked)]


def _kinds(rows):
    """List the kinds of sources that judge, in their order."""
    return [kind for kind in dict.fromkeys(rows["constraint"]) if judges(kind) in rows]


def _family(kind):
    """Say of what family a kind of source is: robust, natural, or by its own name."""
    return "robust" if kind.ball is not None else kind.name.split()[0]
