"""Folders of images, one sub-folder for each class: which there are, of which class and split."""

import hashlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from lib.datasets import contents, divisions, hints, store
from lib.datasets.contents import Contents
from lib.datasets.hints import counted
from lib.datasets.reading import Depth, shown
from lib.datasets.surveys import Survey
from lib.datasets.walk import (
    File,
    LeftOut,
    files_below,
    holds_images,
    images_in,
    subfolders,
)
from lib.images import SPLITS, held_out

MAX_CLASSES = 1000
Chosen = tuple[list[File], torch.Tensor, tuple[str, ...], dict, Depth | None]


@dataclass(frozen=True)
class Folder:
    """A folder of images.

    classes: the folders of the classes. files, y, split: of each image its file, its class, and
    what it serves: "train", "validation" or "test", or "" where it is a copy of an image that
    serves an earlier one of these. parts: the folders that are splits, or none where the
    images are divided here. contents: copies and depth. left: what is left out.
    """

    root: Path
    classes: tuple[str, ...]
    files: Sequence[File]
    y: Sequence[int]
    split: list[str]
    parts: dict[str, str]
    contents: Contents
    left: LeftOut

    @property
    def names(self) -> tuple[str, ...]:
        """What the classes are called, in letters that any screen and file can hold."""
        return tuple(map(shown, self.classes))

    def side(self, split: str) -> Chosen:
        """Return one split, "train" or "test": its files, and what tells of them.

        Returns (files, y, classes, asked, depth), as `lib.datasets.decoded.from_files` takes them.
        Raises ValueError where there are none, and for a class that cannot be trained and tested.
        """
        counts = Counter(self.y)
        single = [name for i, name in enumerate(self.classes) if counts[i] == 1]
        if single and not self.parts:
            raise ValueError(
                f"the class folder {shown(self.root / single[0])} holds 1 image; at least 2 are "
                "needed, one to train and one to test"
            )
        chosen = [i for i, name in enumerate(self.split) if name == split]
        if not chosen:
            raise ValueError(
                f"the folder {shown(self.root / self.parts.get(split, ''))} holds no images to "
                f"{split} of the classes {hints.some(self.classes)}, copies aside"
            )
        return self.chosen(chosen, {"split": split})

    def chosen(self, chosen: Sequence[int], asked: Mapping) -> Chosen:
        """Return images by their positions, as `side` does; asked: what tells this choice."""
        files, asked = [self.files[i] for i in chosen], {"set": str(self.root), **asked}
        y = torch.tensor([self.y[i] for i in chosen])
        return files, y, self.names, asked, self.contents.depth

    def survey(self, name: str) -> Survey:
        """Count the images by split and class; name: what a figure calls the folder."""
        counts = {part: [0] * len(self.classes) for part in self.parts or SPLITS}
        for part, label in zip(self.split, self.y, strict=True):
            if part:
                counts[part][label] += 1
        tuples = {part: tuple(numbers) for part, numbers in counts.items()}
        return Survey(name, self.names, tuples, tuple(self.notes()), self.contents.depth)

    def notes(self) -> list[str]:
        """Say what was understood, what is doubtful and what is left out, each in one line."""
        base = self.root / self.parts.get("train", "")
        members: list[list[str]] = [[] for _ in self.classes]
        for file, label in zip(self.files, self.y, strict=True):
            if file.path.startswith(f"{base}{os.sep}"):
                members[label].append(file.path)
        beside = images_in(base)
        aside = f"left out, beside the class folders: {counted(beside, 'image')}"
        return [
            *divisions.in_words(self.root, self.parts),
            *hints.doubts(base, self.classes, members),
            *self._notes_on_copies(),
            *self.contents.notes(),
            *self._notes_on_names(),
            *[aside] * bool(beside),
            *self.left.notes(),
        ]

    def _notes_on_copies(self):
        """Say which images are the same, and what is done about it."""
        groups = self.contents.copies
        clashes = [group for group in groups if len({self.y[i] for i in group}) > 1]
        out = self.split.count("")
        notes = []
        if groups:
            aside = "no test image is one of a training image"
            if out:
                aside = f"{out:,} left out of a later split, since an earlier one has the image"
            notes.append(
                f"{sum(len(group) - 1 for group in groups):,} exact copies of other images; "
                f"{aside}: {self._same(groups)}"
            )
        if clashes:
            notes.append(
                f"{counted(len(clashes), 'image')} in more than one class, so that the labels "
                f"contradict each other; delete the wrong ones: {self._same(clashes)}"
            )
        return notes

    def _notes_on_names(self):
        """Say which class names are not as their folders have them."""
        odd = [name for name in self.classes if shown(name) != name]
        return [f"class names with what is no text, escaped: {hints.some(odd)}"] if odd else []

    def _same(self, groups):
        """Name the images that are the same, of up to ten contents."""
        below = [
            " = ".join(self.name(i) for i in group[:4]) + ", …" * (len(group) > 4)
            for group in groups[:10]
        ]
        return "; ".join(below) + ("; …" if len(groups) > 10 else "")

    def name(self, i: int) -> str:
        """Return the path of an image below the root."""
        return shown(os.path.relpath(self.files[i].path, self.root)).replace(os.sep, "/")


