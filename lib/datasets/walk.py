"""What lies below a folder: its image files, and a count of what is left out."""

import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from lib.datasets.reading import shown, suffixes

SYSTEM = {
    *("@eadir", "@recycle", "#recycle", "#snapshot", "@recently-snapshot", "__macosx"),
    *("$recycle.bin", "system volume information", "lost+found"),
    *("thumbs.db", "ehthumbs.db", "desktop.ini"),
}
"""What storage and systems lay beside images, thumbnails above all; in small letters."""


class File(NamedTuple):
    """An image file; mark: its path, size and times, which tell of a change that a size hides."""

    path: str
    size: int
    mark: str

    @classmethod
    def at(cls, path: str) -> "File":
        """Look at a file; what is no regular one, or is gone, has no size, and cannot be read."""
        try:
            at = os.stat(path)  # noqa: PTH116 (to make Paths of many files takes longer)
        except OSError:
            return cls(path, 0, f"{path}\0")
        size = at.st_size if stat.S_ISREG(at.st_mode) else 0
        return cls(path, size, f"{path}\0{size}\0{at.st_mtime_ns}\0{at.st_ctime_ns}\0")


@dataclass
class LeftOut:
    """What a walk does not take as an image.

    suffixes: how many files there are of each suffix of no format that is taken, and pipes and the
    like that are called as images. system: how many entries of each name in SYSTEM, and how many
    hidden images. loops: links that lead back.
    """

    suffixes: Counter[str] = field(default_factory=Counter)
    system: Counter[str] = field(default_factory=Counter)
    loops: list[str] = field(default_factory=list)

    def add(self, other: "LeftOut") -> None:
        """Count what another walk has left out as well."""
        self.suffixes += other.suffixes
        self.system += other.system
        self.loops += other.loops

    def skips(self, name: str) -> bool:
        """Tell whether an entry is hidden or the system's, and count it."""
        if name.lower() in SYSTEM:
            self.system[name] += 1
            return True
        if name.startswith(".") and is_image(name):
            self.system["hidden images"] += 1
        return name.startswith(".")

    def by_suffix(self) -> str:
        """Say in one line which files are of other formats: 20 .heic, 1 .txt; or nothing."""
        counts = [f"{count:,} {shown(name)}" for name, count in self.suffixes.most_common(10)]
        more = ", …" * (len(self.suffixes) > 10)
        photographs = {".heic", ".heif", ".hif"} & set(self.suffixes)
        how = "; pip install pillow-heif to read these photographs" * bool(photographs)
        return f"{', '.join(counts)}{more}{how}"

    def notes(self) -> list[str]:
        """Say what was left out, each kind in one line."""
        notes = []
        if self.suffixes:
            notes.append(f"left out, as no such files are read: {self.by_suffix()}")
        if self.system:
            counts = ", ".join(f"{count:,} {name}" for name, count in self.system.most_common())
            notes.append(f"left out, as hidden or of the system: {counts}")
        for link in self.loops[:5]:
            notes.append(
                f"the link {shown(link)} leads back to a folder that was seen; not followed"
            )
        return notes


def is_image(name: str) -> bool:
    """Tell by its suffix whether a file is of a format that is taken."""
    return name[name.rfind(".") :].lower() in suffixes()


def entries(folder: str | Path) -> list[os.DirEntry]:
    """List a folder, sorted by name. Raises ValueError naming it where it cannot be read."""
    try:
        with os.scandir(folder) as listing:
            return sorted(listing, key=lambda entry: entry.name)
    except OSError as error:
        raise _unlisted(folder, error) from None


def subfolders(folder: str | Path, left: LeftOut) -> list[str]:
    """Name the folders in a folder, sorted; left out are those of the system and hidden ones.

    So are links to the folder itself, or to one that holds it.
    """
    top, names = Path(folder).resolve(), []
    for entry in entries(folder):
        if left.skips(entry.name) or not _is_folder(entry):
            continue
        if entry.is_symlink() and Path(entry.path).resolve() in (top, *top.parents):
            left.loops.append(entry.path)
        else:
            names.append(entry.name)
    return names


def files_below(folder: str | Path, left: LeftOut) -> list[File]:
    """List the image files below a folder, sorted; `left` counts what is left out.

    Links to folders are followed; no folder is entered twice, nor one that holds `folder`. Raises
    ValueError naming a folder that cannot be read.
    """
    return list(_image_files(folder, left))


def images_in(folder: str | Path) -> int:
    """Count the image files that lie in a folder itself, hidden ones aside."""
    return sum(is_image(e.name) and _is_file(e) for e in entries(folder) if e.name[0] != ".")


def holds_images(folder: str | Path) -> bool:
    """Tell whether there is any image file below a folder."""
    return next(_image_files(folder, LeftOut()), None) is not None


def _image_files(folder, left) -> Iterator[File]:
    """Pass on the image files below a folder, in the order of the parts of their paths."""
    top = Path(folder).resolve()
    seen = {_identity(place) for place in (top, *top.parents)}
    pending = [iter(entries(folder))]
    while pending:
        entry = next(pending[-1], None)
        if entry is None:
            pending.pop()
            continue
        name = entry.name
        if is_image(name) and name[0] != "." and _is_file(entry):
            yield File.at(entry.path)
        elif left.skips(name):
            continue
        elif not _is_folder(entry):
            kind = Path(name).suffix.lower() or "without a suffix"
            left.suffixes[kind + " that is no regular file" * is_image(name)] += 1
        elif (here := _identity(entry.path)) in seen:
            left.loops.append(entry.path)
        else:
            seen.add(here)
            pending.append(iter(entries(entry.path)))


def _is_folder(entry):
    """Tell whether an entry is a folder, or a link to one; what leads nowhere is none."""
    try:
        return entry.is_dir()
    except OSError as error:
        if is_image(entry.name):
            return False  # reading the image will tell
        raise _unlisted(entry.path, error) from None


def _is_file(entry):
    """Tell whether an entry is a file, or leads nowhere, of which reading will tell; no pipe."""
    try:
        return entry.is_file() or not (entry.is_dir() or Path(entry.path).exists())
    except OSError:
        return True


def _identity(folder):
    """Tell a folder from all others, whatever links lead to it."""
    try:
        at = Path(folder).stat()
    except OSError as error:
        raise _unlisted(folder, error) from None
    return at.st_dev, at.st_ino


def _unlisted(folder, error):
    return ValueError(f"the folder {shown(folder)} cannot be read ({error.strerror or error})")
