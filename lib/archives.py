"""Files of torch.save, in the zip format and in the one before PyTorch 1.6."""

import functools
import struct
import zipfile

from lib import pickles

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
"""The numbers that begin a file in PyTorch's format before 1.6."""


def load(file):
    """Load what a file of torch.save holds, in the zip format or the one before 1.6.

    torch.load is not used: it believes the sizes a pickle tells before it looks at the file, and
    it also opens archives with code.

    file: binary file, seekable.

    Returns (content, read): the content with Stored in place of tensors, and the function that
    makes a tensor of a Stored. Raises ValueError, or what the pickle module raises, for others.
    """
    if file.read(4) == b"PK\x03\x04":
        return _load_zip(file)
    return _load_legacy(file)


def _load_zip(file):
    """Load an archive: a pickle, and a member for each storage."""
    archive = zipfile.ZipFile(file)
    members = {info.filename: info for info in archive.infolist()}
    found = [name for name in members if name.rpartition("/")[2] == "data.pkl"]
    if len(found) != 1:
        raise ValueError("a zip archive without a data.pkl is no checkpoint of PyTorch")
    root = found[0].removesuffix("data.pkl")
    if f"{root}constants.pkl" in members:
        raise ValueError("it is a TorchScript program; save the state_dict of the module instead")
    if any(info.compress_type != zipfile.ZIP_STORED for info in members.values()):
        raise ValueError("its archive is compressed, which torch.save never does")
    if f"{root}byteorder" in members and archive.read(f"{root}byteorder") != b"little":
        raise ValueError("its numbers are in the order of a big-endian machine")
    with archive.open(found[0]) as stream:
        content = pickles.Unpickler(stream).load()

    @functools.lru_cache(maxsize=1)  # tensors that share a storage come one after another
    def content_of(storage):
        return bytearray(archive.read(f"{root}data/{storage.key}"))

    return content, lambda stored: stored.load(content_of(stored.storage))


def _load_legacy(file):
    """Load four pickles in a row, the keys of the storages, and the storages in that order."""
    size = file.seek(0, 2)
    file.seek(0)
    magic, protocol, machine = (pickles.Unpickler(file).load() for _ in range(3))
    if magic != MAGIC or protocol != PROTOCOL:
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
        if count != storage.count or start + length > size:
            raise ValueError(f"a storage of {storage.count} numbers is cut short")
        places[storage.key] = (start, length)
        file.seek(length, 1)

    @functools.lru_cache(maxsize=1)
    def content_of(storage):
        start, length = places[storage.key]
        file.seek(start)
        return bytearray(file.read(length))

    return content, lambda stored: stored.load(content_of(stored.storage))
