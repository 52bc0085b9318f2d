"""What the claims of data/claims.yaml are judged by, and what the chapters show beside it.

Each measurement takes a study, which is networks and targets, and returns the rows of one table.
"""

from collections.abc import Callable, Iterable

import pandas as pd

from lib.constraint import NATURAL, Constraint
from lib.images import sample, subset
from lib.shape_bias import bias
from lib.studies import altered, attribution, cue_use, inverted, likeness, transferred
from lib.studies.claims import rules
from lib.studies.dose import doses
from lib.studies.hidden_classes import hidden_matches
from lib.studies.ladder import By, Ladder
from lib.studies.pretrained import Training
from lib.studies.protocols import NEEDS
from lib.studies.study import Study, sizes_held
from lib.zoo.models import build

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


def shape(study: Study) -> pd.DataFrame:
    """Ask the sources about images whose two cues disagree."""
    kind = "drawn" if study.protocol.drawn else "phase"
    conflicts, _ = cue_use.pulled_apart(kind, study.learned_or_error(), CONFLICTS)
    return study.trained.measure(bias, conflicts=conflicts, label="shape")


def left_of_cues(study: Study) -> pd.DataFrame:
    """Measure what is left of the sources' own accuracy where a cue is taken away."""
    tested = sample(study.learned_or_error(), min(TESTED, len(study.learned_or_error())), seed=0)
    versions = cue_use.versions(tested, drawn=study.protocol.drawn)
    return study.trained.measure(cue_use.accuracies, versions=versions, label="cues")


def inversions(study: Study) -> pd.DataFrame:
    """Look for images by their features, and ask the sources of all other seeds what they show."""
    learned = study.learned_or_error()
    images = sample(learned, min(inverted.COUNT, len(learned)), seed=0)
    juries = {
        seed: {
            inverted.judges(kind): [study.ladder.networks[kind, other] for other in others]
            for kind in study.trained.names
        }
        for seed in study.ladder.seeds
        if (others := [other for other in study.ladder.seeds if other != seed])
    }
    return study.ladder.measure(
        inverted.inversions,
        images=images,
        others=learned[likeness.elsewhere(images.y, learned.y, seed=0)],
        jury=By("source_seed", juries),
        **inverted.SEARCH,
        label="inversions",
    )


def _grouped(study):
    """Return the targets whose classes have groups; raise ValueError where none has."""
    known = {name: pair for name, pair in study.targets.items() if name in GROUPS}
    if not known:
        raise ValueError(f"influence is asked of {', '.join(GROUPS)}, and it is no target here")
    return known


def hidden(study: Study) -> pd.DataFrame:
    """Ask whether influential images share a class that the head was never told."""
    return pd.concat(
        [
            study.main.measure(
                hidden_matches,
                over={"target": _grouped(study)},
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
        for name, (train, test) in _grouped(study).items()
    }
    every = attribution.rules_around(DAMPING, CUTOFF)
    several = {"target": shown, "n": MATCHED_N}
    seeds = study.ladder.subsets(rules()["subsets"])
    random = {name: 1 - 1 / len(test.classes) for name, (_, test) in shown.items()}
    parts = {
        "matches": study.main.measure(
            attribution.matches,
            over={**several, "epochs": PASSES},
            rules=every,
            seeds=seeds,
            label="matches",
        ),
        "random labels": study.pair.measure(
            attribution.matches,
            over={**several, "epochs": PASSES[:1]},
            rules=every[:1],
            seeds=seeds,
            flip=By("target", random),
            label="random labels",
        ),
        "retrained": study.pair.measure(
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


def _check_sources(protocol):
    """Raise ValueError where blocks are to be trained of a source that there will not be."""
    if not protocol.depth_sources:
        return
    kinds = protocol.kinds
    for text in protocol.depth_sources:
        if Constraint.parse(text) not in kinds:
            listed = ", ".join(kind.text for kind in kinds)
            raise ValueError(f"depth_sources has {text!r}; the sources are {listed}")


MEASUREMENTS: dict[str, Callable[[Study], pd.DataFrame]] = {
    "heads": transferred.heads, "heads_wider": transferred.heads_wider,
    "resolutions": altered.resolutions,
    "resolutions_of_controls": altered.resolutions_of_controls, "stylised": altered.stylised,
    "curves": transferred.curves, "curves_wider": transferred.curves_wider,
    "depths": transferred.depths, "shape": shape, "doses": doses, "cues": left_of_cues,
    "hidden": hidden, "influence": influence, "inversions": inversions,
}  # fmt: skip
"""What is measured, by the table that it gives."""
OF_LEARNED, OF_GROUPS = {"shape", "cues", "inversions"}, {"hidden", "influence"}
"""Those that ask the sources about what they have learned, and heads about groups of classes."""


def check(study: Study, tables: Iterable[str]) -> None:
    """Raise ValueError where tables ask for what a study lacks; it needs no networks yet."""
    protocol = study.protocol
    arch = protocol.sources.get("recipe", {}).get("arch", Training.arch)
    for table in tables:
        if table not in MEASUREMENTS:
            raise ValueError(f"there is no table {table!r}; allowed are {', '.join(MEASUREMENTS)}")
        for name in NEEDS.get(table, ()):
            if name == "depths":
                _check_sources(protocol)
                Ladder({(NATURAL, 0): build(arch, 2)}).check_blocks(*protocol.depths)
            elif name.endswith("sizes"):
                sizes_held(study.targets, getattr(protocol, name))
        if table in OF_LEARNED:
            study.learned_or_error()
        if table in OF_GROUPS:
            _grouped(study)
        if table == "doses" and not protocol.drawn:
            raise ValueError("doses is asked of sources that learn the microcosm, and these do not")
        if table == "resolutions_of_controls":
            altered.check_controls(study)
        if table == "stylised":
            altered.cued(study.targets)
