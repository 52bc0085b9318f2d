"""Files of a set that torchvision downloads, checks and unpacks: whole or not at all."""

import contextlib
import io
import os
import shutil
import socket
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from http.client import HTTPException
from typing import Any

from filelock import FileLock
from IPython import get_ipython
from IPython.display import display

from lib.runtime.files import DATA

FOLDER = DATA / "cache" / "downloads"
PARTIAL = ".partial"
"""What is being downloaded and unpacked, within the folder of the set."""
PATIENCE = 30
"""Seconds without an answer after which the network counts as missing."""
MISSING = (RuntimeError, OSError, ValueError, KeyError, EOFError)
BROKEN = (*MISSING, HTTPException, tarfile.TarError, zipfile.BadZipFile, zlib.error)
"""What torchvision raises where files are missing or damaged, and where bringing them fails."""
ARCHIVES = (".gz", ".tgz", ".tar", ".zip", ".mat")
"""What is downloaded, or laid there by hand; other files are unpacked from these."""


def opened(name: str, title: str, make: Callable[..., Any], files: tuple[str, ...]) -> Any:
    """Return a data set of torchvision, its files downloaded where they are not there.

    They lie in FOLDER/name, or are laid there by hand. All is downloaded, held against
    torchvision's checksums and unpacked beside them, and moved into place when that has succeeded;
    after a kill, archives that are whole are not downloaded again. Of several processes one
    downloads and the others wait.

    make: make(root, download=bool) returns the data set. title: what people call it. files: what
    to lay into the folder where there is no network.

    Raises ValueError, telling that, where the files are not there and cannot be downloaded.
    """
    root = FOLDER / name
    with contextlib.suppress(*MISSING):
        return make(root, download=False)
    FOLDER.mkdir(parents=True, exist_ok=True)
    with FileLock(FOLDER / f"{name}.lock"):
        with contextlib.suppress(*MISSING):  # another process may have brought it
            return make(root, download=False)
        partial = _begin(root)
        try:
            with _watched(title):
                make(partial, download=True)
        except BROKEN as error:
            raise ValueError(
                f"{title} is missing or damaged in {root} and cannot be downloaded "
                f"({' '.join(str(error).split())}); put there {' and '.join(files)}"
            ) from None
        _move(partial, root)
    return make(root, download=False)


def _begin(root):
    """Make the folder to unpack in, with all archives there are and nothing half unpacked."""
    partial = root / PARTIAL
    partial.mkdir(parents=True, exist_ok=True)
    for path in sorted(partial.rglob("*"), reverse=True):  # what a folder holds before the folder
        if path.is_dir():
            with contextlib.suppress(OSError):  # it holds an archive
                path.rmdir()
        elif not path.name.endswith(ARCHIVES):
            path.unlink()
    for path in root.rglob("*"):
        place = partial / path.relative_to(root)
        given = path.is_file() and path.name.endswith((*ARCHIVES, "meta.bin"))  # ImageNet's table
        if given and partial not in path.parents and not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(path.resolve(), place)
            except OSError:  # not every disk has links
                shutil.copy(path, place)
    return partial


def _move(source, target):
    """Move all that a folder holds into another, in place of what is of the same name."""
    for item in source.iterdir():
        place = target / item.name
        if item.is_dir() and place.is_dir():
            _move(item, place)
        elif place.exists() and place.samefile(item):
            item.unlink()  # what was laid there, and linked
        else:
            item.replace(place)
    source.rmdir()


@contextlib.contextmanager
def _watched(title):
    """Let no connection wait for ever, and show torchvision's progress.

    In a terminal it is torchvision's own bar, in a notebook one line, else nothing.
    """
    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    stream = sys.stderr if sys.stderr.isatty() else _Line(title)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(stream):
            yield
    finally:
        socket.setdefaulttimeout(patience)


class _Line(io.StringIO):
    """A stream that shows only its latest line: in a notebook one display, updated in place."""

    def __init__(self, title):
        super().__init__()
        text, notebook = {"text/plain": f"{title}: downloading"}, hasattr(get_ipython(), "kernel")
        self.shown = notebook and display(text, raw=True, display_id=True)
        self.title = title

    def write(self, text):
        if self.shown and text.strip():
            self.shown.update({"text/plain": f"{self.title}: {text.strip()}"}, raw=True)
        return len(text)
