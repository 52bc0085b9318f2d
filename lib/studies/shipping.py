"""Train, measure and write the sources that come with the book: python -m lib.studies.shipping.

What is chosen, the rung and the amounts of the controls, is chosen by the validation part of what
the sources learn: never by transfer, nor by the test images.
"""

import sys
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import click
from torch import nn

from lib import datasets
from lib.constraint import NATURAL, UNTRAINED, Constraint
from lib.images import Images, choose, digest, positions
from lib.networks import choose_device
from lib.robustness import accuracy, robust_accuracy
from lib.runtime import command_line, files, fingerprint, provenance
from lib.studies import pretrained
from lib.studies.claims import rung
from lib.zoo import shipped

RECIPE: dict[str, Any] = {
    "arch": "small_resnet", "width": 24, "epochs": 12, "attack_steps": 1, "lr": 0.4,
    "batch_size": 128, "flips": True, "bfloat16": True,
}  # fmt: skip
"""How they are trained, as in `lib.studies.pretrained.Training`."""
SOURCES = [NATURAL, *map(Constraint.parse, ("l2 0.25", "l2 0.5", "linf 2/255")), UNTRAINED]
BALLS = ("l2 0.1", "l2 0.25", "l2 0.5", "linf 1/255", "linf 2/255")
"""In which all of them are attacked,"""
ATTACK = {"steps": 20, "seed": 0}
ATTACKED, AT_A_TIME = 2000, 500
"""with as many images of each part, so many at a time: a GPU waits for work otherwise."""
HELD_OUT = 20
"""One training image of so many is of the validation part, in each class."""
AMOUNTS: dict[str, tuple[float, float]] = {
    "noise": (0.05, 0.06), "low-pass": (0.2, 0.3), "natural until": (4, 6),
}  # fmt: skip
"""The controls, and which amounts of each are tried first; of the last these are epochs."""
CLOSE, TRIES = 0.0072, 8
"""How near the accuracy of a control has to be to the rung's, a standard error on 4,000 images, and
how many amounts are tried."""
LEARNED = (
    "Tiny-ImageNet (le2015) at 32 pixels: its training images, without one of {n} in each class"
)
LICENCE = (
    "The images are ImageNet's, whose terms allow research that is not commercial; what weights "
    "that learned them may be used for is not settled. See data/README.md."
)


