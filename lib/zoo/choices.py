"""Which of a file's tensors are a network: entries, wrappers, copies, averages and heads."""

import collections
import re
from collections.abc import Collection, Container, Mapping

from torch import Tensor, nn

from lib.zoo.contents import Tensors, Unfit

WRAPPERS = re.compile(r"(?:(?:module|model|_orig_mod|net|network|backbone|attacker)\.)*")
"""What wrappers of a network put before every name of its weights."""
NORMALISER = re.compile(
    r"(|.*?[./])(?:\w*(?:normali[sz]|preproc)\w*\.)?(?:(new_mean|mean|mu)|new_std|std|sigma)"
)
"""Where a wrapper that normalises pixels keeps the mean and the standard deviation."""
COUNTER = "num_batches_tracked"
NETWORKS = 50
"""In a file, at most."""
LONG = 80
"""Letters of a name that is told, at most."""


def wrapped(found: Tensors, start: int) -> set[str]:
    """List what stands before all weights of each entry: its place and the names of wrappers.

    start: how much of every place is the entry that was asked for.
    """
    entries = collections.defaultdict(list)
    for place in found:
        if not NORMALISER.fullmatch(place) and "n_averaged" not in place:
            entry = place[: max(start, place.rfind("/") + 1)]
            entries[entry, "attacker." in place].append(place)
    prefixes = set()
    for (entry, _), places in sorted(entries.items(), key=lambda e: -len(e[1]))[:NETWORKS]:
        starts = {_start(place, entry) for place in places}
        shortest = min(starts, key=len)
        prefixes.add(shortest if all(s.startswith(shortest) for s in starts) else entry)
    return prefixes or {""}


def _start(place, entry):
    """Return what of a place is its entry, with the names of wrappers behind it."""
    return place[: WRAPPERS.match(place, len(entry)).end()]


def of_network(
    found: Tensors, start: int, model: nn.Module
) -> tuple[dict[str, str], str, dict[str, Tensors]]:
    """Find the weights of a network: (names of it and in it, prefix, all groups like it).

    The names are those of its library or our own, and a group is what has the longest of them.
    """
    best: tuple[int, dict[str, str], str, dict[str, Tensors]] = (-1, {}, "", {})
    for names in (model.names, {name: name for name in model.state_dict()}):
        of_trunk = [n for n, key in names.items() if not key.startswith("head.")]
        longest = max((n for n in of_trunk if "running_" not in n), key=len, default="head.weight")
        prefixes = {p[: -len(longest)] for p in found if p.endswith(longest)}
        prefixes = {p for p in prefixes if not p or p[-1] in "./"} or wrapped(found, start)
        groups = grouped(found, prefixes)
        for prefix, group in groups.items() if names else ():
            best = max(best, (len(group.keys() & names.keys()), names, prefix, groups), key=_first)
    return best[1:]


def _first(values):
    return values[0]


def grouped(found: Tensors, prefixes: Collection[str]) -> dict[str, Tensors]:
    """Divide tensors by the longest of some prefixes of their places, and take it off."""
    if len(prefixes) > NETWORKS:
        raise Unfit(f"holds {len(prefixes)} networks; name one, as in PATH#ENTRY")
    groups: dict[str, Tensors] = {}
    for place, load in found.items():
        prefix = _prefix(place, prefixes)
        if prefix is not None:
            groups.setdefault(prefix, {})[place[len(prefix) :]] = load
    return groups


def _prefix(place, prefixes):
    """Return the longest of some prefixes that a place begins with, or None."""
    ends = [match.end() for match in re.finditer("[./]", place)]
    return next((place[:end] for end in [*reversed(ends), 0] if place[:end] in prefixes), None)


def loaded(group: Tensors) -> dict[str, Tensor]:
    """Load tensors, and refuse what is not finite."""
    weights = {name: load() for name, load in group.items()}
    for name, weight in weights.items():
        numbers = weight.float() if weight.is_floating_point() else weight
        if COUNTER not in name and not numbers.isfinite().all():
            raise Unfit(f"holds NaN or infinity in {name}; its training failed, take another")
    return weights


def check_alone(weights: dict[str, Tensor], prefix: str, groups: Mapping[str, Tensors]) -> None:
    """Raise Unfit, listing them, where another group of tensors is another network."""
    for other in (p for p in groups if p != prefix):
        theirs = {name: load() for name, load in groups[other].items()}
        for name in (n for n in weights | theirs if COUNTER not in n):
            if name not in weights or name not in theirs or not _same(weights[name], theirs[name]):
                entries = [f"PATH#{label(p)}" if p else "the rest" for p in groups]
                told = [entry for entry in entries if len(entry) < LONG][:6]
                more = [f"{len(entries) - len(told)} more"] * (len(told) < len(entries))
                raise Unfit(
                    f"holds {len(groups)} networks, which differ in {name[-LONG:]}; name one of "
                    f"them: {' and '.join(filter(None, [', '.join(told), *more]))}"
                )


def label(prefix: str) -> str:
    """Write the prefix of a group as the ENTRY that names it."""
    return prefix.strip("./").replace("/", ".")


def _same(one, other):
    """Tell whether two tensors are the same."""
    return one.dtype == other.dtype and one.equal(other)


def normaliser(
    found: Tensors, group: Tensors, prefix: str, names: Container[str] = ()
) -> dict[str, Tensor]:
    """Return what a wrapper normalises by, or nothing, and take it out of a group."""
    pairs = collections.defaultdict(dict)
    for place in found:
        match = NORMALISER.fullmatch(place)
        if match and prefix.startswith(match[1]) and place.removeprefix(prefix) not in names:
            pairs[match[1]]["normalizer.new_mean" if match[2] else "normalizer.new_std"] = place
    if not pairs:
        return {}
    places = dict(sorted(pairs[max(pairs, key=len)].items()))
    if len(places) == 1:
        raise Unfit("has only one of mean and standard deviation of a normaliser; it needs both")
    pair = loaded({name: found[place] for name, place in places.items()})
    mean, std = pair.values()
    if not {mean.numel(), std.numel()} <= {1, 3}:
        return {}
    if float(mean.max()) > 1:
        raise Unfit("normalises pixels of 0 to 255; divide its mean and deviation by 255, for RGB")
    for place in places.values():
        group.pop(place.removeprefix(prefix), None)
    return pair


def look_beside(
    found: Tensors,
    prefix: str,
    groups: Collection[str],
    weights: Container[str],
    names: Mapping[str, str],
) -> tuple[dict[str, Tensor], str | None]:
    """Look at what stands beside a network: (the head where it is that, what else is wrong)."""
    entry = prefix[: prefix.rfind("/") + 1]
    beside = {
        place: load
        for place, load in found.items()
        if place[: place.rfind("/") + 1] == entry
        and _prefix(place, groups) is None
        and not NORMALISER.fullmatch(place)
        and not re.search("criterion|loss|n_averaged", place)
    }
    head = {key: name for name, key in names.items() if key.startswith("head.")}
    stem = next(iter(beside), "").rpartition(".")[0]
    lacks = not any(name in weights for name in head.values())
    if lacks and set(beside) == {f"{stem}.weight", f"{stem}.bias"}:
        return loaded({head[f"head.{n}"]: beside[f"{stem}.{n}"] for n in ("weight", "bias")}), None
    matrix = next((place for place, load in beside.items() if load().ndim > 1), None)
    return {}, matrix and (
        f"has {matrix.removeprefix(entry)} beside the network; if it is no part of it, name the "
        f"rest, as in PATH#{label(prefix)}"
    )
