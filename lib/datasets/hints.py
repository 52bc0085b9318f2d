"""What was probably meant by a folder that is laid out in another way: a remedy, or a doubt."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from lib.datasets.divisions import split_of
from lib.datasets.reading import shown
from lib.datasets.walk import LeftOut, entries, images_in, subfolders

ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")
BESIDE = re.compile(
    "(?:annotations?|labels?|masks?|segmentations?|segmentationclass|bbox(?:es)?|boxes|xmls?|csvs?|"
    "json|gt|groundtruths?|metadata|images?|imgs?|jpegimages)"
)
"""What folders are called that hold images beside their annotations, in small letters."""


def of_file(file: Path) -> str:
    """Say what to do with a file that is named in place of a folder."""
    if file.name.lower().endswith(ARCHIVES):
        return "it is an archive: unpack it, and name the folder"
    return "it is a file: name a folder with one folder of images for each class"


def no_classes(folder: Path) -> str:
    """Say why a folder without class folders is none of a set, and what to do."""
    held = [entry.name for entry in entries(folder) if not LeftOut().skips(entry.name)]
    expected = "expected one folder of images for each class"
    if images := images_in(folder):
        return (
            f"the folder {shown(folder)} holds {counted(images, 'image')} but no class folders; "
            f"{expected}"
        )
    if archives := [name for name in held if name.lower().endswith(ARCHIVES)]:
        return f"the folder {shown(folder)} holds the archive {shown(archives[0])}; unpack it first"
    if held:
        return f"the folder {shown(folder)} holds {some(held)} but no class folders; {expected}"
    return f"the folder {shown(folder)} is empty; {expected}"


def one_class(folder: Path, name: str) -> str:
    """Say what to name where a folder has a single class, which may wrap the set."""
    place = folder / name
    while len(wrapped := subfolders(place, LeftOut())) == 1:
        place /= wrapped[0]
    if not wrapped:
        return ""
    if split_of(folder.name):  # to name what is inside would leave the other splits out
        return f"; if the classes are {some(wrapped)}, move them up, from {shown(place)}"
    return f"; {shown(place.name)}/ holds {some(wrapped)}: if that is the set, name {shown(place)}"


def doubts(base: Path, classes: Sequence[str], members: Sequence[Sequence[str]]) -> list[str]:
    """Say, in a line each, what makes it doubtful that these folders are the classes.

    members: the paths of each class's images.
    """
    inner = [_inner(base / name, paths) for name, paths in zip(classes, members, strict=True)]
    nested = {name: held for name, held in zip(classes, inner, strict=True) if None not in held}
    read, notes = f"read as {len(classes)} classes, {some(classes)}", []
    first = next(iter(nested), "")
    if len(nested) > 1 and (shared := set.intersection(*nested.values())):
        asked = f"are those the classes? then name {shown(base / first)}, or join them"
        if any(split_of(name) == "train" for name in shared):
            asked = "are those splits? then put the classes into them, not them into the classes"
        notes.append(
            f"{read}; {some([*nested])} hold the same folders, {some(sorted(shared))}: {asked}"
        )
    elif nested:
        notes.append(
            f"{read}; {shown(first)}/ holds folders, {some(sorted(nested[first]))}, and no images "
            f"itself: are those the classes? then name {shown(base / first)}"
        )
    plain = [re.sub("[^a-z]", "", name.casefold()) for name in classes]
    if len(classes) < 5 and sum(map(bool, map(BESIDE.fullmatch, plain))) > 1:
        notes.append(
            f"{read}: are these images beside their annotations? expected one folder of images "
            "for each class"
        )
    if splits := [name for name in classes if split_of(name)]:
        notes.append(f"{read}: {some(splits)} is taken for a class, not for a split")
    return notes


def counted(count: int, what: str) -> str:
    """Write a number of things: 1 image, 2 images."""
    return f"{count:,} {what}{'s' * (count != 1)}"


def some(names: Sequence[str]) -> str:
    """List up to four names, and tell how many there are."""
    listed = ", ".join(map(shown, names[:4]))
    return listed + (f", … ({len(names)} in all)" if len(names) > 4 else "")


def _inner(folder, paths):
    """Name the folders in a class that hold these images, None for the class itself."""
    start = len(str(folder)) + 1
    parts = (path[start:].partition(os.sep) for path in paths)
    return {name if rest else None for name, _, rest in parts}
