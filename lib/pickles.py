"""Reading pickled checkpoints without running anything from them.

A pickle is a program: it names functions and calls them. Here every name but those that rebuild
tensors stands for one inert object, and those few are our own and check what they are told.
"""

import functools
import math
import pickle
import pickletools
import struct
import zipfile
from typing import NamedTuple

import torch

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
"""The numbers that begin a file in PyTorch's format before 1.6."""


class _Swallow(type):
    """Lets anything be done to a class, and does nothing."""

    def __call__(cls, *args, **kwargs):
        return cls

    def __setitem__(cls, key, value):
        pass

    def __setattr__(cls, name, value):
        pass

    def ignore(cls, *args):
        pass

    __setstate__ = append = extend = add = ignore


class Inert(metaclass=_Swallow):
    """What an unknown object of a pickle becomes: this class itself.

    It must be a class, since pickles of dill build classes and then ask for their instances.
    """

    def __new__(cls, *args, **kwargs):
        """Return the class."""
        return cls


class Names(dict):
    """Stands for an OrderedDict; a pickle cannot give it attributes that hide its methods."""

    __slots__ = ()

    def __setstate__(self, state):
        pass


class Storage(NamedTuple):
    """Where the numbers of tensors lie in the file, and how many there are of what type."""

    key: str
    dtype: torch.dtype
    count: int


class Stored(NamedTuple):
    """A tensor that has not been read yet: a view of a storage."""

    storage: Storage
    dtype: torch.dtype
    offset: int
    size: tuple
    stride: tuple

    def load(self, content):
        """Make the tensor, with memory of its own, from the bytes of its storage.

        Raises ValueError where they are not as many as the pickle says.
        """
        expected = self.storage.count * self.storage.dtype.itemsize
        if len(content) != expected:
            raise ValueError(f"a storage has {len(content)} bytes, and its description {expected}")
        if not math.prod(self.size):
            return torch.empty(self.size, dtype=self.dtype)
        flat = torch.frombuffer(content, dtype=self.dtype)
        return flat.as_strided(self.size, self.stride, self.offset).clone()


class Rebuild:
    """Stands for a function that rebuilds a tensor from a storage; a pickle cannot change it."""

    __slots__ = ()

    def __call__(self, storage, offset, size, stride, *rest):
        """Check the view that a pickle describes, and return it as Stored."""
        if not isinstance(storage, Storage):
            return Inert
        # The third form of the function names the type, for which the storage is only bytes.
        dtype = next((r for r in rest if isinstance(r, torch.dtype)), storage.dtype)
        numbers = (offset, *size, *stride)
        if len(size) != len(stride) or any(type(v) is not int or v < 0 for v in numbers):
            raise ValueError(f"a tensor has shape {size}, strides {stride} and offset {offset}")
        held = storage.count * storage.dtype.itemsize // dtype.itemsize
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        if math.prod(size) and (last >= held or math.prod(size) > held):
            raise ValueError(
                f"a tensor of shape {tuple(size)} asks for more than its {held} numbers"
            )
        return Stored(storage, dtype, offset, tuple(size), tuple(stride))


class Keep:
    """Stands for a function that wraps a tensor, and returns the tensor."""

    __slots__ = ()

    def __call__(self, value, *rest):
        """Return the tensor."""
        return value


class Subclass:
    """Stands for the function that calls another and makes a tensor subclass of the result."""

    __slots__ = ()

    def __call__(self, function, kind, args, state):
        """Return the tensor, as a plain one."""
        return function(*args) if isinstance(function, Rebuild | Keep) else Inert


DTYPES = {name: value for name, value in vars(torch).items() if isinstance(value, torch.dtype)}
STORAGES = {
    "DoubleStorage": torch.float64, "FloatStorage": torch.float32, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool, "UntypedStorage": torch.uint8,
    "ComplexFloatStorage": torch.complex64, "ComplexDoubleStorage": torch.complex128,
}  # fmt: skip
KNOWN = {
    ("collections", "OrderedDict"): Names,
    ("torch", "Size"): tuple,
    ("torch._utils", "_rebuild_tensor"): Rebuild(),
    ("torch._utils", "_rebuild_tensor_v2"): Rebuild(),
    ("torch._utils", "_rebuild_tensor_v3"): Rebuild(),
    ("torch._utils", "_rebuild_parameter"): Keep(),
    ("torch._utils", "_rebuild_parameter_with_state"): Keep(),
    ("torch._tensor", "_rebuild_from_type_v2"): Subclass(),
}
"""All that is not inert, besides numbers, text and the plain containers: nothing here acts."""


class Unpickler(pickle.Unpickler):
    """Loads a pickle in which every unknown name is inert and tensors are not read yet."""

    def __init__(self, file):
        _check_places(file)
        super().__init__(file, encoding="latin1")  # of text that Python 2 wrote
        self.storages = {}

    def find_class(self, module, name):
        """Return what a name stands for, without importing anything."""
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
        if module in ("torch", "torch.cuda", "torch.storage") and name in STORAGES:
            return STORAGES[name]
        return KNOWN.get((module, name), Inert)

    def persistent_load(self, saved):
        """Return the Storage that a persistent id describes."""
        kind, dtype, key, _, count, *view = saved
        sound = isinstance(dtype, torch.dtype) and type(count) is int and count >= 0
        if kind != "storage" or not sound:
            raise ValueError(f"a storage is described as {saved!r:.60}")
        if any(part is not None for part in view):
            raise ValueError("a storage is a view of another, as PyTorch saved before 0.4")
        found = Storage(str(key), dtype, count)
        if self.storages.setdefault(found.key, found) != found:
            raise ValueError(f"the storage {found.key} is described in two ways")
        return found


def _check_places(file):
    """Refuse a pickle that keeps an object at a place past all it can have, which fills memory."""
    start = file.tell()
    for code, place, at in pickletools.genops(file):
        if code.name in ("PUT", "LONG_BINPUT") and place > at:
            raise ValueError(f"its pickle keeps an object at place {place}")
    file.seek(start)


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
    pickles = [name for name in members if name.rpartition("/")[2] == "data.pkl"]
    if len(pickles) != 1:
        raise ValueError("a zip archive without a data.pkl is no checkpoint of PyTorch")
    root = pickles[0].removesuffix("data.pkl")
    if f"{root}constants.pkl" in members:
        raise ValueError("it is a TorchScript program; save the state_dict of the module instead")
    if any(info.compress_type != zipfile.ZIP_STORED for info in members.values()):
        raise ValueError("its archive is compressed, which torch.save never does")
    if f"{root}byteorder" in members and archive.read(f"{root}byteorder") != b"little":
        raise ValueError("its numbers are in the order of a big-endian machine")
    with archive.open(pickles[0]) as stream:
        content = Unpickler(stream).load()

    @functools.lru_cache(maxsize=1)  # tensors that share a storage come one after another
    def content_of(storage):
        return bytearray(archive.read(f"{root}data/{storage.key}"))

    return content, lambda stored: stored.load(content_of(stored.storage))


def _load_legacy(file):
    """Load four pickles in a row, the keys of the storages, and the storages in that order."""
    size = file.seek(0, 2)
    file.seek(0)
    magic, protocol, machine = (Unpickler(file).load() for _ in range(3))
    if magic != MAGIC or protocol != PROTOCOL:
        raise ValueError("it does not begin as a file of torch.save does")
    if not machine.get("little_endian", True):
        raise ValueError("its numbers are in the order of a big-endian machine")
    unpickler = Unpickler(file)
    content = unpickler.load()
    places = {}
    for key in Unpickler(file).load():
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
