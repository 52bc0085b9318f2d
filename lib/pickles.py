"""Reading pickled checkpoints without running anything from them.

A pickle is a program: it names functions and calls them. Here every name but those that rebuild
tensors stands for one inert object, and those few are our own and check what they are told.
"""

import math
import pickle
import pickletools
from typing import NamedTuple

import torch


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
