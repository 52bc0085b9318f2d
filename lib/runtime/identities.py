"""What determines a result, written down: two calls of one identity return the same."""

import functools
import hashlib
import numbers
from collections.abc import Mapping
from dataclasses import is_dataclass
from pathlib import Path
from types import MethodType
from typing import Any

import torch

from lib.images import Images, digest


def identity(value: Any, seen: dict | None = None) -> str:
    """Write down what determines a result: numbers as text, tensors by a hash of their content.

    value: networks, tensors, Images, numbers, texts, paths, functions of modules, and lists, dicts
    and partials of these. seen: dict that remembers hashes by object, while these live.

    Raises TypeError for anything else, since its text need not tell it from another.
    """
    seen = {} if seen is None else seen
    if isinstance(value, torch.nn.Module | torch.Tensor | Images):
        if id(value) not in seen:
            seen[id(value)] = _content(value)
        return seen[id(value)]
    if isinstance(value, Mapping):
        return str({key: identity(part, seen) for key, part in value.items()})
    if isinstance(value, list | tuple | range):
        return str([identity(part, seen) for part in value])
    if isinstance(value, functools.partial):
        return identity([value.func, value.args, value.keywords], seen)
    named = "<" not in getattr(value, "__qualname__", "<")
    if callable(value) and named and not isinstance(value, MethodType):
        return f"{value.__module__}.{value.__qualname__}"
    if value is None or isinstance(value, numbers.Number | str | Path):
        return repr(value)
    if is_dataclass(value) and not isinstance(value, type):
        return f"{type(value).__name__}({identity(vars(value), seen)})"
    raise TypeError(f"a result cannot be told by a {type(value).__name__}")


def _content(value):
    """Hash the content of a network, a tensor or Images."""
    if isinstance(value, Images):
        return digest(value)
    if isinstance(value, torch.Tensor):
        content = hashlib.sha256(repr((value.shape, value.dtype)).encode())
        # As bytes: NumPy lacks some types.
        content.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        return content.hexdigest()
    state = dict(value.named_parameters()) | dict(value.named_buffers())
    text = f"{value}{[(name, _content(part)) for name, part in state.items()]}"
    return hashlib.sha256(text.encode()).hexdigest()[:24]
