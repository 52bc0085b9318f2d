"""What travels to the workers of a cluster and back: a call, and what many calls need, once."""

import io
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from lib.images import Images
from lib.runtime.devices import choose_here

LARGE = 2**18
"""Bytes from which a tensor is sent once to each worker, as networks and Images are."""


@dataclass
class Parcel:
    """A value that Dask holds on a worker, on the device that was asked for there."""

    value: Any
    device: str

    @classmethod
    def unpacked(cls, content: bytes, device: str) -> "Parcel":
        """Read a value; a network goes to the device."""
        value = unpack(content)
        if isinstance(value, torch.nn.Module):
            value = value.to(choose_here(device))
        return cls(value, device)

    def __reduce__(self):
        return Parcel.unpacked, (pack(self.value), self.device)


class _Pickler(pickle.Pickler):
    """Leaves out what travels by itself, and lets tensors travel by way of the CPU.

    apart: whether networks, Images and large tensors are left out; `values` has them then.
    """

    def __init__(self, file, apart):
        super().__init__(file, protocol=5)
        self.apart, self.values = apart, {}

    def persistent_id(self, value):
        if not self.apart or not isinstance(value, torch.nn.Module | Images | torch.Tensor):
            return None
        if isinstance(value, torch.Tensor) and value.numel() * value.element_size() < LARGE:
            return None
        return self.values.setdefault(id(value), (len(self.values), value))[0]

    def reducer_override(self, value):
        if type(value) is not torch.Tensor:
            return NotImplemented
        if value.device.type != "cpu":
            return _on_gpu, (value.cpu(),)
        # A part of a tensor would take all of its memory with it.
        whole = value.untyped_storage().nbytes() <= value.numel() * value.element_size()
        return NotImplemented if whole else (torch.clone, (value.clone(),))


class _Unpickler(pickle.Unpickler):
    """Puts in what has travelled by itself."""

    def __init__(self, content, values):
        super().__init__(io.BytesIO(content))
        self.values = values

    def persistent_load(self, pid):
        return self.values[pid]


def _on_gpu(value):
    """Put a tensor that was on a GPU on this process's, where it has one."""
    return value.to(choose_here("auto"))


def pack(value: Any) -> bytes:
    """Return the bytes of a value, whatever device its tensors are on."""
    _Pickler(file := io.BytesIO(), False).dump(value)
    return file.getvalue()


def pack_call(function: Callable, call: Mapping) -> tuple[bytes, list]:
    """Return the bytes of a call, and the values that travel by themselves."""
    pickler = _Pickler(file := io.BytesIO(), True)
    pickler.dump((function, call))
    return file.getvalue(), [value for _, value in pickler.values.values()]


def unpack(content: bytes, values: Sequence = ()) -> Any:
    """Read what `pack` or, with the values, `pack_call` has written."""
    return _Unpickler(content, values).load()
