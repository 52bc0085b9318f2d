"""Decoded images, kept: each set is decoded once, into one file of bytes that can be mapped.

A file under `data/cache/images` is named by what was asked: the set, split, size and choice. Beside
it lies a record (JSON) of what determines the pixels: every image file's name, size and times, the
code and the libraries that decode. Both are written whole or not at all, and checked when read.
"""

import hashlib
import io
import json
import os
import shutil
import warnings
import zlib
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL
import torch
import torchvision
from filelock import FileLock
from joblib import cpu_count

from lib import files, fingerprint
from lib.images import Images
from lib.parallel import told
from lib.pictures import fit, read_image

CACHE = files.DATA / "cache" / "images"
BLOCK = 256
"""Images that are decoded, written and checked together."""
CODE = ("pictures",)
"""Modules of lib that determine the pixels."""
IN_MEMORY = 2**30
"""Bytes of a set that is read into memory, at most; a larger one stays in its file."""


@dataclass(frozen=True)
class Mapped(Images):
    """Images whose pixels stay in a file: x is mapped from it, and must not be written to.

    Another process is told the file, not sent its content.
    """

    file: Path

    def __reduce__(self):
        return _mapped, (self.file, self.y, self.classes)


def from_files(paths, y, classes, size, *, asked):
    """Return the images of these files, decoded on every core unless that has been done.

    paths: of images of any kind. y, classes: as in Images. size: pixels of a side. asked:
    dict of texts and numbers that tells this choice of files from all others.

    Returns Images of uint8 (N, 3, size, size), Mapped ones where they are over IN_MEMORY. Raises
    ValueError naming the file that cannot be read, and where the disk is too full.
    """

    def block(start, stop):
        return torch.stack([read_image(path, size) for path in paths[start:stop]])

    asked = {**asked, "size": size}
    x, _, path = _kept(asked, CODE, lambda: paths, lambda: ((len(paths), block), {}))
    return _images(x, y, classes, path)


def from_arrays(read, list_files, size, *, asked):
    """Return images that `read` finds in a few large files, scaled unless that has been done.

    read: returns (x, y, classes) with x uint8 (N, 3, H, W). list_files: lists the files that this
    depends on. The rest, what is returned and raised: as in `from_files`.
    """

    def make():
        x, y, classes = read()
        described = {"y": y.tolist(), "classes": list(classes)}
        return (len(x), lambda start, stop: fit(x[start:stop], size)), described

    asked = {**asked, "size": size}
    x, record, path = _kept(asked, (*CODE, "layouts"), list_files, make)
    return _images(x, torch.tensor(record["y"]), tuple(record["classes"]), path)


def _kept(asked, code, list_files, make):
    """Return the pixels, the record and the path of what was asked; make it where it is not."""
    name = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:24]
    path = CACHE / f"{name}.npy"
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        found = _read(path, _identity(asked, code, list_files()))
        if found is None:
            blocks, described = make()  # may bring the files
            identity = _identity(asked, code, list_files())
            _write(path, identity, described, *blocks)
            found = _read(path, _identity(asked, code, list_files()))
        if found is None:
            raise ValueError(f"{asked['set']} has changed while it was read; load it again")
        return *found, path


def _identity(asked, code, paths):
    """Describe what determines the pixels; a file's times tell of a change that its size hides."""
    stamps = []
    for path in paths:
        try:
            at = os.stat(path)  # noqa: PTH116 (to make Paths of many files takes longer than this)
        except OSError as error:
            raise ValueError(f"{path} cannot be read as an image ({error.strerror})") from None
        stamps.append(f"{path}\0{at.st_size}\0{at.st_mtime_ns}\0{at.st_ctime_ns}\n")
    listed = "".join(stamps).encode(errors="surrogateescape")
    return {
        "asked": asked,
        "files": hashlib.sha256(listed).hexdigest(),
        "code": fingerprint.code(*code),
        "libraries": [PIL.__version__, torchvision.__version__],
    }


