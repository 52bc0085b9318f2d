"""Reading pickled checkpoints without running anything from them.

A pickle is a program: it names functions and calls them. Here every name but those that rebuild
tensors stands for one inert object, and those few are our own and check what they are told.
"""

import math
import pickle
import pickletools
from collections.abc import Callable
from typing import BinaryIO, NamedTuple

import torch


class _Swallow(type):
    """Lets anything be done to a class, and does nothing."""

    def __call__(cls, *args, **kwargs):
        return cls

    def ignore(cls, *args):
        pass

    __setitem__ = __setattr__ = __setstate__ = append = extend = add = ignore


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
    length: int


class Stored(NamedTuple):
    """A tensor that has not been read yet: a view of a storage."""

    storage: Storage
    dtype: torch.dtype
    offset: int
    size: tuple
    stride: tuple

    def load(self, content: bytearray) -> torch.Tensor:
        """Make the tensor, with memory of its own, from the bytes of its storage.

        Raises ValueError where they are not as many as the pickle says.
        """
        expected = self.storage.length * self.storage.dtype.itemsize
        if len(content) != expected:
            raise ValueError(f"a storage has {len(content)} bytes, and its description {expected}")
        if not math.prod(self.size):
            return torch.empty(self.size, dtype=self.dtype)
        flat = torch.frombuffer(content, dtype=self.dtype)
        return flat.as_strided(self.size, self.stride, self.offset).clone()


def unchangeable(function: Callable) -> Callable:
    """Make of a function an object whose attributes a pickle cannot set."""
    return type(function.__name__, (), {"__slots__": (), "__call__": staticmethod(function)})()


@unchangeable
def rebuild(storage, offset, size, stride, *rest):
    """Check the view of a storage that a pickle describes, and return it as Stored."""
    if not isinstance(storage, Storage):
        return Inert
    # The third form of the function names the type, for which the storage is only bytes.
    dtype = next((r for r in rest if isinstance(r, torch.dtype)), storage.dtype)
    numbers = (offset, *size, *stride)
    if len(size) != len(stride) or any(type(v) is not int or v < 0 for v in numbers):
        raise ValueError(f"a tensor has shape {size}, strides {stride} and offset {offset}")
    held = storage.length * storage.dtype.itemsize // dtype.itemsize
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if math.prod(size) and (last >= held or math.prod(size) > held):
        raise ValueError(f"a tensor of shape {tuple(size)} asks for more than its {held} numbers")
    return Stored(storage, dtype, offset, tuple(size), tuple(stride))


@unchangeable
def keep(value, *rest):
    """Stand for a function that wraps a tensor: return the tensor."""
    return value


@unchangeable
def plain(function, kind, args, state):
    """Stand for the function that makes a tensor subclass of what another one rebuilds."""
    return function(*args) if function is rebuild or function is keep else Inert


STORAGES = {
    "DoubleStorage": torch.float64, "FloatStorage": torch.float32, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool, "UntypedStorage": torch.uint8,
    "ComplexFloatStorage": torch.complex64, "ComplexDoubleStorage": torch.complex128,
}  # fmt: skip
KNOWN = {
    **{("torch", name): d for name, d in vars(torch).items() if isinstance(d, torch.dtype)},
    **{(f"torch{of}", n): d for of in ("", ".cuda", ".storage") for n, d in STORAGES.items()},
    ("collections", "OrderedDict"): Names,
    ("torch", "Size"): tuple,
    ("torch._utils", "_rebuild_tensor"): rebuild,
    ("torch._utils", "_rebuild_tensor_v2"): rebuild,
    ("torch._utils", "_rebuild_tensor_v3"): rebuild,
    ("torch._utils", "_rebuild_parameter"): keep,
    ("torch._utils", "_rebuild_parameter_with_state"): keep,
    ("torch._tensor", "_rebuild_from_type_v2"): plain,
}
"""All that is not inert, besides numbers, text and the plain containers: nothing here acts."""


class Unpickler(pickle.Unpickler):
    """Loads a pickle in which every unknown name is inert and tensors are not read yet."""

    def __init__(self, file: BinaryIO) -> None:
        start = file.tell()
        for code, place, at in pickletools.genops(file):
            # A place past all that an object can have makes the unpickler fill memory.
            if code.name in ("PUT", "LONG_BINPUT") and (place or 0) > (at or 0):
                raise ValueError(f"its pickle keeps an object at place {place}")
        file.seek(start)
        super().__init__(file, encoding="latin1")  # of text that Python 2 wrote
        self.storages: dict[str, Storage] = {}

    def find_class(self, module: str, name: str):
        """Return what a name stands for, without importing anything."""
        return KNOWN.get((module, name), Inert)

    def persistent_load(self, saved: tuple) -> Storage:
        """Return the Storage that a persistent id describes."""
        kind, dtype, key, _, count, *view = saved
        sound = isinstance(dtype, torch.dtype) and type(count) is int and count >= 0
        if kind != "storage" or not sound:
            raise ValueError(f"a storage is described as {saved!r:.60}")
        if any(part is not None for part in view):
            raise ValueError("a storage is a view of another, as PyTorch saved before 0.4")
        storage = Storage(str(key), dtype, count)
        if self.storages.setdefault(storage.key, storage) != storage:
            raise ValueError(f"the storage {storage.key} is described in two ways")
        return storage
