"""Networks that one could start from, by the names that a command line takes."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from lib import datasets
from lib.constraint import FROM_SCRATCH, UNTRAINED, Constraint
from lib.networks import choose_device
from lib.studies import Ladder, pretrained
from lib.studies.parameters import a_source, check_learning
from lib.zoo import published, shipped
from lib.zoo.names import locate

RANDOM = {UNTRAINED, FROM_SCRATCH}
SMALL, LARGE = 32, 224
"""Pixels of a side that the small networks are fed with, and those for photographs."""


class Start(NamedTuple):
    """A network to start from.

    name: as typed. constraint: what it was trained under, or what its file is called. model: in
    eval mode. size: pixels of a side of the images it expects.
    """

    name: str
    constraint: Constraint
    model: nn.Module
    size: int


def load(
    names: Iterable[str],
    *,
    source_data: str = "microcosm",
    n_source: int = 2500,
    source_seed: int = 0,
    source_epochs: int = 6,
    attack_steps: int = 1,
    device: str | torch.device = "auto",
    cluster: str = "",
) -> list[Start]:
    """Return the networks of some names, trained where they are of the ladder and not cached.

    names: each a constraint as `lib.constraint.Constraint.parse` reads it, such as "natural" or
    "l2 0.5", for a source trained under it; "untrained" or "from scratch", random weights of which
    the second are meant to be trained whole; one of those that come with the book, such as
    "photographs l2 0.5"; or a checkpoint as in `lib.zoo.published.network`. source_data: what the
    ladder learns, as in `lib.datasets.load`, or "photographs": then it is of those that come with
    the book. n_source: how many images of it, 0 for all; source_seed, source_epochs, attack_steps,
    device: seed, epochs and the rest of `lib.studies.pretrained.source`. cluster: where the ladder
    is trained, as in `lib.runtime.parallel.each`.

    Raises ValueError for an unknown name, for two networks that are called the same, for learning
    that those that come with the book have not had, and as `lib.datasets.load`,
    `lib.zoo.shipped.load` and `lib.zoo.published.network` do.
    """
    names, where = list(names), choose_device(device)
    for name in names:
        a_source(name)
    under = {name: constraint for name in names if (constraint := of_ladder(name))}
    given = {"source_data": source_data, "n_source": n_source, "source_epochs": source_epochs}
    given |= {"attack_steps": attack_steps, "device": device, "cluster": cluster}
    check_learning(given)
    models = _networks(set(under.values()), given, source_seed)
    starts = [
        Start(name, under[name], models[under[name]], SMALL)
        if name in under
        else _shipped(name, source_seed, where) or _checkpoint(name, where)
        for name in names
    ]
    labels = [str(start.constraint) for start in starts]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice:
        raise ValueError(f"two sources are called {twice}; name each once, or rename a file")
    return starts


def idle(name: str, source_data: str = "microcosm") -> set[str]:
    """Name the settings of `load` that have no part in a start of this name.

    source_data: as in `load`. A file heeds the device alone, what comes with the book its training
    seed as well, and random weights the images, too, that their statistics are measured on.
    """
    under = of_ladder(name)
    if under is None:
        heeded = ["source_seed"] if shipped.parse(name) else []
    elif shipped.meant(source_data):
        heeded = ["source_seed", "source_data"]
    elif under in RANDOM:
        heeded = ["source_seed", "source_data", "n_source"]
    else:
        return set()
    return set(load.__kwdefaults__ or ()) - {"device", *heeded}


def of_ladder(name: str) -> Constraint | None:
    """Return the constraint of the ladder, or of random weights, that a name means, or None."""
    try:
        return Constraint.parse(name)
    except ValueError:
        return None


def depth(name: str, unfrozen_blocks: int | None) -> int:
    """Return how many blocks of a start are trained, as in `lib.transfer.transfer`.

    unfrozen_blocks: as asked for, or None: then the head alone, and from scratch everything. Raises
    ValueError where less is asked for from scratch.
    """
    if of_ladder(name) != FROM_SCRATCH:
        return unfrozen_blocks or 0
    if unfrozen_blocks not in (None, -1):
        raise ValueError(
            f"unfrozen_blocks is {unfrozen_blocks}, but from scratch everything is trained; leave "
            "it out, or start from untrained"
        )
    return -1


def _networks(asked, given, seed):
    """Return {constraint: network} of the ladder, and of random weights."""
    device = choose_device(given["device"])
    if shipped.meant(given["source_data"]):
        learned = {name: UNTRAINED if name == FROM_SCRATCH else name for name in asked}
        return {name: shipped.load(c, seed)[0].to(device) for name, c in learned.items()}
    trained, controls, models = asked - RANDOM, asked & RANDOM, {}
    if trained:
        train, test = datasets.learned(given["source_data"], given["n_source"])
        how = {"under": sorted(trained), "seeds": [seed], "controls": False}
        made = Ladder.of(given, train, test, **how)
        models |= {constraint: model for (constraint, _), model in made.networks.items()}
    elif controls:
        train = _measured_on(given["source_data"], given["n_source"])
    if controls:
        model = pretrained.untrained(train, seed=seed, device=device)
        models |= dict.fromkeys(controls, model)
    return models


def _measured_on(source_data, n_source):
    """Load what the statistics of random weights are measured on: no test image has a part."""
    try:
        return datasets.load(source_data, n=n_source or None)
    except ValueError as error:
        raise ValueError(str(error).replace("n is", "n_source is", 1)) from None


def _shipped(name, seed, device):
    """Return a network that comes with the book, or None where the name is of no such one."""
    constraint = shipped.parse(name)
    if constraint is None:
        return None
    model, _ = shipped.load(constraint, seed)
    called = Constraint(f"{shipped.PHOTOGRAPHS} {constraint}")  # beside a source of the ladder
    return Start(name, called, model.to(device), SMALL)


def _checkpoint(name, device):
    """Read a network from a file; it is called after the file."""
    model, _, record = published.network(name)
    usual = SMALL if locate(record["arch"])[0] == "small" else LARGE
    size = getattr(model, "image_size", None) or usual
    called = " ".join(filter(None, (Path(record["file"]).stem, record["entry"])))
    return Start(name, Constraint(called), model.to(device), size)