def _write(path, identity, described, count, block):
    """Write the pixels block by block, and keep a journal from which to go on after a kill."""
    size, label = identity["asked"]["size"], Path(identity["asked"]["set"]).name
    shape, held = (count, 3, size, size), 3 * size * size
    head = io.BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(head, header)
    partial, journal = path.with_suffix(".partial"), path.with_suffix(".journal")
    sums = _finished(partial, journal, identity, head.getvalue(), BLOCK * held)
    free = shutil.disk_usage(CACHE).free
    if (left := (count - BLOCK * len(sums)) * held) > free:
        raise ValueError(
            f"{label} takes {left / 1e9:.1f} GB more once decoded, but {CACHE} has "
            f"{free / 1e9:.1f} GB; make room, or ask for fewer images or a smaller size"
        )
    with partial.open("ab") as file, journal.open("w") as log:
        file.truncate(head.tell() + len(sums) * BLOCK * held if sums else 0)
        if not sums:
            file.write(head.getvalue())
        print(json.dumps(identity), *sums, sep="\n", file=log, flush=True)
        for pixels in _decoded(block, range(BLOCK * len(sums), count, BLOCK), count, label):
            file.write(pixels)
            file.flush()
            sums.append(zlib.crc32(pixels))
            print(sums[-1], file=log, flush=True)
    record = {**identity, **described, "shape": shape, "crc32": sums}
    record["crc32 of the record"] = _sum(record)
    files.replace(path.with_suffix(".json"), json.dumps(record))
    # The pixels last, since it is they that are looked for.
    partial.replace(path)
    journal.unlink()


def _finished(partial, journal, identity, head, length):
    """Return the checksums of the blocks that a run which was killed has finished."""
    sums = []
    try:
        said, *lines = journal.read_text(encoding="utf-8").splitlines()
        with partial.open("rb") as file:
            if json.loads(said) != identity or file.read(len(head)) != head:
                return []
            for line in lines:
                content = file.read(length)
                if not content or zlib.crc32(content) != int(line):
                    break
                sums.append(int(line))
    except (OSError, ValueError):
        pass  # what cannot be read is decoded again
    return sums


def _decoded(block, starts, count, label):
    """Decode the blocks on every core, in order and few at a time, and tell how many are done."""
    threads, cores, ahead = torch.get_num_threads(), cpu_count(), deque()
    torch.set_num_threads(1)  # each of the threads below computes on one core
    pool = ThreadPoolExecutor(cores)

    def in_turn():
        for start in starts:
            ahead.append(pool.submit(block, start, min(start + BLOCK, count)))
            if len(ahead) > 2 * cores:  # no more than can be written as fast
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()

    try:
        found = in_turn()
        if len(starts) > 1:
            found = told(found, len(starts), f"{label}, blocks of {BLOCK} images decoded")
        for x in found:
            yield x.contiguous().numpy()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)


def _read(path, identity):
    """Return (pixels, record), or None where there are none, or others, or they are damaged."""
    if not path.exists():
        return None
    try:
        record = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        if record["crc32 of the record"] != _sum(record):
            raise ValueError("its record is not the one that was written")
        if any(record[key] != value for key, value in identity.items()):
            return None  # images were changed, added or removed, or are decoded in another way
        return _checked(path, record), record
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError) as error:
        warnings.warn(f"{path} is not used but decoded anew: {error}", stacklevel=6)
        return None


def _checked(path, record):
    """Return the pixels, in memory or mapped, each block held against its checksum."""
    stored = np.load(path, mmap_mode="r")
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


def _sum(record):
    """Checksum all that is recorded."""
    said = {key: value for key, value in record.items() if key != "crc32 of the record"}
    return zlib.crc32(json.dumps(said, sort_keys=True).encode())


def _images(x, y, classes, path):
    """Make Images of pixels in memory, else Mapped ones."""
    if isinstance(x, np.memmap):
        return _mapped(path, y, classes)
    return Images(torch.from_numpy(x), y, classes)


def _mapped(path, y, classes):
    """Map the pixels of a file that has been checked."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return Mapped(torch.from_numpy(np.load(path, mmap_mode="r")), y, classes, path)
