"""How networks of a ladder are made: trained, read from files, or as they come with the book."""

from collections.abc import Iterable, Mapping

from torch import nn

from lib import datasets
from lib.constraint import NATURAL, UNTRAINED, Constraint, check_shown, constraints
from lib.images import Images
from lib.networks import choose_device
from lib.runtime.parallel import each, on_cluster
from lib.runtime.rules import listed
from lib.studies import pretrained
from lib.studies.parameters import LEARNING
from lib.zoo import published, shipped

NOTED = (
    "source_data", "n_source", "source_epochs", "attack_steps", "checkpoints", "image_size",
)  # fmt: skip
"""The parameters that say how networks were made, besides what every row says."""

READS = ("sources/*.json",)
Networks = dict[tuple[Constraint, int], nn.Module]
Records = dict[tuple[Constraint, int], dict]


def networks(
    given: Mapping,
    train: Images | None = None,
    test: Images | None = None,
    *,
    under: Iterable[Constraint] | None = None,
    seeds: Iterable[int] | None = None,
    controls: bool = True,
) -> tuple[Networks, Records]:
    """Make the networks that a chapter's parameters ask for, as `lib.studies.Ladder.of` does.

    given, train, test, under, seeds, controls: as there. Returns the networks in eval mode and what
    is recorded of their making, both by (constraint, seed); of an untrained network nothing is,
    unless it comes with the book. Raises ValueError as `Ladder.of` does.
    """
    device, more = choose_device(given["device"]), listed(given.get("more_sources", ""))
    come = _with_the_book(given, train, under)
    if train is None and not come:
        train, test = _images(given)
    if _names_files(given, under):
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
    models = {key: model for key, (model, _) in made.items()}
    records = {key: record for key, (_, record) in made.items()}
    if controls and not come:
        models |= _untrained(records, train, device)
    return models, records


def parameters_used(
    given: Mapping, train: Images | None, under: Iterable[Constraint] | None
) -> dict:
    """Return those of the parameters NOTED that had a part in making the networks.

    given, train, under: as in `networks`.
    """
    without = LEARNING if _with_the_book(given, train, under) else ()
    return {name: given[name] for name in NOTED if name in given and name not in without}


def _names_files(given, under):
    """Tell whether files take the place of sources."""
    return given.get("checkpoints") and under is None


def _with_the_book(given, train, under):
    """Tell whether sources are taken that come with the book."""
    of_own = train is not None or _names_files(given, under)
    return not of_own and shipped.meant(given["source_data"])


def _images(given):
    """Load what the sources learn; of photographs that are not here, the microcosm stands for them.

    That is where networks from files take their place: only the statistics of untrained ones are
    then measured on it.
    """
    source_data, size = given["source_data"], given.get("image_size", 32)
    name = "microcosm" if shipped.meant(source_data) else source_data
    return datasets.learned(name, given.get("n_source", 0), size=size)


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
    how |= given.get("recipe", {})
    shared = {"train": train, "test": test, "device": str(device), **how}
    calls = [{**shared, "constraint": constraint, "seed": seed} for constraint, seed in keys]
    if not given.get("cluster"):
        made = each(pretrained.source, calls, label="sources", device=device)
        return dict(zip(keys, made, strict=True))
    # Kept here: the disks of workers come and go.
    calls = [{**call, "device": given["device"]} for call in calls]
    found = [pretrained.cached(call) for call in calls]
    left = [number for number, source in enumerate(found) if source is None]
    for which, (model, record) in on_cluster(
        given["cluster"],
        pretrained.source,
        [calls[number] for number in left],
        label="sources",
        device=given["device"],
    ):
        pretrained.keep(model, record, calls[left[which]])
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
    check_shown(by_constraint)
    counts = {len(networks) for networks in by_constraint.values()}
    if NATURAL not in by_constraint or len(by_constraint) < 2 or len(counts) > 1:
        given = ", ".join(f"{len(v)} {c.text}" for c, v in by_constraint.items()) or "none"
        raise ValueError(
            f"the checkpoints are {given}; allowed are as many natural ones, at least 1, as of "
            "each robust constraint, at least one"
        )
    return {(c, s): by_constraint[c][s] for c in sorted(by_constraint) for s in range(*counts)}


def _untrained(records, train, device):
    """Return {(UNTRAINED, seed): network}: a control for each natural one, of its architecture."""
    made = {}
    for (constraint, seed), record in records.items():
        if constraint == NATURAL:
            built = {"arch": "small_resnet", **record.get("parameters", record)}
            how = {name: built[name] for name in ("arch", "width") if name in built}
            made[UNTRAINED, seed] = pretrained.untrained(train, seed=seed, device=device, **how)
    return made
