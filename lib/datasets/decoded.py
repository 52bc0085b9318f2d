"""Decoded images, kept: each set is decoded once, into one file of bytes that can be mapped.

A file under `data/cache/images` is named by what was asked: the set, split, size and choice. Beside
it lies a record (JSON, and its checksum) of what determines the pixels: every image file's name,
size and times, the code and the libraries that decode. Both are written whole or not at all, and
checked when read.
"""

import hashlib
import json
import os
import shutil
import warnings
import zlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import numpy as np
import PIL
import torch
import torchvision
from filelock import FileLock
from joblib import cpu_count

from lib.datasets.reading import fit, read_image
from lib.images import Images
from lib.runtime import files, fingerprint
from lib.runtime.parallel import progress

CACHE = files.DATA / "cache" / "images"
BLOCK = 256
"""Images that are decoded, written and checked together."""
IN_MEMORY = 2**30
"""Bytes of a set that is read into memory, at most; a larger one stays in its file."""


@dataclass(frozen=True)
class Mapped(Images):
    """Images whose pixels stay in a file: x is mapped from it, and must not be written to.

    Another process is told the file, not sent its content.
    """

    file: Path

    @classmethod
    def of(cls, file: Path, y: torch.Tensor, classes: tuple[str, ...]) -> "Mapped":
        """Map the pixels of a file that has been checked."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            return cls(torch.from_numpy(np.load(file, mmap_mode="r")), y, classes, file)

    def __reduce__(self):
        return Mapped.of, (self.file, self.y, self.classes)


def from_files(
    paths: Sequence[str], y: torch.Tensor, classes: tuple[str, ...], size: int, *, asked: Mapping
) -> Images:
    """Return the images of these files, decoded on every core unless that has been done.

    paths: of images of any kind. y, classes: as in Images. size: pixels of a side. asked: texts and
    numbers that tell this choice of files from all others; its `set` is a name or a folder.

    Returns Images of uint8 (N, 3, size, size), Mapped ones where they are over IN_MEMORY. Raises
    ValueError naming the file that cannot be read, and where the disk is too full.
    """

    def block(part):
        return torch.stack([read_image(path, size) for path in paths[part]])

    store = Store(asked, size, ("datasets.reading",), lambda: paths)
    x, _ = store.load(lambda: (len(paths), block, {}))
    return _images(x, y, classes, store.path)


def from_arrays(
    read: Callable, list_files: Callable[[], Sequence[str]], size: int, *, asked: Mapping
) -> Images:
    """Return images that `read` finds in a few large files, scaled unless that has been done.

    read: returns (x, y, classes) with x uint8 (N, 3, H, W). list_files: lists the files that this
    depends on. The rest, what is returned and raised: as in `from_files`.
    """

    def make():
        x, y, classes = read()
        about = {"y": y.tolist(), "classes": list(classes)}
        return len(x), lambda part: fit(x[part], size), about

    store = Store(asked, size, ("datasets.reading", "datasets.layouts"), list_files)
    x, record = store.load(make)
    return _images(x, torch.tensor(record["y"]), tuple(record["classes"]), store.path)


class Store:
    """The pixels of one set: their file, the record beside it, and what a kill left of both.

    asked, size: as in `from_files`. code: modules of lib that determine the pixels. list_files:
    lists the files that they come from.
    """

    def __init__(self, asked: Mapping, size: int, code: Sequence[str], list_files: Callable):
        self.asked, self.size, self.code = {**asked, "size": size}, size, code
        self.list_files = list_files
        name = hashlib.sha256(json.dumps(self.asked, sort_keys=True).encode()).hexdigest()[:24]
        self.path = CACHE / f"{name}.npy"
        suffixes = (".json", ".partial", ".journal")
        self.record, self.partial, self.journal = map(self.path.with_suffix, suffixes)

    def load(self, make: Callable) -> tuple[np.ndarray, dict]:
        """Return the pixels, uint8 (N, 3, size, size), and the record, made unless they are there.

        make: returns how many images there are, a function of a slice that decodes these, uint8
        (n, 3, size, size), and a dict of what else to record. It may bring the files.
        """
        CACHE.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path.with_suffix(".lock")):
            kept = self._read()
            if kept is None:
                self._write(*make())
                kept = self._read()
        if kept is None:
            raise ValueError(f"{self.asked['set']} has changed while it was read; load it again")
        return kept

    def _identity(self):
        """Describe what determines the pixels; a file's times tell of a change its size hides."""
        stamps = []
        for path in self.list_files():
            try:
                at = os.stat(path)  # noqa: PTH116 (to make Paths of many files takes longer)
            except OSError as error:
                raise ValueError(f"{path} cannot be read as an image ({error.strerror})") from None
            stamps.append(f"{path}\0{at.st_size}\0{at.st_mtime_ns}\0{at.st_ctime_ns}\n")
        listed = "".join(stamps).encode(errors="surrogateescape")
        return {
            "asked": self.asked,
            "files": hashlib.sha256(listed).hexdigest(),
            "code": fingerprint.code(*self.code),
            "libraries": [PIL.__version__, torchvision.__version__],
        }

    def _read(self):
        """Return pixels and record, or None where there are none, or others, or damaged ones."""
        identity = self._identity()
        if not self.path.exists():
            return None
        try:
            text, _, checksum = self.record.read_text(encoding="utf-8").partition("\n")
            if checksum != str(zlib.crc32(text.encode())):
                raise ValueError("its record is not the one that was written")
            record = json.loads(text)
            if record | identity != record:
                return None  # images were changed, added or removed, or are decoded in another way
            return self._pixels(record), record
        except (OSError, ValueError, EOFError) as error:
            warnings.warn(f"{self.path} is not used but decoded anew: {error}", stacklevel=6)
            return None

    def _pixels(self, record):
        """Return the pixels, in memory or mapped, each block held against its checksum."""
        stored = np.load(self.path, mmap_mode="r")
        if list(stored.shape) != record["shape"] or stored.dtype != np.uint8:
            raise ValueError("it is not of the shape that was written")
        x = stored if stored.nbytes > IN_MEMORY else np.empty_like(stored, subok=False)

        def checksum(start):
            part = slice(start, start + BLOCK)
            if x is not stored:
                x[part] = stored[part]
            return zlib.crc32(x[part])

        # Copies and checksums take most of the time, and let other threads run.
        with ThreadPoolExecutor(cpu_count()) as pool:
            if list(pool.map(checksum, range(0, len(x), BLOCK))) != record["crc32"]:
                raise ValueError("its pixels are not those that were written")
        return x

    def _write(self, count, block, about):
        """Write the pixels block by block, going on where a run was killed, then the record."""
        record = {**self._identity(), **about, "shape": (count, 3, self.size, self.size)}
        self.partial.touch()
        with self.partial.open("r+b") as file:
            header = {"descr": "|u1", "fortran_order": False, "shape": record["shape"]}
            np.lib.format.write_array_header_1_0(file, header)
            record["crc32"] = self._write_blocks(file, json.dumps(record), count, block)
        text = json.dumps(record)
        files.replace(self.record, f"{text}\n{zlib.crc32(text.encode())}")
        # The pixels last, since it is they that are looked for.
        self.partial.replace(self.path)
        self.journal.unlink()

    def _write_blocks(self, file, record, count, block):
        """Write what is not there after the header, note each block, and return all checksums."""
        start, each, name = file.tell(), 3 * self.size**2, Path(self.asked["set"]).name
        sums = self._finished(file, record, BLOCK * each)
        starts = range(BLOCK * len(sums), count, BLOCK)
        left, free = (count - starts.start) * each, shutil.disk_usage(CACHE).free
        if left > free:
            raise ValueError(
                f"{name} takes {left / 1e9:.1f} GB more once decoded, but {CACHE} has "
                f"{free / 1e9:.1f} GB; make room, or ask for fewer images or a smaller size"
            )
        file.truncate(file.seek(start + min(starts.start, count) * each))
        blocks = _decoded(block, starts)
        if len(starts) > 1:
            blocks = progress(blocks, len(starts), f"{name}, blocks of {BLOCK} images decoded")
        with self.journal.open("w") as log:
            print(record, *sums, sep="\n", file=log, flush=True)
            for x in blocks:
                pixels = x.contiguous().numpy()
                file.write(pixels)
                file.flush()
                sums.append(zlib.crc32(pixels))
                print(sums[-1], file=log, flush=True)
        return sums

    def _finished(self, file, record, length):
        """Return the checksums of the blocks that the journal names and the file holds."""
        try:
            begun, *lines = self.journal.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError):  # what cannot be read is decoded again
            return []
        sums = map(zlib.crc32, iter(lambda: file.read(length), b""))
        pairs = zip(lines if begun == record else [], sums, strict=False)
        return [checksum for _, checksum in takewhile(lambda p: p[0] == str(p[1]), pairs)]


def _decoded(block, starts):
    """Decode the blocks on every core, in order and few at a time."""
    threads, cores, ahead = torch.get_num_threads(), cpu_count(), deque()
    torch.set_num_threads(1)  # each of the threads below computes on one core
    pool = ThreadPoolExecutor(cores)
    try:
        for start in starts:
            ahead.append(pool.submit(block, slice(start, start + starts.step)))
            if len(ahead) > 2 * cores:  # no more than can be written as fast
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)


def _images(x, y, classes, path):
    """Make Images of pixels in memory, else Mapped ones."""
    mapped = isinstance(x, np.memmap)
    return Mapped.of(path, y, classes) if mapped else Images(torch.from_numpy(x), y, classes)
