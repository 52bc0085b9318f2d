"""Pixels of image sets, kept: each set is decoded once, into one file of bytes that can be mapped.

A file under `data/cache/images` is named by what was asked: the set, split, size and choice. Beside
it lies a record of what determines the pixels: every image file's name, size and times, the code
and the libraries that decode. Both are written whole or not at all, and checked when read.
"""

import hashlib
import io
import json
import shutil
import warnings
import zlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
import PIL
import torch
from filelock import FileLock
from joblib import cpu_count

from lib.datasets import records
from lib.datasets.contents import identity
from lib.datasets.reading import Depth, Unreadable
from lib.datasets.walk import File
from lib.runtime import files, fingerprint
from lib.runtime.parallel import progress

CACHE = files.DATA / "cache" / "images"
BLOCK = 256
"""Images that are decoded, written and checked together."""
IN_MEMORY = 2**30
"""Bytes of a set that is read into memory, at most; a larger one stays in its file."""
code = cache(fingerprint.code)  # that which runs, whatever is edited meanwhile


class Store:
    """The pixels of one set: their file, the record beside it, and what a kill left of both.

    asked, size, depth: as in `from_files`. code: modules of lib that determine the pixels.
    list_files: lists the files that they come from, as they are now.
    """

    def __init__(
        self,
        asked: Mapping,
        size: int,
        code: Sequence[str],
        list_files: Callable[[], Sequence[File]],
        depth: Depth | None = None,
    ):
        self.asked, self.size, self.code = {**asked, "size": size}, size, code
        self.list_files, self.depth = list_files, depth and list(depth)
        name = hashlib.sha256(json.dumps(self.asked, sort_keys=True).encode()).hexdigest()[:24]
        self.path = CACHE / f"{name}.npy"
        suffixes = (".json", ".partial", ".journal")
        self.record, self.partial, self.journal = map(self.path.with_suffix, suffixes)

    def load(self, make: Callable, listed: Sequence[File] | None = None) -> tuple[np.ndarray, dict]:
        """Return the pixels, uint8 (N, 3, size, size), and the record, made unless they are there.

        make: returns how many images there are, a function of a slice that decodes these, uint8
        (n, 3, size, size), and a dict of what else to record. It may bring the files. listed: the
        files, where they have just been listed.
        """
        CACHE.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path.with_suffix(".lock")):
            kept = self._read(self._identity(listed))
            if kept is None:
                self._write(*make())
                kept = self._read(self._identity())
        if kept is None:
            raise ValueError(f"{self.asked['set']} has changed while it was read; load it again")
        return kept

    def _identity(self, listed=None):
        """Describe what determines the pixels."""
        return {
            "asked": self.asked,
            "files": identity(self.list_files() if listed is None else listed),
            "depth": self.depth,
            "code": code(*self.code),
            "libraries": [PIL.__version__, version("torchvision")],
        }

    def _read(self, identity):
        """Return pixels and record, or None where there are none, or others, or damaged ones."""
        if not self.path.exists():
            return None
        try:
            record = records.read(self.record)
            if record | identity != record:
                return None  # images were changed, added or removed, or are decoded in another way
            return self._pixels(record), record
        except (OSError, ValueError) as error:
            warnings.warn(f"{self.path} is not used but decoded anew: {error}", stacklevel=6)
            return None

    def _pixels(self, record):
        """Return the pixels, in memory or mapped, each block held against its checksum."""
        shape, header = tuple(record["shape"]), _header(record["shape"])
        with self.path.open("rb") as file:  # a damaged header is compared, never interpreted
            if file.read(len(header)) != header:
                raise ValueError("its header is not the one that was written")
        stored = np.memmap(self.path, np.uint8, "r", len(header), shape)
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
        """Write the pixels block by block, those that a kill has left undone, then the record."""
        record = {**self._identity(), **about, "shape": (count, 3, self.size, self.size)}
        self.partial.touch()
        with self.partial.open("r+b") as file:
            file.write(_header(record["shape"]))
            record["crc32"] = self._write_blocks(file, json.dumps(record), count, block)
        records.write(self.record, record)
        # The pixels last, since it is they that are looked for.
        self.partial.replace(self.path)
        self.journal.unlink()

    def _write_blocks(self, file, record, count, block):
        """Write the blocks that are not there, note each, and return all checksums in order.

        Raises Unreadable at the end, for all images that cannot be read: what could be is kept.
        """
        begin, each, name = file.tell(), 3 * self.size**2, Path(self.asked["set"]).name
        sums = self._finished(file, record, BLOCK * each)
        starts = [i for i in range(0, count, BLOCK) if i not in sums]
        left = sum(min(BLOCK, count - start) for start in starts) * each
        free = shutil.disk_usage(CACHE).free
        if left > free:
            raise ValueError(
                f"{name} takes {left / 1e9:.1f} GB more once decoded, but {CACHE} has "
                f"{free / 1e9:.1f} GB; make room, or ask for fewer images or a smaller size"
            )
        file.truncate(begin + count * each)
        blocks = _decoded(block, starts)
        if len(starts) > 1:
            blocks = progress(blocks, len(starts), f"{name}, blocks of {BLOCK} images decoded")
        failures: list[tuple[str, str]] = []
        with self.journal.open("w") as log, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what Pillow finds odd and reads nevertheless
            print(
                record, *(f"{i} {crc}" for i, crc in sums.items()), sep="\n", file=log, flush=True
            )
            for start, x in blocks:
                if isinstance(x, Unreadable):
                    failures += x.failures
                    continue
                pixels = x.contiguous().numpy()
                file.seek(begin + start * each)
                file.write(pixels)
                file.flush()
                sums[start] = zlib.crc32(pixels)
                print(start, sums[start], file=log, flush=True)
        if failures:
            raise Unreadable(*failures)
        return [sums[start] for start in range(0, count, BLOCK)]

    def _finished(self, file, record, length):
        """Return {start: checksum} of the blocks that the journal names and the file holds."""
        try:
            begun, *lines = self.journal.read_text(encoding="utf-8").splitlines()
            noted = {int(start): int(crc) for start, crc in map(str.split, lines)}
        except (OSError, ValueError):  # what cannot be read is decoded again
            return {}
        sums = enumerate(map(zlib.crc32, iter(lambda: file.read(length), b"")))
        held = {i * BLOCK: crc for i, crc in sums} if begun == record else {}
        return {start: crc for start, crc in noted.items() if held.get(start) == crc}


def _header(shape):
    """Return the bytes that NumPy writes before an array of uint8 of this shape."""
    header = {"descr": "|u1", "fortran_order": False, "shape": tuple(shape)}
    np.lib.format.write_array_header_1_0(file := io.BytesIO(), header)
    return file.getvalue()


def _decoded(block, starts):
    """Decode the blocks on every core, few at a time: pairs (start, images or Unreadable)."""
    threads, cores, ahead = torch.get_num_threads(), cpu_count(), deque()
    torch.set_num_threads(1)  # each of the threads below computes on one core
    pool = ThreadPoolExecutor(cores)

    def decode(start):
        try:
            return start, block(slice(start, start + BLOCK))
        except Unreadable as error:
            return start, error

    try:
        for start in starts:
            ahead.append(pool.submit(decode, start))
            if len(ahead) > 2 * cores:  # no more than can be written as fast
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)
