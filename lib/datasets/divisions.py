"""How a folder of images is divided: which of its folders train, validate and test, if any."""

import re
from collections.abc import Sequence
from pathlib import Path

from lib.datasets.reading import shown
from lib.datasets.surveys import UNDIVIDED
from lib.datasets.walk import LeftOut, holds_images, images_in, subfolders

AROUND = "(?:set|sets|data|dataset|image|images|img|imgs|photos|split|folder|sample|samples|seg)"
WORDS = {
    "train": "train|training|trn",
    "validation": "val|valid|validation|validate|dev|development",
    "test": "test|testing|tst|eval|evaluation|holdout|heldout",
}
"""What people call the splits, in small letters, without what is not a letter."""


def split_of(name: str) -> str | None:
    """Return the split that a folder's name tells, in any spelling ("Training_Set"), or None."""
    plain = re.sub("[^a-z]", "", name.casefold())
    fits = (s for s, w in WORDS.items() if re.fullmatch(f"{AROUND}*(?:{w}){AROUND}*", plain))
    return next(fits, None)


def division(root: Path, names: Sequence[str]) -> dict[str, str]:
    """Tell which folder is which split: {"train": "Training", "test": "Testing"}.

    names: of the folders in root. Where nothing is called a test, what validates tests. Returns {}
    where the folders are classes. Raises ValueError, in one line, for half a division, a split of
    two folders, and splits without class folders.
    """
    kinds = {name: split_of(name) for name in names}
    by_split = {s: [n for n, kind in kinds.items() if kind == s] for s in WORDS}
    found = [name for name, kind in kinds.items() if kind]
    # With images of its own it is a class called train: the vehicle, say.
    own = [name for name in found if images_in(root / name) and not _has_classes(root / name)]
    if not by_split["train"] or len(found) < 2:
        others = (name for name, kind in kinds.items() if not kind)
        if not found or own or any(holds_images(root / name) for name in others):
            return {}
        raise ValueError(
            f"the folder {shown(root)} has {_listed(found)} with class folders, but no "
            f"{'test/' if by_split['train'] else 'train/'}; expected both, or the class folders "
            "themselves"
        )
    for split, several in by_split.items():
        if len(several) > 1:
            raise ValueError(
                f"the folder {shown(root)} has {_listed(several)}, which are both called a {split} "
                "split; join them, or rename one"
            )
    if own:
        rest = set(found) - set(own)
        model = f", as in {_listed(rest)}" if rest else ""
        raise ValueError(
            f"the folder {shown(root)} has {_listed(own)} with images but no class folders, so "
            "their classes are not known; put them into one folder for each class"
            f"{model}, or elsewhere"
        )
    parts = {split: several[0] for split, several in by_split.items() if several}
    if "test" not in parts:
        parts["test"] = parts.pop("validation")
    return parts


def in_words(root: Path, parts: dict[str, str]) -> list[str]:
    """Say, in a line each, how a folder's division was understood, where that is to be said."""
    if not parts:
        return [UNDIVIDED]
    verbs = {"train": "trains", "validation": "validates", "test": "tests"}
    texts = [f"{shown(name)}/ {verbs[split]}" for split, name in parts.items()]
    notes = [f"splits: {', '.join(texts)}"]
    if split_of(parts["test"]) == "validation":
        notes[0] += " (no folder is called a test)"
    aside = [n for n in subfolders(root, LeftOut()) if n not in parts.values()]
    if aside := [name for name in aside if holds_images(root / name)]:
        notes.append(f"left out, beside the splits: the images in {_listed(aside)}")
    return notes


def _has_classes(folder):
    return any(holds_images(folder / name) for name in subfolders(folder, LeftOut()))


def _listed(names):
    return " and ".join(f"{shown(name)}/" for name in sorted(names))
