"""What the claims of data/claims.yaml are judged by, and what the chapters show beside it.

Each measurement takes a study, which is networks and targets, and returns the rows of one table.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor, nn

from lib import datasets
from lib.constraint import NATURAL, UNTRAINED, Constraint
from lib.images import Images, sample, scale, subset
from lib.networks import choose_device
from lib.shape_bias import bias
from lib.studies import attribution, contrasts, cue_use, cues, fine_tuned
from lib.studies.best_rate import transfers_at_best_rate
from lib.studies.claims import rules
from lib.studies.hidden_classes import hidden_matches
from lib.studies.ladder import By, Ladder
from lib.studies.linear_probe import probes
from lib.zoo import shipped

MICROCOSM: dict[str, Any] = {
    "source_data": "microcosm", "n_source": 2500, "source_epochs": 6, "attack_steps": 1,
    "l2": [0.1, 0.25, 0.5], "linf": [0.0157], "seeds": 8,
}  # fmt: skip
"""The drawn sources: those of the chapters, with as many seeds as the rules ask for."""
SIZES = {"photographs": (100, 200, 400, 800, 1600, 3200), "microcosm": (20, 40, 80, 160, 320, 640)}
"""Training images of a target, as far as it has them;"""
FEW = {"photographs": (400,), "microcosm": (80,)}
"""of the learning curves;"""
MANY = {"photographs": (400, 1600), "microcosm": (80, 320)}
"""and of the fine-tuning at several depths."""
DEPTHS, EPOCHS = (0, 1, 2, -1), 30
PIXELS, SOME = (8, 12, 16, 24, 32), (100, 400, 1600)
"""Resolutions at which targets are shown, and the training images there."""
AS_IT_IS = "as it is"
CHANGED: dict[str, Callable[[Tensor], Tensor]] = {
    AS_IT_IS: lambda x: x,
    "flattened": cues.without_texture,
    "texture of another": cues.with_other_texture,
    "phases at random": cues.without_shape,
}
"""How a target is shown with a cue taken away,"""
CUED, CUED_N = ("cifar10", "clothing"), (400, 1600)
"""which targets, and with how many training images."""
GROUPS = {
    "cifar10": {
        "animals": ("bird", "cat", "deer", "dog", "frog", "horse"),
        "vehicles": ("airplane", "automobile", "ship", "truck"),
    }
}
"""What heads learn that are never told the classes, by target."""
HIDDEN_N = 3200
MATCHED_N, RETRAINED_N = (400, 3200), 400
"""Training images of the heads whose influential images are looked at, and left out in turn;"""
LOOKED_AT = 500
"""the test images that they are looked at for."""
DAMPING, CUTOFF, PASSES = 5e-4, 0.05, (150, 15, 0)
"""Of the influence, and how far heads are trained: these passes, 0 for the optimum."""
TESTED = 2000
"""Images of the sources' own classes that lose a cue."""
CONFLICTS = 4000
NOT_LEARNED = "shape and cues are asked of what the sources learned; give its folder as --learned"
OF_LEARNED = {"shape", "cues"}
"""Measurements that need them."""


@dataclass(frozen=True)
class Study:
    """What is measured: networks, and targets that they are fine-tuned to.

    learned: test images of what the networks have learned, or None. accuracies: of the networks on
    images of their own task that they have not learned, 0 to 1, by (constraint, seed).
    """

    world: str
    ladder: Ladder
    targets: Mapping[str, tuple[Images, Images]]
    learned: Images | None
    accuracies: Mapping[tuple[Constraint, int], float]

    @property
    def robust(self) -> Constraint:
        """The rung that stands for all robust sources."""
        return contrasts.robust(self.world)

    @property
    def main(self) -> Ladder:
        """The sources of the main contrast, and random weights beside them."""
        return self.ladder.only(NATURAL, self.robust, UNTRAINED)

    @property
    def trained(self) -> Ladder:
        """All sources but random weights, which know no classes."""
        return self.ladder.only(*(name for name in self.ladder.names if name != UNTRAINED))

    def own(self) -> Images:
        """Return test images of what the sources have learned; raise ValueError without them."""
        if self.learned is None:
            raise ValueError(NOT_LEARNED)
        return self.learned

    def grouped(self) -> dict[str, tuple[Images, Images]]:
        """Return the targets whose classes have groups; raise ValueError where none has."""
        known = {name: pair for name, pair in self.targets.items() if name in GROUPS}
        if not known:
            raise ValueError(f"influence is asked of {', '.join(GROUPS)}, and it is no target here")
        return known

    def held(self, wanted: Sequence[int]) -> By:
        """Return the sizes that each target has images for."""
        return _held(self.targets, wanted)


