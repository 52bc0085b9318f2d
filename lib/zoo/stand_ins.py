"""What the names in a pickled checkpoint stand for: tensors not read yet, and nothing that acts."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

LONGEST = 300
"""Characters of a name, at most."""
DIMENSIONS = 64
"""Of a tensor, at most."""


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


class Array(Inert):
    """What an array of NumPy becomes, so that it can be told from other objects."""


class Names(dict):
    """Stands for a dict, an OrderedDict or a defaultdict: what has a text as its key."""

    __slots__ = ()

    def __setitem__(self, key, value):
        # All else is passed over unread: the hash of nested tuples may take for ever.
        if type(key) is str:
            if len(key) > LONGEST:
                raise ValueError(f"a name in it has {len(key)} characters")
            super().__setitem__(key, value)

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
        """Make the tensor, a view of the bytes of its storage.

        Raises ValueError where they are not as many as the pickle says.
        """
        expected = self.storage.length * self.storage.dtype.itemsize
        if len(content) != expected:
            raise ValueError(f"a storage has {len(content)} bytes, and its description {expected}")
        if not math.prod(self.size):
            return torch.empty(self.size, dtype=self.dtype)
        flat = torch.frombuffer(content, dtype=self.dtype)
        return flat.as_strided(self.size, self.stride, self.offset)


def unchangeable(function: Callable) -> Callable:
    """Make of a function an object whose attributes a pickle cannot set."""
    return type(function.__name__, (), {"__slots__": (), "__call__": staticmethod(function)})()


@unchangeable
def rebuild(storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> Stored | type[Inert]:
    """Check the view of a storage that a pickle describes, and return it as Stored."""
    if not isinstance(storage, Storage):
        return Inert
    # The third form of the function names the type, for which the storage is only bytes.
    dtype = next((r for r in rest if isinstance(r, torch.dtype)), storage.dtype)
    for numbers in (size, stride, (offset,)):
        if type(numbers) is not tuple or not len(size) == len(stride) <= DIMENSIONS:
            raise ValueError("a tensor has no shape, or strides that do not fit it")
        if any(type(v) is not int or not 0 <= v < 2**63 for v in numbers):
            raise ValueError("the shape, strides or offset of a tensor are no sizes in memory")
    held = storage.length * storage.dtype.itemsize // dtype.itemsize
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if math.prod(size) and (last >= held or math.prod(size) > held):
        raise ValueError(f"a tensor of shape {size} asks for more than its {held} numbers")
    return Stored(storage, dtype, offset, size, stride)


@unchangeable
def mapping(*args: Any) -> Names:
    """Stand for OrderedDict, to which Python 2 gives what it holds, and for defaultdict."""
    made = Names()
    for pair in args[0] if args and type(args[0]) is list else ():
        if type(pair) in (list, tuple) and len(pair) == 2:
            made[pair[0]] = pair[1]
    return made


@unchangeable
def shape(sizes: Any = ()) -> tuple:
    """Stand for torch.Size."""
    return tuple(sizes) if type(sizes) in (list, tuple) else ()


@unchangeable
def keep(value: Any, *rest: Any) -> Any:
    """Stand for a function that wraps a tensor: return the tensor."""
    return value


@unchangeable
def plain(function: Any, kind: Any, args: Any, state: Any) -> Any:
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
    ("collections", "OrderedDict"): mapping,
    ("collections", "defaultdict"): mapping,
    ("torch", "Size"): shape,
    ("torch._utils", "_rebuild_tensor"): rebuild,
    ("torch._utils", "_rebuild_tensor_v2"): rebuild,
    ("torch._utils", "_rebuild_tensor_v3"): rebuild,
    ("torch._utils", "_rebuild_parameter"): keep,
    ("torch._utils", "_rebuild_parameter_with_state"): keep,
    ("torch._tensor", "_rebuild_from_type_v2"): plain,
}
"""All that is not inert, besides numbers, text and the plain containers: nothing here acts."""
