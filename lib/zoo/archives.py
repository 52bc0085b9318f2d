"""Files of torch.save, in the zip format and in the one before PyTorch 1.6."""

import functools
import io
import struct
import zipfile
from collections.abc import Callable
from typing import BinaryIO

from torch.serialization import MAGIC_NUMBER, PROTOCOL_VERSION

from lib.zoo import pickles

AS_TENSORS = "write its arrays by torch.save({name: torch.from_numpy(array), …})"


def load(file: BinaryIO) -> tuple[object, Callable]:
    """Load what a file of torch.save holds, in the zip format or the one before 1.6.

    torch.load is not used: it believes the sizes a pickle tells before it looks at the file, and
    it also opens archives with code.

    file: seekable. Returns (content with Stored in place of tensors, function that makes a tensor
    of a Stored). Raises ValueError, or what the pickle module raises, for other files.
    """
    in_zip = file.read(4) == b"PK\x03\x04"
    content, content_of = _open_zip(file) if in_zip else _open_legacy(file)
    # Once a storage, which many views may share: they hold it in memory, as long as they live.
    content_of = functools.cache(content_of)
    return content, lambda stored: stored.load(content_of(stored.storage))


def _open_zip(file):
    """Open an archive: a pickle, and a member for each storage."""
    size = file.seek(0, 2)
    archive = zipfile.ZipFile(file)
    members = {info.filename: info for info in archive.infolist()}
    pickled = [name for name in members if name.rpartition("/")[2] == "data.pkl"]
    if any(name.endswith(".npy") for name in members):
        raise ValueError(f"it is an archive of NumPy; {AS_TENSORS}")
    if len(pickled) != 1:
        raise ValueError("a zip archive without a data.pkl is no checkpoint of PyTorch")
    root = pickled[0].removesuffix("data.pkl")
    if f"{root}constants.pkl" in members:
        raise ValueError("it is a TorchScript program; save the state_dict of the module instead")
    if any(info.compress_type != zipfile.ZIP_STORED for info in members.values()):
        raise ValueError("its archive is compressed, which torch.save never does")
    if f"{root}byteorder" in members and archive.read(f"{root}byteorder") != b"little":
        raise ValueError("its numbers are in the order of a big-endian machine")
    if sum(info.file_size for info in archive.infolist()) > size:
        raise ValueError("its archive says that it holds more than the file")
    content = pickles.Unpickler(io.BytesIO(archive.read(pickled[0]))).load()
    return content, lambda storage: bytearray(archive.read(f"{root}data/{storage.key}"))


def _open_legacy(file):
    """Open four pickles in a row, the keys of the storages, and the storages in that order."""
    size = file.seek(0, 2)
    file.seek(0)
    magic = pickles.Unpickler(file).load()
    if type(magic) is not int or magic != MAGIC_NUMBER:
        raise ValueError("it does not begin as a file of torch.save does; write it with torch.save")
    protocol, machine = (pickles.Unpickler(file).load() for _ in range(2))
    if type(protocol) is not int or protocol != PROTOCOL_VERSION:
        raise ValueError("it is of another version of torch.save")
    if not machine.get("little_endian", True):
        raise ValueError("its numbers are in the order of a big-endian machine")
    unpickler = pickles.Unpickler(file)
    content = unpickler.load()
    places = {}
    for key in pickles.Unpickler(file).load():
        storage = unpickler.storages[key if type(key) is str else ""]
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
