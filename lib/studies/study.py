"""A study: networks, and the targets that they are fine-tuned to, as a protocol asks for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lib import datasets
from lib.constraint import NATURAL, UNTRAINED, Constraint
from lib.images import Images
from lib.networks import choose_device
from lib.studies import contrasts
from lib.studies.ladder import By, Ladder
from lib.studies.protocols import BUNDLED, MICROCOSM, Protocol
from lib.zoo import shipped

NOT_LEARNED = "what the sources learn is asked for; give its folder as --learned"


@dataclass(frozen=True)
class Study:
    """What is measured: networks, and targets that they are fine-tuned to.

    learned: test images of what the networks have learned, or None. accuracies: of the networks on
    images of their own task that they have not learned, 0 to 1, by (constraint, seed).
    """

    protocol: Protocol
    ladder: Ladder
    targets: Mapping[str, tuple[Images, Images]]
    learned: Images | None
    accuracies: Mapping[tuple[Constraint, int], float]

    @property
    def robust(self) -> Constraint:
        """The rung that stands for all robust sources."""
        return contrasts.robust(self.protocol.name)

    @property
    def pair(self) -> Ladder:
        """The sources of the main contrast: natural ones, and that rung."""
        return self.ladder.only(NATURAL, self.robust)

    @property
    def main(self) -> Ladder:
        """The same, and random weights beside them."""
        return self.ladder.only(NATURAL, self.robust, UNTRAINED)

    @property
    def deepened(self) -> Ladder:
        """The sources whose blocks are trained: those that the protocol names, or the main ones."""
        named = map(Constraint.parse, self.protocol.depth_sources)
        return self.ladder.only(*named) if self.protocol.depth_sources else self.main

    @property
    def controls(self) -> Ladder:
        """The sources of a kind of `lib.kinds` that has no ball: of noise, of blurred images, …"""
        return self.ladder.only(*(name for name in self.ladder.names if is_control(name)))

    @property
    def trained(self) -> Ladder:
        """All sources but random weights, which know no classes."""
        return self.ladder.only(*(name for name in self.ladder.names if name != UNTRAINED))

    def learned_or_error(self) -> Images:
        """Return test images of what the sources have learned; raise ValueError without them."""
        if self.learned is None:
            raise ValueError(NOT_LEARNED)
        return self.learned


def is_control(constraint: Constraint) -> bool:
    """Tell whether sources are trained of a kind that is neither natural nor has a ball."""
    return constraint.kind is not None and constraint.ball is None


def sizes_held(targets: Mapping[str, tuple[Images, Images]], sizes: Sequence[int]) -> By:
    """Return the sizes that each target has training images for; 0 is all it has.

    Raises ValueError for a target that has none.
    """
    held = {}
    for name, (train, _) in targets.items():
        held[name] = list(dict.fromkeys(n or len(train) for n in sizes if n <= len(train)))
        if not held[name]:
            raise ValueError(
                f"{name} has {len(train)} training images, and the sizes asked for are "
                f"{', '.join(map(str, sizes))}; give a smaller one"
            )
    return By("target", held)


def prepare(protocol: Protocol, targets: Sequence[str] = (), learned: str = "") -> Study:
    """Load the images that a protocol asks for: a study that has no networks yet.

    targets: folders, named as in the protocol; none where they come with the book. learned: the
    folder of what the sources learn, or "" where nothing asks for it. Raises ValueError for targets
    that are missing, not wanted or there twice, without a folder that sources are to learn, for
    robust sources without the one that stands for all, and as `lib.datasets.load` does.
    """
    pairs, shown = _targets(protocol, targets), protocol.learned(learned)
    if not (shown or protocol.comes_with_the_book):
        raise ValueError(NOT_LEARNED)
    _check_rung(protocol)
    if not protocol.comes_with_the_book:
        protocol = replace(protocol, sources={**protocol.sources, "source_data": shown})
    test = datasets.load(shown, "test") if shown else None
    return Study(protocol, Ladder({}), pairs, test, {})


def equip(study: Study, *, device: str = "auto", cluster: str = "") -> Study:
    """Give a study its sources: trained, or found where they were.

    study: as of `prepare`. device, cluster: as in `Ladder`. Raises as `Ladder.of` does.
    """
    if study.protocol.comes_with_the_book:
        ladder = _shipped(device, cluster)
        known = {
            key: record["validation"]["clean_accuracy"]
            for key, record in ladder.records.items()
            if key[0] != UNTRAINED
        }
    else:
        ladder = _trained({**study.protocol.sources, "device": device, "cluster": cluster})
        known = {key: record["test_accuracy"] for key, record in ladder.records.items()}
    return replace(study, ladder=ladder, accuracies=known)


def _check_rung(protocol):
    """Raise ValueError where the source that stands for the robust ones is not to be trained."""
    robust = contrasts.robust(protocol.name)
    if robust not in protocol.kinds:
        raise ValueError(
            f"the l2 of {protocol.name} lacks {robust.amount:g}, which all contrasts ask for"
        )


def _targets(protocol, targets):
    """Load the targets of a protocol, each its training and its test images, by name."""
    if protocol.targets == BUNDLED:
        if targets:
            raise ValueError(f"the targets of {protocol.name} come with the book; name none")
        return datasets.named(BUNDLED)
    names = [Path(folder).resolve().name for folder in targets]
    for name in names:
        if name not in protocol.targets or names.count(name) > 1:
            listed = ", ".join(protocol.targets)
            raise ValueError(f"the targets have {name!r}; allowed are {listed}, each once")
    folders = dict(zip(names, targets, strict=True))
    if missing := [name for name in protocol.targets if name not in folders]:
        raise ValueError(f"the targets lack {', '.join(missing)}; give a folder of each")
    return {name: datasets.pair(folders[name]) for name in protocol.targets}


def _shipped(device, cluster):
    """Return the ladder of all sources that come with the book."""
    place = choose_device("cpu" if cluster else device)
    made = {key: shipped.load(*key) for key in shipped.available()}
    networks = {key: network.to(place) for key, (network, _) in made.items()}
    records = {key: record for key, (_, record) in made.items()}
    return Ladder(networks, records, device if cluster else place, cluster=cluster)


def _trained(given):
    """Return the ladder of sources that are trained, or found in the cache."""
    ladder = Ladder.of(given)
    if given["source_data"] != MICROCOSM:
        return ladder
    test = datasets.load(MICROCOSM, "test")
    return ladder | Ladder.of_mixed_textures(given, given["n_source"], test)
