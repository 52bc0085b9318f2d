"""How well other recipes train the sources' own task: python -m lib.studies.recipes FOLDER.

All of them have one schedule of the learning rate, `lib.training.warm_then_cosine`; no other was
tried.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click
import pandas as pd

from lib.constraint import NATURAL
from lib.images import Images
from lib.runtime import command_line, files, provenance
from lib.runtime.parallel import each
from lib.studies import evidence, pretrained
from lib.studies.shipping import RECIPE, parts

EPOCHS = RECIPE["epochs"] // 4
"""A quarter of the passes of the sources that come with the book."""
CHANGES: dict[str, dict[str, Any]] = {
    "as it is": {},
    "half the learning rate": {"lr": 0.2},
    "twice the learning rate": {"lr": 0.8},
    "half the batch": {"batch_size": 64},
    "twice the batch": {"batch_size": 256},
    "labels smoothed by 0.1": {"label_smoothing": 0.1},
    "a third wider": {"width": 32},
    "not mirrored": {"flips": False},
    "cropped at random": {"augment": "crops"},
}
"""What is tried, by what is changed of `lib.studies.shipping.RECIPE`."""


def compared(images: Mapping[str, Images], changes: Mapping[str, Mapping]) -> pd.DataFrame:
    """Train a natural source by each recipe for EPOCHS passes, and ask the validation part.

    images: as of `lib.studies.shipping.parts`; of the test images nothing is asked. changes: as
    CHANGES. Sources that are stored are not trained anew.

    Returns a row for each recipe: constraint (as a text), source_seed, recipe, epochs, images of
    the validation part, validation_accuracy and train_accuracy of the last pass, 0 to 1, and the
    seconds of the training, whenever it was.
    """
    made = each(pretrained.source, _calls(images, changes), label="recipes")
    return pd.DataFrame(
        {
            "constraint": NATURAL.text,
            "source_seed": 0,
            "recipe": recipe,
            "epochs": EPOCHS,
            "images": len(images["validation"]),
            "validation_accuracy": record["test_accuracy"],
            "train_accuracy": record["train_accuracy"],
            "seconds": record["seconds"],
        }
        for recipe, (_, record) in zip(changes, made, strict=True)
    )


def _calls(images, changes):
    """Return the arguments of `lib.studies.pretrained.source` for each recipe."""
    shown = {"train": images["learned"], "test": images["validation"], "device": "cpu"}
    shown |= {"constraint": NATURAL, "seed": 0}
    return [{**shown, **RECIPE, "epochs": EPOCHS, **change} for change in changes.values()]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("folder")
def command(folder: str) -> None:
    """Compare recipes for the sources that come with the book, by what they learn.

    FOLDER: as of `python -m lib.studies.shipping`. What was stopped goes on after the last whole
    epoch.
    """
    commit = provenance.commit(files.DATA.parent)
    images = parts(folder)
    lacking = any(pretrained.cached(call) is None for call in _calls(images, CHANGES))
    rows = compared(images, CHANGES)
    seconds = rows.pop("seconds").sum()  # of one after the other
    made = provenance.row("photographs_recipes", seconds, commit, "cpu")
    evidence.store(rows, made, measured=lacking)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; an error is a line on stderr."""
    return command_line.run(command, "python -m lib.studies.recipes", arguments)


if __name__ == "__main__":
    sys.exit(main())