def read(root: Path) -> Folder:
    """List the images of a folder.

    root: a folder with one sub-folder for each class, perhaps within others that tell what trains,
    validates and tests; else `lib.images.held_out` divides it. Exact copies stay on one side.

    Raises ValueError, with the likely remedy, where it is no such folder.
    """
    left = LeftOut()
    parts = divisions.division(root, subfolders(root, left))
    base = root / parts.get("train", "")
    classes = _classes(base, left if parts else LeftOut())
    files, labels, split = [], [], []
    for part, place in ((part, root / parts.get(part, "")) for part in parts or ("",)):
        for label, name in enumerate(classes):
            members = _members(place / name, left, needed=part in ("", "train"))
            files += members
            labels += [label] * len(members)
            split += [part] * len(members)
        _no_others(place, classes, base)
    kept = hashlib.sha256(os.fsencode(root)).hexdigest()[:24]
    found = contents.look(files, store.CACHE / f"{kept}.json")
    divide = _without_copies if parts else _with_copies_together
    split = divide(split, labels, found.copies)
    return Folder(root, classes, files, labels, split, parts, found, left)


def _members(folder, left, *, needed):
    """List the images of a class; it may be missing from a test, but must be learnt."""
    own = LeftOut()
    files = files_below(folder, own) if needed or folder.is_dir() else []
    if needed and not files:
        held = f" (but {own.by_suffix()})" if own.suffixes else ""
        raise ValueError(
            f"the class folder {shown(folder)} holds no images{held}; fill it, or move it elsewhere"
        )
    left.add(own)
    return files


def _no_others(place, classes, base):
    """Refuse a class that is tested but not trained: it would be left out unseen."""
    for name in sorted(set(subfolders(place, LeftOut())) - set(classes)):
        if holds_images(place / name):
            raise ValueError(
                f"the folder {shown(place)} holds a class {shown(name)!r} that {shown(base)} lacks"
            )


def _with_copies_together(split, y, copies):
    """Divide images into training and test images; copies go where the first of them goes."""
    y, first = torch.tensor(y), torch.arange(len(y))
    for group in copies:
        first[list(group)] = group[0]
    alone = first == torch.arange(len(y))
    tested = torch.zeros(len(y), dtype=torch.bool)
    # Of what is there once, nothing is left to test.
    tested[alone] = held_out(y[alone]) & (y[alone].bincount()[y[alone]] > 1)
    return ["test" if test else "train" for test in tested[first].tolist()]


def _without_copies(split, y, copies):
    """Leave out of a later split what an earlier one holds; they come in their order."""
    split = list(split)
    for group in copies:
        for i in group:
            if split[i] != split[group[0]]:
                split[i] = ""
    return split


def _classes(base, left):
    """Name the class folders in base, sorted."""
    names = tuple(subfolders(base, left))
    if not names:
        raise ValueError(hints.no_classes(base))
    if not 2 <= len(names) <= MAX_CLASSES:
        wrapped = hints.one_class(base, names[0]) if len(names) == 1 else ""
        raise ValueError(
            f"the folder {shown(base)} has {len(names)} class{'es' * (len(names) > 1)} "
            f"({hints.some(names)}); allowed are 2 to {MAX_CLASSES}, one folder each{wrapped}"
        )
    return names