def _held(targets, wanted):
    """Return the sizes that each target has images for."""
    return By("target", {t: [n for n in wanted if n <= len(s[0])] for t, s in targets.items()})


def photographs(targets: Sequence[str], learned: str = "", device: str = "auto") -> Study:
    """Return the sources that learned photographs and come with the book, and targets.

    targets: folders, named as in data/claims.yaml. learned: the folder of what the sources learned,
    or "" where nothing asks for it. Raises ValueError for targets that are missing, and as
    `lib.datasets.load` and `shipped.load` do.
    """
    folders = {Path(folder).resolve().name: folder for folder in targets}
    if missing := [name for name in rules()["targets"] if name not in folders]:
        raise ValueError(f"the targets lack {', '.join(missing)}; give a folder of each")
    place = choose_device(device)
    made = {key: shipped.load(*key) for key in shipped.available()}
    networks = {key: network.to(place) for key, (network, _) in made.items()}
    records = {key: record for key, (_, record) in made.items()}
    ladder = Ladder(networks, records, place)
    test = datasets.load(learned, "test") if learned else None
    splits = {name: datasets.pair(folders[name]) for name in rules()["targets"]}
    known = {
        key: record["validation"]["clean_accuracy"]
        for key, record in records.items()
        if key[0] != UNTRAINED
    }
    return Study("photographs", ladder, splits, test, known)


def drawn(device: str = "auto") -> Study:
    """Return the sources that learned the microcosm, and the targets that come with the book."""
    given = MICROCOSM | {"device": device}
    test = datasets.load("microcosm", "test")
    ladder = Ladder.of(given) | Ladder.of_mixed_textures(given, given["n_source"], test)
    known = {key: record["test_accuracy"] for key, record in ladder.records.items()}
    return Study("microcosm", ladder, datasets.named("all"), test, known)


def heads(study: Study) -> pd.DataFrame:
    """Fit the best heads on the features of every source: accuracy by target and size.

    Beside it stands source_accuracy, the source's on images of its own task; random weights have
    none.
    """
    rows = study.ladder.measure(
        probes,
        over={"target": study.targets},
        together={"n": study.held(SIZES[study.world])},
        seeds=study.ladder.subsets(rules()["subsets"]),
        label="heads",
    )
    keys = zip(rows["constraint"], rows["source_seed"], strict=True)
    return rows.assign(source_accuracy=[study.accuracies.get(key) for key in keys])


def resolutions(study: Study) -> pd.DataFrame:
    """Fit the best heads where the target is shown at a lower resolution, and enlarged again."""
    return study.ladder.only(NATURAL, study.robust).measure(
        probes_at,
        over={"target": study.targets, "resolution": PIXELS},
        together={"n": study.held(SOME)},
        seeds=study.ladder.subsets(1),
        label="resolutions",
    )


def probes_at(
    source: nn.Module, target: tuple[Images, Images], *, resolution: int, **protocol
) -> Iterator[pd.DataFrame]:
    """Fit heads as `probes` does, to a target shown at a resolution and enlarged again.

    resolution: pixels of a side. protocol: as in `probes`.
    """
    shown = [Images(shrunk(part.x, resolution), part.y, part.classes) for part in target]
    yield from probes(source, (shown[0], shown[1]), **protocol)


def shrunk(x: Tensor, side: int) -> Tensor:
    """Scale square images, uint8 (N, 3, H, H), to `side` pixels, and back to H."""
    return scale(scale(x, side), x.shape[-1])


def stylised(study: Study) -> pd.DataFrame:
    """Fit the best heads where a cue is taken from the target: its column version says how."""
    shown = {
        f"{name}, {version}": tuple(
            Images(change(part.x), part.y, part.classes) for part in study.targets[name]
        )
        for name in CUED
        for version, change in CHANGED.items()
        if name in study.targets
    }
    if not shown:
        raise ValueError(f"stylised is asked of {', '.join(CUED)}, and neither is a target here")
    rows = study.main.measure(
        probes,
        over={"target": shown},
        together={"n": _held(shown, CUED_N)},
        seeds=study.ladder.subsets(1),
        label="stylised",
    )
    columns = rows["target"].str.split(", ", n=1, expand=True)
    return rows.assign(target=columns[0], version=columns[1])


