"""Targets that are shown otherwise: at a lower resolution, or with a cue taken away."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import pandas as pd
from torch import Tensor, nn

from lib.constraint import Constraint
from lib.images import Images, scale
from lib.runtime.rules import listed
from lib.studies import cues
from lib.studies.breakdowns import AS_IT_IS
from lib.studies.linear_probe import probes
from lib.studies.study import Study, is_control, sizes_held

PIXELS, SOME = (8, 12, 16, 24, 32), (100, 400, 1600)
"""Resolutions at which targets are shown, and the training images of heads on controls there."""
CHANGED: dict[str, Callable[[Tensor], Tensor]] = {
    AS_IT_IS: lambda x: x,
    "flattened": cues.without_texture,
    "texture of another": cues.with_other_texture,
    "phases at random": cues.without_shape,
}
"""How a target is shown with a cue taken away,"""
CUED, CUED_N = ("cifar10", "clothing"), (400, 1600)
"""which targets, and with how many training images."""


def resolutions(study: Study) -> pd.DataFrame:
    """Fit the best heads where the target is shown at a lower resolution, and enlarged again."""
    return _at_resolutions(study.pair, study, study.protocol.sizes)


def resolutions_of_controls(study: Study) -> pd.DataFrame:
    """Do the same with the controls trained without an adversary, at some of the sizes."""
    return _at_resolutions(study.controls, study, SOME)


def check_controls(study: Study) -> None:
    """Raise ValueError where a study will have no such controls, or a target no such size."""
    protocol = study.protocol
    more = map(Constraint.parse, listed(protocol.sources.get("more_sources", "")))
    if not (protocol.comes_with_the_book or any(is_control(one) for one in more)):
        raise ValueError(
            f"resolutions_of_controls is asked of sources such as noise 0.1, and {protocol.name} "
            "has none; name some as more_sources"
        )
    sizes_held(study.targets, SOME)


def _at_resolutions(ladder, study, sizes):
    """Measure the heads of a ladder's sources at each of PIXELS."""
    return ladder.measure(
        probes_at,
        over={"target": study.targets, "resolution": PIXELS},
        together={"n": sizes_held(study.targets, sizes)},
        seeds=ladder.subsets(1),
        label="resolutions",
    )


def probes_at(
    source: nn.Module, target: tuple[Images, Images], *, resolution: int, **protocol
) -> Iterator[pd.DataFrame]:
    """Fit heads as `probes` does, to a target shown at a resolution and enlarged again.

    resolution: pixels of a side. protocol: as in `probes`.
    """
    yield from probes(source, _both(target, partial(shrunk, side=resolution)), **protocol)


def shrunk(x: Tensor, side: int) -> Tensor:
    """Scale square images, uint8 (N, 3, H, H), to `side` pixels, and back to H.

    Unlike `lib.studies.cues.low_resolution`, by way of images as they are stored, of whole values.
    """
    return scale(scale(x, side), x.shape[-1])


def stylised(study: Study) -> pd.DataFrame:
    """Fit the best heads where a cue is taken from the target: its column version says how."""
    shown = {
        f"{name}, {version}": _both(pair, change)
        for name, pair in cued(study.targets).items()
        for version, change in CHANGED.items()
    }
    rows = study.main.measure(
        probes,
        over={"target": shown},
        together={"n": sizes_held(shown, CUED_N)},
        seeds=study.ladder.subsets(1),
        label="stylised",
    )
    columns = rows["target"].str.split(", ", n=1, expand=True)
    return rows.assign(target=columns[0], version=columns[1])


def cued(targets: Mapping[str, tuple[Images, Images]]) -> dict[str, tuple[Images, Images]]:
    """Return the targets that lose a cue; raise ValueError where none does."""
    known = {name: targets[name] for name in CUED if name in targets}
    if not known:
        raise ValueError(f"stylised is asked of {', '.join(CUED)}, and neither is a target here")
    return known


def _both(target, change):
    """Change the training and the test images of a target."""
    train, test = (Images(change(part.x), part.y, part.classes) for part in target)
    return train, test
