"""Networks that one could start from, by the names that a command line takes."""

from pathlib import Path
from typing import NamedTuple

import torch

from lib import data, published, sources
from lib.models import choose_device, locate
from lib.parameters import listed

UNTRAINED = "untrained"
"""The control: random weights."""
LARGE = 224
"""Pixels that networks for photographs are fed with; the small ones take 32."""


class Start(NamedTuple):
    """A network to start from.

    name: as typed. label: as figures say it. model: in eval mode. size: pixels of a side of the
    images it expects.
    """

    name: str
    label: str
    model: torch.nn.Module
    size: int


def names(l2, linf):
    """Name the sources of a ladder, as in `lib.sources.rungs`, and the untrained control."""
    rungs = sources.rungs(l2, linf)
    return [c if c == "natural" else f"{c} {eps:g}" for c, eps in rungs] + [UNTRAINED]


def known(name, value):
    """Check a chapter's parameter that lists sources by name: a rule for `lib.parameters`."""
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no text; write names with commas between them")
    for source in listed(value):
        check(source)


def check(name):
    """Raise ValueError unless a name is one that `load` takes."""
    if name == UNTRAINED or published.rung(name) or name in published.published():
        return
    try:
        arch, path = published.divided(name)
    except ValueError:
        raise ValueError(
            f"there is no source {name!r}; allowed are natural, l2 EPS, linf EPS, {UNTRAINED}, "
            "ARCH:PATH, and published ones such as resnet50_l2_eps3"
        ) from None
    locate(arch)
    if not path.is_file():
        raise ValueError(f"there is no file {path} (looked in {Path.cwd()}); name a checkpoint")


def load(
    names,
    *,
    source_data="microcosm",
    n_source=2500,
    source_seed=0,
    source_epochs=6,
    attack_steps=1,
    device="auto",
):
    """Return the networks of some names, trained where they are of the ladder and not cached.

    names: each "natural", "l2 EPS" or "linf EPS" (pixels of [0, 1]), a source of that constraint;
    "untrained"; or a checkpoint as in `lib.published.network`. source_data: what the ladder
    learns, as in `lib.data.load`; n_source: how many images of it, 0 for all; source_seed,
    source_epochs, attack_steps, device: seed, epochs and the rest of `lib.sources.source`.

    Returns a list of Start. Raises ValueError for an unknown name, for two checkpoints of one
    label, and as `lib.data.load` and `lib.published.network` do.
    """
    for name in names:
        check(name)
    device = choose_device(device)
    rungs = list(dict.fromkeys(published.rung(name) for name in names if published.rung(name)))
    made = {}
    if rungs or UNTRAINED in names:
        train = data.load(source_data, n=n_source or None)
    if rungs:
        settings = {"epochs": source_epochs, "attack_steps": attack_steps, "device": str(device)}
        test = data.load(source_data, "test")
        found = sources.ladder(train, test, rungs, [source_seed], **settings)
        made = {key[:2]: model for key, (model, _) in found.items()}
    starts = []
    for name in names:
        if key := published.rung(name):
            starts.append(Start(name, sources.name(*key), made[key], 32))
        elif name == UNTRAINED:
            model = sources.untrained(train, seed=source_seed, device=device)
            starts.append(Start(name, name, model, 32))
        else:
            starts.append(_checkpoint(name, device))
    labels = [start.label for start in starts]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice:
        raise ValueError(f"two sources are called {twice}; name each once, or rename a file")
    return starts


def of_ladder(
    train, test, rungs, seeds, *, checkpoints="", controls=True, device="auto", **settings
):
    """Return networks to fine-tune, several of each kind: sources, and as many untrained controls.

    train, test, rungs, seeds, device, settings: as in `lib.sources.ladder`. checkpoints: text;
    where it is not empty, the networks from files that it names, with commas between them, take
    the place of the ladder, as in `lib.published.ladder`. controls: whether to add the untrained
    ones, of the architecture of the natural source.

    Returns ({(name, seed): network in eval mode}, rungs): named as `lib.sources.name` does and
    "untrained"; the natural ones come first. Raises ValueError as those two do.
    """
    device = choose_device(device)
    if checkpoints:
        found = published.ladder(listed(checkpoints), device=device)
    else:
        found = sources.ladder(train, test, rungs, seeds, device=device, **settings)
    made = {(sources.name(c, eps), s): model for (c, eps, s), (model, _) in found.items()}
    for (constraint, _, s), (_, record) in found.items():
        if constraint == "natural" and controls:
            arch = record.get("arch", "small_resnet")
            made[UNTRAINED, s] = sources.untrained(train, seed=s, arch=arch, device=device)
    return made, list(dict.fromkeys(key[:2] for key in found))


def check_heads(networks, images):
    """Check that networks tell the classes of images apart, where their answers are to be read.

    networks: {(name, seed): network}, as of `of_ladder`. images: Images of the sources' data.
    Raises ValueError for a head of another number of classes.
    """
    for (name, _), model in networks.items():
        if model.head.out_features != len(images.classes):
            raise ValueError(
                f"the network {name} tells {model.head.out_features} classes apart, and "
                f"source_data has {len(images.classes)}; name as source_data what it has learned"
            )


def _checkpoint(name, device):
    """Read a network from a file; it is called after the file."""
    model, record = published.network(name)
    small = locate(record["arch"])[0] == "small"
    return Start(name, Path(record["file"]).stem, model.to(device), 32 if small else LARGE)
