"""The networks that are compared, and the measuring of all of them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd
import torch
from torch import nn

from lib import datasets, microcosm
from lib.constraint import MIXED_TEXTURES, NATURAL, UNTRAINED, Constraint, constraints
from lib.freezing import split
from lib.images import Images
from lib.networks import choose_device
from lib.runtime.parallel import each, on_cluster
from lib.runtime.rows import Job, collect
from lib.runtime.rules import ParameterError, listed
from lib.studies import pretrained
from lib.studies.parameters import LEARNING
from lib.training import NotFinite
from lib.zoo import published, shipped

NOTED = (
    "source_data", "n_source", "source_epochs", "attack_steps", "checkpoints", "image_size",
)  # fmt: skip
"""The parameters that say how networks were made, besides what every row says."""


@dataclass(frozen=True)
class By:
    """A value that differs by others: `By("target", {"digits": [20, 40]})`.

    key: a column of the rows, such as constraint, source_seed or a key of `over`, or several.
    values: by the value of that column, or by the tuple of them.
    """

    key: str | tuple[str, ...]
    values: Mapping

    def value(self, columns: Mapping) -> object:
        """Return the value that belongs to these columns."""
        if isinstance(self.key, str):
            return self.values[columns[self.key]]
        return self.values[tuple(columns[name] for name in self.key)]


NETWORK = ("constraint", "source_seed")
"""The key of what differs by network: `By(NETWORK, ladder.each(…))`."""


@dataclass(frozen=True)
class Ladder:
    """Networks by what they were trained under and by training seed: natural, robust, controls.

    networks: {(constraint, seed): network in eval mode}. records: what is known of the making of
    those that were trained. device: where all is computed. rows_file: keeps what is measured, as
    in `lib.runtime.rows.collect`, or "". noted: columns for that file. cluster: where jobs run, as
    in `lib.runtime.parallel.each`.
    """

    networks: dict[tuple[Constraint, int], nn.Module]
    records: dict[tuple[Constraint, int], dict] = field(default_factory=dict)
    device: str | torch.device = "cpu"
    rows_file: str = ""
    noted: dict = field(default_factory=dict)
    cluster: str = ""

    @classmethod
    def of(
        cls,
        given: Mapping,
        train: Images | None = None,
        test: Images | None = None,
        *,
        under: Iterable[Constraint] | None = None,
        seeds: Iterable[int] | None = None,
        controls: bool = True,
    ) -> "Ladder":
        """Make the ladder that a chapter's parameters ask for.

        given: the parameters by name: l2, linf, seeds, source_epochs, attack_steps, device and,
        where it has them, more_sources, checkpoints, rows_file, cluster and those of NOTED. train,
        test: what the sources learn, as in `lib.studies.pretrained.source`, or None for the images
        of source_data; where that is "photographs", no source is trained: those that come with the
        book are taken, as of `lib.zoo.shipped`. under: constraints, or None for those of l2, linf
        and more_sources, or for the networks that checkpoints names, which then take their place;
        several files of one constraint are its seeds. seeds: training seeds, or None for as many as
        given says. controls: whether to add untrained networks, of the natural one's architecture.

        Raises ValueError where checkpoints has no natural network, no other, or not equally many
        of each, or stands beside more_sources, and as `pretrained.source`,
        `published.constrained` and `shipped.load` do.
        """
        device, more = choose_device(given["device"]), listed(given.get("more_sources", ""))
        from_files = given.get("checkpoints") and under is None
        come = train is None and not from_files and shipped.meant(given["source_data"])
        if train is None and not come:
            train, test = _images(given)
        if from_files:
            if more:
                raise ValueError("more_sources are trained, and checkpoints are not; give only one")
            made = _from_files(given["checkpoints"], device, given.get("image_size", 0))
        else:
            asked = constraints(given["l2"], given["linf"], more) if under is None else list(under)
            seeds = range(given["seeds"]) if seeds is None else seeds
            keys = [(c, s) for s in seeds for c in asked]
            if come:
                keys += [(UNTRAINED, s) for c, s in keys if c == NATURAL and controls]
            made = _shipped(keys, device) if come else _trained(given, train, test, keys, device)
        networks = {key: model for key, (model, _) in made.items()}
        records = {key: record for key, (_, record) in made.items()}
        for (constraint, seed), record in records.items() if controls and not come else ():
            if constraint == NATURAL:
                how = {"seed": seed, "arch": record.get("arch", "small_resnet"), "device": device}
                networks[UNTRAINED, seed] = pretrained.untrained(train, **how)
        true = [name for name in NOTED if name in given and not (come and name in LEARNING)]
        noted = {name: given[name] for name in true}
        cluster = given.get("cluster", "")
        where = given["device"] if cluster else device  # "auto" is then for a worker to say
        return cls(networks, records, where, given.get("rows_file", ""), noted, cluster)

    @classmethod
    def of_mixed_textures(cls, given: Mapping, count: int, test: Images) -> "Ladder":
        """Make natural sources that had only the shape to learn from: textures are drawn at random.

        given, test: as in `of`. count: training images, drawn of the microcosm.
        """
        generator = torch.Generator().manual_seed(0)
        texture = torch.randint(len(microcosm.CLASSES), (count,), generator=generator)
        shapes = microcosm.draw(count, 7, texture=texture, size=test.x.shape[-1])
        return cls.of(given, shapes, test, under=[NATURAL], controls=False).named(MIXED_TEXTURES)

    @property
    def names(self) -> list[Constraint]:
        """What the networks were trained under, in order."""
        return sorted({constraint for constraint, _ in self.networks})

    @property
    def seeds(self) -> list[int]:
        """The training seeds, in order."""
        return sorted({seed for _, seed in self.networks})

    @property
    def robust(self) -> list[Constraint]:
        """The constraints with a ball: ℓ2, or where there is none ℓ∞, of growing radius.

        Raises ValueError where there is neither.
        """
        balls = [constraint for constraint in self.names if constraint.ball is not None]
        if not balls:
            raise ValueError("no source is robust; give one of l2 or linf besides the natural one")
        return [ball for ball in balls if ball.name == "l2"] or balls

    @property
    def middle(self) -> Constraint:
        """The middle one of `robust`, which stands for all of them."""
        return self.robust[len(self.robust) // 2]

    @property
    def strongest(self) -> Constraint:
        """The last one of `robust`."""
        return self.robust[-1]

    def only(self, *names: Constraint, seeds: Iterable[int] | None = None) -> "Ladder":
        """Choose the networks of some constraints, in the order named, and of some seeds.

        names: none for all. seeds: None for all. What is not there is passed over.
        """
        names = names or tuple(dict.fromkeys(constraint for constraint, _ in self.networks))
        chosen = [(name, s) for name in names for s in (self.seeds if seeds is None else seeds)]
        networks = {key: self.networks[key] for key in chosen if key in self.networks}
        records = {key: self.records[key] for key in networks if key in self.records}
        return replace(self, networks=networks, records=records)

    def named(self, name: Constraint) -> "Ladder":
        """Call all networks by another name, where there is one of each seed."""
        return replace(
            self,
            networks={(name, seed): model for (_, seed), model in self.networks.items()},
            records={(name, seed): record for (_, seed), record in self.records.items()},
        )

    def __or__(self, other: "Ladder") -> "Ladder":
        """Join two ladders; the device and the file are those of the first."""
        networks, records = self.networks | other.networks, self.records | other.records
        return replace(self, networks=networks, records=records)

    def subsets(self, count: int) -> By:
        """Return for each source seed the seeds of `count` subsets, of its own and of no other."""
        return By("source_seed", {s: [1000 * s + i for i in range(count)] for s in self.seeds})

    def making(self) -> pd.DataFrame:
        """Return a row for each trained network: constraint, source_seed, and its record."""
        return pd.DataFrame({**_named(key), **record} for key, record in self.records.items())

    def each(self, function: Callable, *, label: str, **call) -> dict[tuple[Constraint, int], Any]:
        """Call a function with each network, in parallel, and return what it returns by network.

        function, label, call: as in `measure`.
        """
        calls = [
            {"function": function, "network": model, "call": _resolved(call, _named(key))}
            for key, model in self.networks.items()
        ]
        results = each(_call, calls, label=label, device=self.device, cluster=self.cluster)
        return dict(zip(self.networks, results, strict=True))

    def measure(
        self,
        function: Callable,
        *,
        over: Mapping | None = None,
        together: Mapping | None = None,
        label: str,
        **call,
    ) -> pd.DataFrame:
        """Call a function with each network, and for each entry of `over`, and collect its rows.

        function: takes the network first; returns a DataFrame, a dict or a list of dicts, one a
        row. over: {argument: {name: value}} or {argument: [plain values]}: the function is called
        for each combination, and its rows have the name (or the value) as a column. together:
        {argument: values} of one argument that a call takes as a list, and for each of whose values
        the function yields its rows. label: what is measured, for the progress line and the file.
        call: further arguments of the function. An argument that differs by network or by entry,
        and a later key of `over`, is a By.

        Calls run in parallel, and with `rows_file` the rows of each call, or of each value of
        `together`, are kept as soon as they are there, and spared in a later run.

        Returns the rows in the order of `over`, and for each entry of the networks, with the
        columns constraint (a Constraint), source_seed and the keys of `over` before those of the
        function. Raises as the function and `collect` do; what is not finite is a ParameterError.
        """
        jobs, several = [], next(iter(together or {}), "")
        for entry in _entries(over or {}):
            arguments = call | {name: argument for name, (_, argument) in entry.items()}
            for key, model in self.networks.items():
                columns = _named(key) | {name: value for name, (value, _) in entry.items()}
                texts = columns | {"constraint": key[0].text}
                resolved = _resolved({**arguments, **(together or {})}, columns)
                if several:  # each value once
                    resolved[several] = list(dict.fromkeys(resolved[several]))
                jobs.append(Job(function, resolved, texts, (model,), several))
        kept: dict = {"file": self.rows_file, "noted": self.noted, "cluster": self.cluster}
        try:
            rows = collect(jobs, label=label, device=self.device, **kept)
        except NotFinite as error:  # lr is a parameter of most chapters
            raise ParameterError(error) from None
        if len(rows):
            rows["constraint"] = rows["constraint"].map({name.text: name for name in self.names})
        return rows

    def check_blocks(self, *unfrozen_blocks: int) -> None:
        """Raise ValueError unless every network can be unfrozen so deep, as `split` does."""
        for model in self.networks.values():
            for count in unfrozen_blocks:
                split(model, count)

    def check_classes(self, images: Images) -> None:
        """Raise ValueError unless every network tells as many classes apart as images have."""
        for (name, _), model in self.networks.items():
            knows, shown = model.head.out_features, len(images.classes)
            if knows != shown:
                raise ValueError(
                    f"the network {name} tells {knows} classes apart, and source_data has {shown}; "
                    "name as source_data what it has learned"
                )


def _call(function, network, call):
    """Call a function with a network."""
    return function(network, **call)


def _named(key):
    """Return the columns of a network's rows."""
    return {"constraint": key[0], "source_seed": key[1]}


