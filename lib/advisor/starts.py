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
from lib.studies.parameters import a_source
from lib.zoo import published
from lib.zoo.names import locate

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
) -> list[Start]:
    """Return the networks of some names, trained where they are of the ladder and not cached.

    names: each a constraint as `lib.constraint.Constraint.parse` reads it, such as "natural" or
    "l2 0.5", for a source trained under it; "untrained" or "from scratch", random weights of which
    the second are meant to be trained whole; or a checkpoint as in `lib.zoo.published.network`.
    source_data: what the ladder learns, as in `lib.datasets.load`; n_source: how many images of it,
    0 for all; source_seed, source_epochs, attack_steps, device: seed, epochs and the rest of
    `lib.studies.pretrained.source`.

    Raises ValueError for an unknown name, for two networks that are called the same, and as
    `lib.datasets.load` and `lib.zoo.published.network` do.
    """
    names, device = list(names), choose_device(device)
    for name in names:
        a_source(name)
    of_ladder = {name: constraint for name in names if (constraint := _constraint(name))}
    models = {}
    if of_ladder:
        train = datasets.load(source_data, n=n_source or None)
    for control in {UNTRAINED, FROM_SCRATCH} & set(of_ladder.values()):
        models[control] = pretrained.untrained(train, seed=source_seed, device=device)
    if trained := set(of_ladder.values()) - {UNTRAINED, FROM_SCRATCH}:
        given = {"source_epochs": source_epochs, "attack_steps": attack_steps, "device": device}
        test, under = datasets.load(source_data, "test"), sorted(trained)
        made = Ladder.of(given, train, test, under=under, seeds=[source_seed], controls=False)
        models |= {constraint: model for (constraint, _), model in made.networks.items()}
    starts = [
        Start(name, of_ladder[name], models[of_ladder[name]], SMALL)
        if name in of_ladder
        else _checkpoint(name, device)
        for name in names
    ]
    labels = [str(start.constraint) for start in starts]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice:
        raise ValueError(f"two sources are called {twice}; name each once, or rename a file")
    return starts


def ladder(starts: Iterable[Start], *, source_seed: int = 0) -> Ladder:
    """Return starts as a Ladder, all of one seed, in their order, on the device they are on."""
    networks = {(start.constraint, source_seed): start.model for start in starts}
    devices = {next(model.parameters()).device for model in networks.values()}
    return Ladder(networks, device=devices.pop())


def depth(name: str, unfrozen_blocks: int | None) -> int:
    """Return how many blocks of a start are trained, as in `lib.transfer.transfer`.

    unfrozen_blocks: as asked for, or None: then the head alone, and from scratch everything. Raises
    ValueError where less is asked for from scratch.
    """
    if _constraint(name) != FROM_SCRATCH:
        return unfrozen_blocks or 0
    if unfrozen_blocks not in (None, -1):
        raise ValueError(
            f"unfrozen_blocks is {unfrozen_blocks}, but from scratch everything is trained; leave "
            "it out, or start from untrained"
        )
    return -1


def _constraint(name):
    """Return the constraint of the ladder that a name means, or None."""
    try:
        return Constraint.parse(name)
    except ValueError:
        return None


def _checkpoint(name, device):
    """Read a network from a file; it is called after the file."""
    model, _, record = published.network(name)
    usual = SMALL if locate(record["arch"])[0] == "small" else LARGE
    size = getattr(model, "image_size", None) or usual
    called = " ".join(filter(None, (Path(record["file"]).stem, record["entry"])))
    return Start(name, Constraint(called), model.to(device), size)
