"""What a chapter asks of starts: which ones, with which images, as one ladder, and which two."""

from collections.abc import Iterable, Mapping

from lib.advisor.starts import Start, load, of_ladder
from lib.constraint import NATURAL, UNTRAINED, Constraint, constraints, middle
from lib.datasets import labelled
from lib.images import Images
from lib.runtime.rules import listed
from lib.studies import Ladder
from lib.zoo import shipped


def asked(given: Mapping) -> list[str]:
    """List the names that a chapter's parameters ask for, and "untrained", for `starts.load`.

    given: sources, and with_ladder, l2 and linf. Raises ValueError where they name none.
    """
    named = [one.text for one in constraints(given["l2"], given["linf"])] * given["with_ladder"]
    named += listed(given["sources"])
    if not named:
        raise ValueError("without the ladder, name sources: -p sources NAME")
    return list(dict.fromkeys([*named, UNTRAINED.text]))


def settings(given: Mapping) -> dict:
    """Take of a chapter's parameters those that `starts.load` takes besides the names.

    Where no name that `asked` returns is of the ladder but "untrained", random weights are of the
    form of the sources that come with the book.
    """
    if any(of_ladder(name) for name in asked(given) if name != UNTRAINED.text):
        return {name: given[name] for name in load.__kwdefaults__ or ()}
    elsewhere = {name: given[name] for name in ("source_seed", "device", "cluster")}
    return {"source_data": shipped.PHOTOGRAPHS, **elsewhere}


def images(starts: Iterable[Start], target: str, n: int) -> dict[Constraint, Images]:
    """Load the labelled images for each start, in the size that it expects.

    target, n: as in `lib.datasets.labelled.load`, which may raise.
    """
    return {start.constraint: labelled.load(target, n, size=start.size)[0] for start in starts}


def ladder(starts: Iterable[Start], *, source_seed: int = 0, cluster: str = "") -> Ladder:
    """Return starts as a Ladder, all of one seed, in their order.

    It computes on the device they are on, or on that of each worker of a cluster.
    """
    networks = {(start.constraint, source_seed): start.model for start in starts}
    devices = {next(model.parameters()).device for model in networks.values()}
    return Ladder(networks, device="auto" if cluster else devices.pop(), cluster=cluster)


def robust_and_natural(starts: Iterable[Start]) -> tuple[Constraint, Constraint] | None:
    """Return what two starts are called that differ in an ℓ2 adversary alone, or None.

    Of those that come with the book, or else of the ladder: the middle ball, of two the weaker, and
    the natural one.
    """
    starts = list(starts)
    for meant in (shipped.parse, of_ladder):
        called = {meant(start.name): start.constraint for start in starts}
        balls = [under for under in called if under and under.name == "l2"]
        if balls and NATURAL in called:
            return called[middle(balls)], called[NATURAL]
    return None
