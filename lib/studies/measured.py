"""What was measured elsewhere: rows of runs too long for a chapter, and the paper's own numbers."""

from pathlib import Path

import pandas as pd

from lib.constraint import Constraint
from lib.runtime.files import DATA
from lib.zoo import shipped

RESULTS = DATA / "results"
READS = ("paper*.csv", "imagenet.csv", "results/*_*.csv")
"""What makes a chapter stale that shows it, below data: every table, not who measured it when."""
WORLDS = ("photographs", "microcosm")
"""The protocols whose tables come with the book."""
LARGE = "resnet18"
"""The protocol that asks for a GPU: it is named whether or not its tables are there."""
FINE_TUNED = ("heads", "resolutions", "resolutions_of_controls", "stylised", "curves", "depths")
"""The tables of which each row is a model that was fine-tuned to a target."""
TITLES = {
    "cifar10": "CIFAR-10",
    "clothing": "Clothing",
    "fashion_mnist": "Fashion-MNIST",
    "gtsrb": "Traffic signs",
    "kannada_mnist": "Kannada-MNIST",
    "mnist": "MNIST",
    "sign_digits": "Sign digits",
}
"""What people call the folders of images that the rows name as targets."""


def evidence(world: str, name: str, folder: str | Path = RESULTS) -> pd.DataFrame:
    """Return a table that `lib.studies.evidence` has measured.

    world, name: as there. folder: where the tables lie. Targets have their titles. Raises
    ValueError where there is no such table.
    """
    path = _path(world, name, folder)
    if not path.exists():
        raise ValueError(f"there is no {path}; data/README.md says how it is measured")
    rows = pd.read_csv(path)
    rows["constraint"] = rows["constraint"].map(Constraint.parse)
    if "target" in rows:
        rows["target"] = rows["target"].replace(TITLES)
    return rows


def has(world: str, name: str, folder: str | Path = RESULTS) -> bool:
    """Tell whether there is such a table."""
    return _path(world, name, folder).exists()


def fine_tuned(world: str, folder: str | Path = RESULTS) -> int:
    """Count the models that were fine-tuned to targets. world, folder: as in `evidence`."""
    there = (name for name in FINE_TUNED if has(world, name, folder))
    return sum(len(evidence(world, name, folder)) for name in there)


def worlds(folder: str | Path = RESULTS) -> list[str]:
    """List the protocols of the book, and the others of which tables lie in a folder."""
    tables = Path(folder).glob("*_*.csv")
    return list(
        dict.fromkeys([*WORLDS, LARGE, *sorted(path.stem.split("_")[0] for path in tables)])
    )


def _path(world, name, folder):
    return Path(folder) / f"{world}_{name}.csv"


def sources() -> pd.DataFrame:
    """Return what the sources that come with the book are worth on their own task, in percent.

    A row for each kind, mean over the seeds: their number, accuracy on the validation part, clean
    and by the ball of the attack.
    """
    rows = []
    for (constraint, _), path in shipped.available().items():
        found = shipped.record(path)["validation"]
        attacked = {
            str(Constraint.parse(ball)): 100 * share
            for ball, share in found["robust_accuracy"].items()
        }
        clean = 100 * found["clean_accuracy"]
        rows.append({"source": str(constraint), "seeds": 1, "clean": clean, **attacked})
    by_kind = pd.DataFrame(rows).groupby("source", sort=False)
    return by_kind.mean().assign(seeds=by_kind["seeds"].sum())


def paper() -> pd.DataFrame:
    """Return the paper's accuracies (Utrera et al., 2021): target, n_train, constraint, mean.

    As `lib.stats.summary` returns summaries, of shares 0 to 1; low and high are the mean: it prints
    no intervals.
    """
    # As text, so that 4/255 is what it is here: pandas reads some numbers to all but the last bit.
    rows = pd.read_csv(DATA / "paper.csv", dtype={"eps": str})
    rows["constraint"] = [
        Constraint(name, float(eps))
        for name, eps in zip(rows["constraint"], rows["eps"], strict=True)
    ]
    mean = rows["accuracy_percent"] / 100
    return rows[["target", "n_train", "constraint"]].assign(mean=mean, low=mean, high=mean)


def paper_influence() -> pd.DataFrame:
    """Return the paper's match rates in percent: rows natural and robust, columns match and
    three_of_five.
    """
    return pd.read_csv(DATA / "paper_influence.csv", index_col=0).T


def imagenet(arch: str = "resnet50") -> pd.Series:
    """Return the published accuracies on ImageNet in percent, by ε of the ℓ2 ball or 0."""
    rows = pd.read_csv(DATA / "imagenet.csv")
    return rows[rows["arch"] == arch].set_index("eps")["accuracy_percent"]