def curves(study: Study) -> pd.DataFrame:
    """Fine-tune one block: the area under the learning curve, at the best learning rate."""
    every = study.main.measure(
        transfers_at_best_rate,
        over={"target": study.targets},
        together={"n": study.held(FEW[study.world])},
        seeds=study.ladder.subsets(1),
        unfrozen_blocks=1,
        epochs=EPOCHS,
        evaluate_at=range(1, EPOCHS + 1),
        label="curves",
    )
    return fine_tuned.area(every)


def depths(study: Study) -> pd.DataFrame:
    """Fine-tune ever more blocks, at the best learning rate."""
    return study.main.measure(
        transfers_at_best_rate,
        over={"target": study.targets, "unfrozen_blocks": DEPTHS},
        together={"n": study.held(MANY[study.world])},
        seeds=study.ladder.subsets(1),
        epochs=EPOCHS,
        label="depths",
    )


def shape(study: Study) -> pd.DataFrame:
    """Ask the sources about images whose two cues disagree."""
    kind = "phase" if study.world == "photographs" else "drawn"
    conflicts, _ = cue_use.pulled_apart(kind, study.own(), CONFLICTS)
    return study.trained.measure(bias, conflicts=conflicts, label="shape")


def left_of_cues(study: Study) -> pd.DataFrame:
    """Measure what is left of the sources' own accuracy where a cue is taken away."""
    tested = sample(study.own(), min(TESTED, len(study.own())), seed=0)
    versions = cue_use.versions(tested, drawn=study.world == "microcosm")
    return study.trained.measure(cue_use.accuracies, versions=versions, label="cues")


def hidden(study: Study) -> pd.DataFrame:
    """Ask whether influential images share a class that the head was never told."""
    return pd.concat(
        [
            study.main.measure(
                hidden_matches,
                over={"target": study.grouped()},
                groups=By("target", GROUPS),
                n=HIDDEN_N,
                seeds=study.ladder.subsets(rules()["subsets"]),
                at_random=at_random,
                label="hidden",
            ).assign(labels="random" if at_random else "true")
            for at_random in (False, True)
        ],
        ignore_index=True,
    )


def influence(study: Study) -> pd.DataFrame:
    """Ask whose images matter to a prediction, by the usual classes, and by leaving images out.

    Column experiment: matches (under every rule, for heads trained more and less), retrained (each
    image left out in turn) and random labels (heads that learned nothing of the classes).
    """
    shown = {
        name: (train, subset(test, min(LOOKED_AT, len(test)), seed=0))
        for name, (train, test) in study.grouped().items()
    }
    every = attribution.rules_around(DAMPING, CUTOFF)
    several = {"target": shown, "n": MATCHED_N}
    seeds = study.ladder.subsets(rules()["subsets"])
    random = {name: 1 - 1 / len(test.classes) for name, (_, test) in shown.items()}
    pair = study.ladder.only(NATURAL, study.robust)
    parts = {
        "matches": study.main.measure(
            attribution.matches,
            over={**several, "epochs": PASSES},
            rules=every,
            seeds=seeds,
            label="matches",
        ),
        "random labels": pair.measure(
            attribution.matches,
            over={**several, "epochs": PASSES[:1]},
            rules=every[:1],
            seeds=seeds,
            flip=By("target", random),
            label="random labels",
        ),
        "retrained": pair.measure(
            attribution.retrained,
            over={"target": shown, "n": [RETRAINED_N]},
            rules=every,
            seeds=study.ladder.subsets(1),
            label="retrained",
        ),
    }
    return pd.concat(
        [part.assign(experiment=name) for name, part in parts.items()], ignore_index=True
    )


MEASUREMENTS: dict[str, Callable[[Study], pd.DataFrame]] = {
    "heads": heads, "resolutions": resolutions, "stylised": stylised, "curves": curves,
    "depths": depths, "shape": shape, "cues": left_of_cues, "hidden": hidden,
    "influence": influence,
}  # fmt: skip
"""What is measured, by the table that it gives."""
ASKED = {"photographs": tuple(MEASUREMENTS), "microcosm": ("heads", "curves", "depths", "shape")}
"""Which of them in each world."""