def parts(folder: str | Path) -> dict[str, Images]:
    """Load what sources learn, and divide it: learned, validation (5 % of each class) and test.

    folder: as in `lib.datasets.load`, with a split of its own.
    """
    images, test = datasets.pair(folder)
    count = max(len(images.classes), len(images) // HELD_OUT)
    validation = positions(images.y, count, 0).sort().values
    learned = images.y.new_ones(len(images)).bool()
    learned[validation] = False
    return {"learned": images[learned], "validation": images[validation], "test": test}


def measured(model: nn.Module, images: Images) -> dict[str, Any]:
    """Measure clean accuracy on all images, and robust accuracy on ATTACKED of them, by ball.

    Returns {images, clean_accuracy, attacked, robust_accuracy: {ball: 0 to 1}}.
    """
    some = images[choose(images, min(ATTACKED, len(images)), 0)]
    balls = {text: Constraint.parse(text).ball for text in BALLS}
    how = ATTACK | {"batch_size": AT_A_TIME}
    robust = {text: robust_accuracy(model, some, b, **how) for text, b in balls.items() if b}
    about = {"images": len(images), "clean_accuracy": accuracy(model, images)}
    return {**about, "attacked": len(some), "robust_accuracy": robust}


def ship(
    images: dict[str, Images],
    constraint: Constraint,
    seed: int,
    *,
    epochs: int | None = None,
    chosen: dict[str, Any] | None = None,
    device: str = "auto",
) -> dict[str, Any]:
    """Train a source, measure it as it will be read, write it, and return its record.

    One that lies in data/sources is left as it is, and one that lies in the store, or was stopped
    there, is not trained anew. images: as of `parts`. constraint: of SOURCES or of AMOUNTS.
    epochs: of a natural one that stands for "natural until". chosen: how its amount was, for the
    record. device: as in `lib.networks.choose_device`.
    """
    if (constraint, seed) in shipped.available():
        return shipped.load(constraint, seed)[1]
    model, made = _network(images, constraint, seed, epochs, choose_device(device))
    made.pop("sha256", None)
    made.pop("test_accuracy", None)  # of the weights before they are rounded
    under = {"constraint": constraint.name, "amount": float(constraint.amount), "seed": seed}
    shipped.rounded(model)
    about = {
        "learned": LEARNED.format(n=HELD_OUT),
        "licence": LICENCE,
        **made,
        "parameters": {**made["parameters"], **under},
        "classes": len(images["learned"].classes),
        "images": {name: digest(part) for name, part in images.items()},
        "commit": provenance.commit(files.DATA.parent),
        "versions": provenance.versions(),
        "attack": ATTACK,
        **{name: measured(model, images[name]) for name in ("validation", "test")},
    }
    shipped.write(model, about | ({"chosen": chosen} if chosen else {}))
    return shipped.load(constraint, seed)[1]


def _network(images, constraint, seed, epochs, device):
    """Return a network, and what is recorded of its making."""
    if constraint == UNTRAINED:
        how = {name: RECIPE[name] for name in ("arch", "width")}
        model = pretrained.untrained(images["learned"], seed=seed, device=device, **how)
        return model, {"parameters": how, "code": fingerprint.code("zoo.models")}
    how = RECIPE | ({} if epochs is None else {"epochs": epochs})
    trained = NATURAL if constraint.name == "natural until" else constraint
    split = images["learned"], images["validation"]
    return pretrained.source(*split, trained, seed=seed, device=device, **how)


def matched(
    accuracy_of: Callable[[float], float], first: tuple[float, float], goal: float, *, whole: bool
) -> list[tuple[float, float]]:
    """Look for the amount at which a control is as accurate as the rung.

    accuracy_of: trains it and tells, 0 to 1. first: two amounts to begin with; others lie on the
    line through the two tries nearest to the goal, on either side. whole: only whole numbers are
    tried.

    Returns the tries (amount, accuracy), at most TRIES, the nearest last.
    """
    tries: list[tuple[float, float]] = []
    while len(tries) < TRIES and not any(abs(got - goal) <= CLOSE for _, got in tries):
        amount = first[len(tries)] if len(tries) < 2 else _between(tries, goal, whole)
        if amount in [tried for tried, _ in tries]:
            break
        tries.append((amount, accuracy_of(amount)))
    return sorted(tries, key=lambda pair: -abs(pair[1] - goal))


def _between(tries, goal, whole):
    """Return the amount on a line through two tries, within three times any.

    They are those on either side of the goal that lie closest together, or where all are on one
    side, the two nearest to it.
    """
    below = [pair for pair in tries if pair[1] <= goal]
    above = [pair for pair in tries if pair[1] > goal]
    if below and above:
        pairs = product(below, above)
        (a, at_a), (b, at_b) = min(pairs, key=lambda pair: abs(pair[0][0] - pair[1][0]))
    else:
        (a, at_a), (b, at_b) = sorted(tries, key=lambda pair: abs(pair[1] - goal))[:2]
    guess = a if at_a == at_b else a + (goal - at_a) * (b - a) / (at_b - at_a)
    tried = [amount for amount, _ in tries]
    guess = min(max(guess, min(tried) / 3), 3 * max(tried))
    return max(1, round(guess)) if whole else float(f"{guess:.3g}")


def control(images: dict[str, Images], kind: str, device: str) -> dict[Constraint, dict[str, Any]]:
    """Find the control of a kind as accurate as the rung on the validation part, seed 0.

    kind: of AMOUNTS. Returns {constraint: {epochs, and chosen: rung, goal, tries}}, as `ship` takes
    them.
    """
    reference, early = rung(), kind == "natural until"
    goal = shipped.load(reference, 0)[1]["validation"]["clean_accuracy"]

    def accuracy_of(amount):
        under = NATURAL if early else Constraint(kind, amount)
        epochs = amount if early else None
        return _network(images, under, 0, epochs, choose_device(device))[1]["test_accuracy"]

    tries = matched(accuracy_of, AMOUNTS[kind], goal, whole=early)
    amount, got = tries[-1]
    under = Constraint(kind, round(got, 2) if early else amount)
    chosen = {"rung": shipped.spelt(reference), "goal": goal, "tries": tries}
    return {under: {"epochs": amount if early else None, "chosen": chosen}}


def _summary(record):
    """Say in a line what a network is worth."""
    found = record["validation"]
    robust = ", ".join(f"{ball} {share:.1%}" for ball, share in found["robust_accuracy"].items())
    return f"{record['name']}: validation {found['clean_accuracy']:.1%}; {robust}"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("folder")
@click.option("--seeds", type=click.IntRange(min=1), default=6, help="Training seeds, from 0.")
@click.option("--only", help='One of the sources, as "l2 0.5".')
@click.option("--controls", "also", is_flag=True, help="Afterwards those of equal accuracy.")
@click.option("--device", default="auto", help="auto, cpu or cuda.")
def command(folder: str, seeds: int, only: str | None, also: bool, device: str) -> None:
    """Train the sources that come with the book anew, from the folder of what they learn.

    FOLDER holds Tiny-ImageNet at 32 pixels, as train/CLASS and test/CLASS. What was stopped goes on
    after the last whole epoch, and what lies in data/sources is left as it is.
    """
    asked = [c for c in SOURCES if only is None or str(c) == str(Constraint.parse(only))]
    if not asked:
        listed = ", ".join(map(shipped.spelt, SOURCES))
        raise ValueError(f"only is {only!r}; allowed are {listed}")
    images = parts(folder)
    _ship_all(images, {constraint: {} for constraint in asked}, seeds, device)
    if also:
        for kind in AMOUNTS:
            there = _whole(kind, seeds)
            controls = {there: {}} if there else control(images, kind, device)
            _ship_all(images, controls, seeds, device)


def _whole(kind, seeds):
    """Return the control of a kind of which all seeds lie in data/sources, or None."""
    there = shipped.available()
    found = {constraint for constraint, _ in there if constraint.name == kind}
    return next((c for c in sorted(found) if all((c, s) in there for s in range(seeds))), None)


def _ship_all(images, sources, seeds, device):
    """Ship sources, one seed of all after the other, and say what each is worth."""
    for seed in range(seeds):
        for constraint, how in sources.items():
            click.echo(_summary(ship(images, constraint, seed, device=device, **how)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; an error is a line on stderr."""
    return command_line.run(command, "python -m lib.studies.shipping", arguments)


if __name__ == "__main__":
    sys.exit(main())