def _resolved(call, columns):
    """Put in place of each By the value that belongs to these columns."""
    return {k: v.value(columns) if isinstance(v, By) else v for k, v in call.items()}


def _entries(over):
    """List the combinations of `over`, {argument: (name, value)}; a By depends on those before."""
    entries = [{}]
    for argument, choices in over.items():
        grown = []
        for entry in entries:
            columns = {name: value for name, (value, _) in entry.items()}
            here = choices.value(columns) if isinstance(choices, By) else choices
            pairs = here.items() if isinstance(here, Mapping) else ((v, v) for v in here)
            grown += [{**entry, argument: pair} for pair in pairs]
        entries = grown
    return entries


def _images(given):
    """Load what the sources learn; of photographs that are not here, the microcosm stands for them.

    That is where networks from files take their place: only the statistics of untrained ones are
    then measured on it.
    """
    source_data, size = given["source_data"], given.get("image_size", 32)
    name = "microcosm" if shipped.meant(source_data) else source_data
    train = datasets.load(name, n=given.get("n_source") or None, size=size)
    return train, datasets.load(name, "test", size=size)


def _shipped(keys, device):
    """Return {(constraint, seed): (network, record)} of sources that come with the book."""
    found = {}
    for asked, seed in keys:
        model, record = shipped.load(asked, seed)
        found[shipped.under(record), seed] = model.to(device), record
    return found


