"""Files of torch.save, in the zip format and in the one before PyTorch 1.6."""

import functools
import struct
import zipfile
from collections.abc import Callable
from typing import BinaryIO

from torch.serialization import MAGIC_NUMBER, PROTOCOL_VERSION

from lib.zoo import pickles


def load(file: BinaryIO) -> tuple[object, Callable]:
    """Load what a file of torch.save holds, in the zip format or the one before 1.6.

    torch.load is not used: it believes the sizes a pickle tells before it looks at the file, and
    it also opens archives with code.

    file: seekable. Returns (content with Stored in place of tensors, function that makes a tensor
    of a Stored). Raises ValueError, or what the pickle module raises, for other files.
    """
    in_zip = file.read(4) == b"PK\x03\x04"
    content, content_of = _open_zip(file) if in_zip else _open_legacy(file)
    # Tensors that share a storage come one after another.
    content_of = functools.lru_cache(maxsize=1)(content_of)
    return content, lambda stored: stored.load(content_of(stored.storage))


def _open_zip(file):
    """Open an archive: a pickle, and a member for each storage."""
    archive = zipfile.ZipFile(file)
    members = {info.filename: info for info in archive.infolist()}
    pickled = [name for name in members if name.rpartition("/")[2] == "data.pkl"]
    if len(pickled) != 1:
        raise ValueError("a zip archive without a data.pkl is no checkpoint of PyTorch")
    root = pickled[0].removesuffix("data.pkl")
    if f"{root}constants.pkl" in members:
        raise ValueError("it is a TorchScript program; save the state_dict of the module instead")
    if any(info.compress_type != zipfile.ZIP_STORED for info in members.values()):
        raise ValueError("its archive is compressed, which torch.save never does")
    if f"{root}byteorder" in members and archive.read(f"{root}byteorder") != b"little":
        raise ValueError("its numbers are in the order of a big-endian machine")
    with archive.open(pickled[0]) as stream:
        content = pickles.Unpickler(stream).load()
    return content, lambda storage: bytearray(archive.read(f"{root}data/{storage.key}"))


def _open_legacy(file):
    """Open four pickles in a row, the keys of the storages, and the storages in that order."""
    size = file.seek(0, 2)
    file.seek(0)
    magic, protocol, machine = (pickles.Unpickler(file).load() for _ in range(3))
    if magic != MAGIC_NUMBER or protocol != PROTOCOL_VERSION:
        raise ValueError("it does not begin as a file of torch.save does")
    if not machine.get("little_endian", True):
        raise ValueError("its numbers are in the order of a big-endian machine")
    unpickler = pickles.Unpickler(file)
    content = unpickler.load()
    places = {}
    for key in pickles.Unpickler(file).load():
        storage = unpickler.storages[str(key)]
        (count,) = struct.unpack("<q", file.read(8))
        start, length = file.tell(), count * storage.dtype.itemsize
        if count != storage.length or start + length > size:
            raise ValueError(f"a storage of {storage.length} numbers is cut short")
        places[storage.key] = (start, length)
        file.seek(length, 1)

    def content_of(storage):
        start, length = places[storage.key]
        file.seek(start)
        return bytearray(file.read(length))

    return content, content_of
