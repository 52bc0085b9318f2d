"""What a file of weights holds: its tensors by the place where they stand, not read yet."""

import collections
import contextlib
import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import safetensors
import torch

from lib.zoo import archives
from lib.zoo.pickles import OPERATIONS
from lib.zoo.stand_ins import LONGEST, Array, Stored

Tensors = dict[str, Callable[[], torch.Tensor]]
"""By place, as in "state_dict/module.conv1.weight": the entries of the file, and the name."""
MOST = 100_000
"""Tensors in a file, at most; names in an index take 100 bytes each."""
SHARED = 8
"""Numbers that tensors have together, at most, for each byte of a file: some share memory."""


class Unfit(Exception):
    """What is wrong with a file, without its name."""


def located(path: str | Path) -> tuple[Path, str]:
    """Divide PATH#ENTRY into (path, entry); a file whose own name has a "#" is taken as it is."""
    whole = Path(path).expanduser()
    before, _, entry = str(whole).rpartition("#")
    return (Path(before), entry) if before and not whole.exists() else (whole, "")


def tensors(path: Path, opened: contextlib.ExitStack, *, indexed: bool = False) -> Tensors:
    """List the tensors of a file, which remain to be read as long as `opened` is not closed.

    path: a file of torch.save or of safetensors, or the index of such files, which lie beside it.
    indexed: whether it is one of these.

    Raises Unfit where it is something else that is known, and for damaged files what their
    readers raise.
    """
    file = opened.enter_context(path.open("rb"))
    start = file.read(512)
    file.seek(0)
    if not start:
        raise Unfit("is empty; download it again")
    if start.startswith(b"version https://git-lfs"):
        raise Unfit("is a pointer of Git LFS, not the file; fetch it with git lfs pull")
    if start.lstrip()[:1] == b"<":
        raise Unfit("is a web page, not a checkpoint; download the file itself")
    if start.lstrip()[:1] == b"{" and not indexed:
        return _indexed(path, json.loads(file.read(100 * MOST)), opened)
    if start[8:9] == b"{":
        handle = opened.enter_context(safetensors.safe_open(path, "pt"))
        names = handle.keys()
        if len(names) > MOST or any(len(name) > LONGEST for name in names):
            raise Unfit(f"has more than {MOST:,} tensors, or longer names than weights have")
        return {name: partial(handle.get_tensor, name) for name in names}
    return _flat(*archives.load(file), path.stat().st_size)


def _indexed(path, index, opened):
    """List the tensors of all files that an index names."""
    places = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(places, dict) or not all(isinstance(v, str) for v in places.values()):
        raise Unfit("is JSON, but no index of weights; name the file that holds them")
    found: Tensors = {}
    for name in sorted(set(places.values())):
        part = path.parent / name
        if Path(name).name != name or not part.is_file():
            raise Unfit(f"names {name[:100]!r}, which is no file beside it; fetch all its files")
        found |= tensors(part, opened, indexed=True)
    return found


def _flat(content, load, size):
    """List the tensors in nested dicts of a file of `size` bytes."""
    found: Tensors = {}
    looked, told, arrays, pending = 0, 0, False, collections.deque([("", content)])
    while pending:
        prefix, entry = pending.popleft()
        looked += len(entry) if isinstance(entry, dict) else 0
        for name, value in entry.items() if isinstance(entry, dict) else ():
            place = f"{prefix}{name}"
            if isinstance(value, Stored):
                told += math.prod(value.size)
                found[place] = partial(load, value)
            elif isinstance(value, dict) and len(place) < LONGEST:
                pending.append((f"{place}/", value))
            arrays = arrays or value is Array
        if looked > OPERATIONS or max(len(found), len(pending)) > MOST or told > SHARED * size:
            raise Unfit("describes more tensors than a checkpoint has, or some many times")
    if arrays and not found:
        raise Unfit(f"holds arrays of NumPy; {archives.AS_TENSORS}")
    if not found:
        has = [repr(name)[:40] for name in content] if isinstance(content, dict) else []
        listed = f"; it has {', '.join(has[:5])}" if has else ""
        raise Unfit(f"holds no weights by name{listed}; save the state_dict of the network")
    return found