def _trained(given, train, test, keys, device):
    """Return {(constraint, seed): (network, record)} of sources, from the cache or trained."""
    how = {"epochs": given["source_epochs"], "attack_steps": given["attack_steps"]}
    shared = {"train": train, "test": test, "device": str(device), **how}
    calls = [{**shared, "constraint": constraint, "seed": seed} for constraint, seed in keys]
    if not given.get("cluster"):
        made = each(pretrained.source, calls, label="sources", device=device)
        return dict(zip(keys, made, strict=True))
    # Kept here: the disks of workers come and go.
    calls = [{**call, "device": given["device"]} for call in calls]
    found = [pretrained.kept(**call) for call in calls]
    left = [number for number, source in enumerate(found) if source is None]
    for which, (model, record) in on_cluster(
        given["cluster"],
        pretrained.source,
        [calls[number] for number in left],
        label="sources",
        device=given["device"],
    ):
        pretrained.keep(model, record, **calls[left[which]])
        found[left[which]] = model, record
    found = [(model.to(device), record) for model, record in found]
    return dict(zip(keys, found, strict=True))


def _from_files(checkpoints, device, image_size):
    """Return {(constraint, seed): (network, record)} of files; those of a constraint are seeds."""
    by_constraint = {}
    names = published.listed(checkpoints)
    for constraint, model, record in published.constrained(
        names, device=device, image_size=image_size
    ):
        by_constraint.setdefault(constraint, []).append((model, record))
    counts = {len(networks) for networks in by_constraint.values()}
    if NATURAL not in by_constraint or len(by_constraint) < 2 or len(counts) > 1:
        given = ", ".join(f"{len(v)} {c.text}" for c, v in by_constraint.items()) or "none"
        raise ValueError(
            f"the checkpoints are {given}; allowed are as many natural ones, at least 1, as of "
            "each robust constraint, at least one"
        )
    return {(c, s): by_constraint[c][s] for c in sorted(by_constraint) for s in range(*counts)}
