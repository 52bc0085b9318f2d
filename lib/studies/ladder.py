"""The networks that are compared, and the measuring of all of them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import pandas as pd
import torch
from torch import nn

from lib import microcosm
from lib.constraint import MIXED_TEXTURES, NATURAL, Constraint, middle
from lib.freezing import split
from lib.images import Images
from lib.networks import choose_device
from lib.runtime.parallel import each
from lib.runtime.rows import Job, collect
from lib.runtime.rules import ParameterError
from lib.studies import making
from lib.training import NotFinite


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
    in `lib.runtime.parallel.each`. settings: as `using` keeps them.
    """

    networks: dict[tuple[Constraint, int], nn.Module]
    records: dict[tuple[Constraint, int], dict] = field(default_factory=dict)
    device: str | torch.device = "cpu"
    rows_file: str = ""
    noted: dict = field(default_factory=dict)
    cluster: str = ""
    settings: dict = field(default_factory=dict)

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
        where it has them, more_sources, checkpoints, rows_file, cluster, recipe, which is further
        settings of `lib.studies.pretrained.Training`, and those of `lib.studies.making.NOTED`.
        train, test: what the sources learn, as in `lib.studies.pretrained.source`, or None for the
        images of source_data; where that is "photographs", no source is trained: those that come
        with the book are taken, as of `lib.zoo.shipped`. under: constraints, or None for those of
        l2, linf and more_sources, or for the networks that checkpoints names, which then take their
        place; several files of one constraint are its seeds. seeds: training seeds, or None for as
        many as given says. controls: whether to add untrained networks, of the natural one's
        architecture.

        Raises ValueError where checkpoints has no natural network, no other, or not equally many
        of each, or stands beside more_sources, and as `pretrained.source`,
        `published.constrained` and `shipped.load` do.
        """
        networks, records = making.networks(
            given, train, test, under=under, seeds=seeds, controls=controls
        )
        cluster = given.get("cluster", "")
        # What "auto" is there is for a worker to say.
        device = given["device"] if cluster else choose_device(given["device"])
        noted = making.parameters_used(given, train, under)
        return cls(networks, records, device, given.get("rows_file", ""), noted, cluster)

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
        """The middle one of `robust`, of two the weaker, which stands for all of them."""
        return middle(self.robust)

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
        """Join two ladders; the device, the file and the settings are those of the first."""
        networks, records = self.networks | other.networks, self.records | other.records
        return replace(self, networks=networks, records=records)

    def using(self, **settings) -> "Ladder":
        """Keep arguments of the functions that are called, for each call that does not give them.

        settings: as `call` of `measure`. A By of other keys than the network's is for `measure`
        alone; what `each` calls is given its own.
        """
        return replace(self, settings={**self.settings, **settings})

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
        call = self.settings | call
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
        call: further arguments of the function, beside those of `using`. An argument that differs
        by network or by entry is a By.

        Calls run in parallel, and with `rows_file` the rows of each call, or of each value of
        `together`, are kept as soon as they are there, and spared in a later run.

        Returns the rows in the order of `over`, and for each entry of the networks, with the
        columns constraint (a Constraint), source_seed and the keys of `over` before those of the
        function. Raises as the function and `collect` do; what is not finite is a ParameterError.
        """
        jobs, several = [], next(iter(together or {}), "")
        for entry in _entries(over or {}):
            named = {name: argument for name, (_, argument) in entry.items()}
            arguments = self.settings | call | named
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
    """List the combinations of `over`, each {argument: (name, value)}."""
    pairs = [
        choices.items() if isinstance(choices, Mapping) else [(value, value) for value in choices]
        for choices in over.values()
    ]
    return [dict(zip(over, chosen, strict=True)) for chosen in product(*pairs)]
