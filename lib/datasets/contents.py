"""What the files of a folder hold: exact copies, and greys deeper than 8 bits. Looked at once."""

import hashlib
import zlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from math import isfinite, nan
from pathlib import Path

import PIL
from joblib import cpu_count

from lib.datasets import reading, records
from lib.datasets.reading import MOST_BYTES, Depth, Unreadable, extremes, mode_of
from lib.datasets.walk import File

HEAD = 4096
"""Bytes of a file that are compared first; the rest only of files that are alike so far."""
SHALLOW = (b"\xff\xd8", b"GIF8", b"BM", b"RIFF")
"""How files begin that hold 8 bits a channel at most: JPEG, GIF, BMP, WebP."""
BITS = (8, 10, 12, 14, 16)
"""Depths of the devices that take deep images."""


@dataclass(frozen=True)
class Contents:
    """What a set's files hold.

    copies: positions of files that are the same byte for byte, a list for each content. deep: how
    many are grey and deeper than 8 bits; depth: what becomes black and white in these, or None.
    colour: how many are colour and deeper than 8 bits, which Pillow cuts down to 8.
    """

    copies: Sequence[Sequence[int]] = ()
    deep: int = 0
    depth: Depth | None = None
    colour: int = 0

    def notes(self) -> list[str]:
        """Say, in a line each, what is said of deep images."""
        notes = []
        if self.depth:
            low, high = self.depth
            notes.append(
                f"{self.deep:,} grey images are deeper than 8 bits: in all of them {low:g} is "
                f"black and {high:g} white, by the range of the set"
            )
        if self.colour:
            notes.append(
                f"{self.colour:,} colour images have 16 bits a channel, of which the upper 8 are "
                "read; dark ones should be scaled first"
            )
        return notes


def look(files: Sequence[File], kept: Path) -> Contents:
    """Find copies and deep greys among image files.

    kept: where it is noted, for as long as the files stay as they are. What cannot be read is
    passed over: reading the image will tell.
    """
    code = [zlib.crc32(Path(file).read_bytes()) for file in (__file__, reading.__file__)]
    known = {"files": identity(files), "code": code, "pillow": PIL.__version__}
    with suppress(OSError, ValueError):  # it was never noted, or is damaged
        record = records.read(kept)
        if {key: record.get(key) for key in known} == known:
            depth = record["depth"] and tuple(record["depth"])
            return Contents(record["copies"], record["deep"], depth, record["colour"])
    begins = [_begin(file) for file in files]
    kinds = [_depth_of(file, begin) for file, (_, begin) in zip(files, begins, strict=True)]
    deep = [file.path for file, kind in zip(files, kinds, strict=True) if kind == "grey"]
    copies = _copies(files, [checksum for checksum, _ in begins])
    found = Contents(copies, len(deep), _range(deep), kinds.count("colour"))
    kept.parent.mkdir(parents=True, exist_ok=True)
    records.write(kept, known | asdict(found))
    return found


def identity(files: Iterable[File]) -> str:
    """Return the sha256 hex of what tells of a change in any of these files."""
    marks = "".join([file.mark for file in files])
    return hashlib.sha256(marks.encode(errors="surrogateescape")).hexdigest()


def _begin(file):
    """Return the checksum of a file's first bytes, and the first of these; none where it is bad."""
    if not file.size:
        return None, b""
    try:
        with open(file.path, "rb", buffering=0) as opened:  # noqa: PTH123 (the fastest there is)
            head = opened.read(HEAD)
    except OSError:
        return None, b""
    return zlib.crc32(head), head[:32]


def _copies(files, checksums):
    """List the positions of files of equal content; most differ in size, or in how they begin."""
    alike, same = defaultdict(list), defaultdict(list)
    for i, (file, checksum) in enumerate(zip(files, checksums, strict=True)):
        if checksum is not None and file.size <= MOST_BYTES:
            alike[file.size, checksum].append(i)
    for positions in alike.values():
        for i in positions if len(positions) > 1 else ():
            with suppress(OSError):
                same[hashlib.sha256(Path(files[i].path).read_bytes()).digest()].append(i)
    return sorted(positions for positions in same.values() if len(positions) > 1)


def _depth_of(file, begin):
    """Tell of an image deeper than 8 bits whether it is "grey" or "colour"; else ""."""
    if not begin or begin.startswith(SHALLOW):
        return ""
    if begin.startswith(b"\x89PNG"):  # bytes 24 and 25 are the bits of a channel, and the kind
        return ("grey" if begin[25:26] == b"\0" else "colour") * (begin[24:25] == b"\x10")
    try:
        mode, bits = mode_of(file.path)
    except Unreadable:
        return ""
    return "grey" if mode.startswith("I") or mode == "F" else "colour" * (bits > 8)


def _range(paths):
    """Return what is black and white in deep images: what they hold, rounded up to whole bits."""

    def seen(path):
        with suppress(Unreadable):
            return extremes(path)
        return nan, nan

    with ThreadPoolExecutor(cpu_count()) as pool:
        found = [pair for pair in pool.map(seen, paths) if isfinite(sum(pair))]
    if not found:
        return None
    low, high = min(low for low, _ in found), max(high for _, high in found)
    if low < 0:
        return low, high
    return 0.0, next((float(top) for top in (1, *(2**b - 1 for b in BITS)) if high <= top), high)
