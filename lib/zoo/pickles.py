"""Reading pickled checkpoints without running anything from them.

A pickle is a program: it names functions and calls them. Here every name but those that rebuild
tensors stands for one inert object, and those few are our own and check what they are told. Nor
can it make the reader hash, compare or print what it built, or work longer than its length asks.
"""

import pickle
from collections.abc import Callable
from typing import BinaryIO

import torch

from lib.zoo.stand_ins import KNOWN, Array, Inert, Names, Storage

OPERATIONS = 5_000_000
"""Of a pickle, at most; a list of numbers takes one for each, the weights of a network 40 each."""


class Unpickler(pickle._Unpickler):  # in Python, so that each of its operations can be replaced
    """Loads a pickle in which every unknown name is inert and tensors are not read yet."""

    stack: list
    append: Callable
    pop_mark: Callable

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file, encoding="latin1")  # of text that Python 2 wrote
        self.operations = Operations()
        self.dispatch = self.operations  # type: ignore[misc,assignment]
        self.storages: dict[str, Storage] = {}

    def find_class(self, module: str, name: str) -> Callable | torch.dtype:
        """Return what a name stands for, without importing anything."""
        if module.startswith("numpy") and name in ("_reconstruct", "_frombuffer"):
            return Array
        return KNOWN.get((module, name), Inert)

    def persistent_load(self, saved: tuple) -> Storage:
        """Return the Storage that a persistent id describes."""
        if type(saved) is not tuple or len(saved) not in (5, 6):
            raise ValueError("a storage is not described as PyTorch describes one")
        kind, dtype, key, _, count, *view = saved
        sound = type(kind) is type(key) is str and isinstance(dtype, torch.dtype)
        if not sound or kind != "storage" or type(count) is not int or not 0 <= count < 2**63:
            raise ValueError("a storage is not described as PyTorch describes one")
        if any(part is not None for part in view):
            raise ValueError("a storage is a view of another, as PyTorch saved before 0.4")
        storage = Storage(key, dtype, count)
        if self.storages.setdefault(key, storage) != storage:
            raise ValueError(f"the storage {key[:20]!r} is described in two ways")
        return storage

    def call(self) -> None:
        """Call what stands for a function; long arguments count as operations."""
        args = self.stack.pop()
        if type(args) is not tuple:
            raise ValueError("the arguments of a function are no tuple")
        self.operations.spend(len(args))
        self.operations.spend(sum(len(a) for a in args if type(a) in (list, tuple)))
        self.stack[-1] = self.stack[-1](*args)

    def make_dict(self) -> None:
        """Make a dict of keys and values in turn."""
        made, items = Names(), self.pop_mark()
        for key, value in zip(items[::2], items[1::2], strict=True):
            made[key] = value
        self.append(made)

    def swallow(self, count: int = 0) -> None:
        """Put an inert object in the place of so many, or of all down to a mark."""
        for _ in range(count):
            self.stack.pop()
        if not count:
            self.pop_mark()
        self.append(Inert)


class Operations:
    """What each operation of a pickle does, while there are not too many of them."""

    def __init__(self) -> None:
        self.left = OPERATIONS

    def spend(self, count: int) -> None:
        """Raise ValueError where more were done than any checkpoint has."""
        self.left -= count
        if self.left < 0:
            raise ValueError(f"its pickle has more than {OPERATIONS:,} operations")

    def __getitem__(self, code: int) -> Callable:
        self.spend(1)
        return OURS.get(code) or pickle._Unpickler.dispatch[code]


OURS = {
    code[0]: operation
    for code, operation in (
        (pickle.REDUCE, Unpickler.call),
        (pickle.EMPTY_DICT, lambda unpickler: unpickler.append(Names())),
        (pickle.DICT, Unpickler.make_dict),
        (pickle.EMPTY_SET, lambda unpickler: unpickler.append(Inert)),
        (pickle.FROZENSET, Unpickler.swallow),
        (pickle.OBJ, Unpickler.swallow),
        (pickle.INST, lambda u: (u.readline(), u.readline(), u.swallow())),
        (pickle.NEWOBJ, lambda unpickler: unpickler.swallow(2)),
        (pickle.NEWOBJ_EX, lambda unpickler: unpickler.swallow(3)),
        (pickle.BYTEARRAY8, pickle._Unpickler.dispatch[pickle.BINBYTES8[0]]),
    )
}
"""Operations that would make an object, hash one, or take memory that the file does not fill."""
