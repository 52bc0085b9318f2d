"""Rows of measurements, kept in a CSV file as they come: what was killed goes on where it ended.

Every row says what it was measured with. Those of a call that is in the file are taken from there,
if the same call was made by the same code; so the file is result and memory in one, and several
jobs may share it.
"""

import functools
import hashlib
import numbers
from dataclasses import is_dataclass
from datetime import datetime, timezone
from pathlib import Path

import pandas as pd
import torch
from filelock import FileLock

from lib import files, fingerprint, provenance
from lib.images import Images, digest
from lib.parallel import each

EMPTY = {"keep_default_na": False, "na_values": [""]}
"""What stands for a missing number: nothing, and no word that a text might be."""


def collect(function, plan, *, label, device="cpu", file="", noted=None):
    """Call a function that returns a DataFrame for each entry of a plan, and collect the rows.

    function, label, device: as in `lib.parallel.each`. plan: pairs (columns, call): what to note
    beside the rows, as dict, and the keyword arguments of the function. file: CSV that keeps the
    rows of each call as soon as they are there, and spares those it has; or "". noted: columns
    for the file alone, the same for all.

    Returns a DataFrame of all rows, in the plan's order. Raises as the function does, and
    ValueError where the file cannot take the rows, as `check` does.
    """
    calls = [{"function": function, "columns": c, "call": call} for c, call in plan]
    if not file:
        found = each(_measured, calls, label=label, device=device)
        return pd.concat(found, ignore_index=True)
    code, path = _code(function), check(file)
    noted = {"call": "", "code": code, **(noted or {}), **_here(device)}
    seen = {}  # of images and networks in several calls
    marks = [_mark(identity([function.__qualname__, c, call], seen)) for c, call in plan]
    before = _read(path, code)
    left = [
        {**call, "file": path, "noted": {**noted, "call": mark}}
        for mark, call in zip(marks, calls, strict=True)
        if mark not in before
    ]
    each(_measured, left, label=label, device=device)
    found = _read(path, code)
    rows = pd.concat([found[mark] for mark in marks], ignore_index=True)
    return rows.drop(columns=noted, errors="ignore")


def write(parts, file, *, noted=None, device="cpu"):
    """Write rows that were measured at once, with what they were measured on.

    parts: {experiment: DataFrame}, of any columns; the experiment becomes one of them. file, noted:
    as in `collect`; a file that is there is replaced. device: where the rows were computed. Raises
    ValueError as `check` does.
    """
    rows = pd.concat([part.assign(experiment=name) for name, part in parts.items()])
    rows = rows.assign(**(noted or {}), **_here(device))
    files.replace(check(file), rows.to_csv(index=False))


def check(file):
    """Return the path of a CSV file that can be written; raises ValueError where it cannot."""
    path = Path(file).expanduser()
    if path.suffix != ".csv" or path.is_dir() or not path.parent.is_dir():
        raise ValueError(f"{str(file)!r} cannot take rows; name a .csv file in a folder there is")
    return path


def known(name, value):
    """Check a chapter's parameter that names such a file, or is empty: for `lib.parameters`."""
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no text; name a .csv file, or leave it empty")
    if value:
        check(value)


def identity(value, seen=None):
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
    if isinstance(value, dict):
        return str({key: identity(part, seen) for key, part in value.items()})
    if isinstance(value, list | tuple | range):
        return str([identity(part, seen) for part in value])
    if isinstance(value, functools.partial):
        return identity([value.func, value.args, value.keywords], seen)
    if callable(value) and "<" not in value.__qualname__:
        return f"{value.__module__}.{value.__qualname__}"
    if value is None or isinstance(value, numbers.Number | str | Path) or is_dataclass(value):
        return repr(value)
    raise TypeError(f"a result cannot be told by a {type(value).__name__}")


def _content(value):
    """Hash the content of a network, a tensor or Images."""
    if isinstance(value, Images):
        return digest(value)
    if isinstance(value, torch.Tensor):
        found = hashlib.sha256(repr((value.shape, value.dtype)).encode())
        # As bytes: NumPy lacks some types.
        found.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        return found.hexdigest()
    state = dict(value.named_parameters()) | dict(value.named_buffers())
    return _mark(f"{value}{[(name, _content(part)) for name, part in state.items()]}")


def _mark(text):
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _code(function):
    """Fingerprint the module of lib that a function is of, with all it imports."""
    module = function.__module__.rpartition(".")[2]
    return fingerprint.code(module)[:12] if function.__module__.startswith("lib.") else module


def _here(device):
    """Tell what rows are measured on: date, commit, versions, device."""
    return {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "commit": provenance.commit(files.DATA.parent),
        **provenance.versions(),
        "device": str(device),
    }


def _measured(function, columns, call, file=None, noted=None):
    """Make one call, and keep its rows at once."""
    rows = function(**call).assign(**columns)
    if file is not None:
        with FileLock(file.with_name(f".{file.name}.lock")):
            before = [_texts(file)] if file.exists() else []
            whole = pd.concat([*before, rows.assign(**noted)], ignore_index=True)
            files.replace(file, whole.to_csv(index=False))
    return rows


def _texts(file):
    """Read a file as it stands, every cell as text: nothing that is written again is rounded."""
    return pd.read_csv(file, dtype=str, **EMPTY)


def _read(file, code):
    """Read the rows of each call, {mark: DataFrame}; raises ValueError for those of other code."""
    if not file.exists():
        return {}
    try:
        rows = _texts(file)
        others = set(rows["code"]) - {code}
        found = {mark: _numbers(part) for mark, part in rows.groupby("call")}
    except (ValueError, KeyError) as error:  # pandas raises ValueErrors of several kinds
        raise ValueError(f"{file} holds no rows of this book ({error}); name another") from None
    if others:
        raise ValueError(f"{file} holds rows of other code than the present; name another file")
    return found


def _numbers(part):
    """Make numbers of the texts of one call, in the columns it has: whole ones stay whole."""
    return part.dropna(axis=1, how="all").reset_index(drop=True).apply(_number)


def _number(texts):
    """Make whole numbers, else numbers, else truth values of a column of texts, or leave it."""
    for kind in (int, float, {"True": True, "False": False}.__getitem__):
        try:
            return texts.map(kind)
        except (ValueError, KeyError):
            continue
    return texts
