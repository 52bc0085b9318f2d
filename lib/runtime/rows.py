"""Rows of measurements, kept in a file as they come: what was killed goes on where it ended.

The file is JSON Lines, a row a line; each says what it was measured with. The rows of a call that
is in the file are taken from there, if the same call was made by the same code: so the file is
result and memory in one, and several chapters and jobs may share it.
"""

import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import pandas as pd
import torch
from filelock import FileLock

from lib.runtime import files, fingerprint, provenance
from lib.runtime.identities import identity
from lib.runtime.parallel import each

OF_A_CALL = {"call": str, "code": str, "rows_of_call": int}
"""Columns that tell a call's rows from others: its hash, its code and how many rows it has."""
CHECKSUM = "checksum"
"""Column that tells whether a call's rows are those that were measured."""


@dataclass(frozen=True)
class Job:
    """One call to make, and what to note beside the rows it returns.

    function: importable from a module; returns a DataFrame, a dict (one row) or a list of dicts.
    call: its keyword arguments. columns: plain values by name. arguments: those without a name.
    """

    function: Callable
    call: Mapping
    columns: Mapping
    arguments: tuple = ()

    def run(self) -> list[dict]:
        """Make the call; return its rows as dicts of plain values, the noted columns first.

        Raises as the function does; a ValueError's line says of which columns, too.
        """
        try:
            found = self.function(*self.arguments, **self.call)
        except ValueError as error:
            if len(error.args) == 1:
                of = ", ".join(f"{name} {value}" for name, value in self.columns.items())
                error.args = (f"{error} ({of})",)
            raise
        if not isinstance(found, pd.DataFrame):
            found = pd.DataFrame([found] if isinstance(found, dict) else found)
        return [{**self.columns, **row} for row in found.to_dict("records")]


def collect(
    jobs: Sequence[Job],
    *,
    label: str,
    device: str | torch.device = "cpu",
    file: str = "",
    noted: Mapping | None = None,
) -> pd.DataFrame:
    """Run jobs, several at a time, and return all their rows, in the order of the jobs.

    label: what was measured: the progress line counts it, and the file calls it `experiment`.
    device: as in `lib.runtime.parallel.each`. file: keeps the rows of each job as soon as they are
    there, and spares those it has; or "". noted: columns for the file alone, the same for all.

    Raises as the functions do, and ValueError where the file cannot take the rows, as `check`
    does, or holds rows of the same function by other code than the present.
    """
    if not file:
        found = each(Job.run, [{"self": job} for job in jobs], label=label, device=device)
        return pd.DataFrame([row for rows in found for row in rows])
    path, seen = _path(file), {}
    start = path.stat().st_size if path.exists() else 0
    codes = {job.function: _code(job.function) for job in jobs}
    marks = [_mark(job, codes[job.function], seen) for job in jobs]
    before = _read(path, codes.values())
    about = {"experiment": label, **(noted or {}), **_here(device)}
    left = {}  # by mark: of equal jobs one is run
    for mark, job in zip(marks, jobs, strict=True):
        if mark not in before:
            with_mark = {**about, "call": mark, "code": codes[job.function]}
            left[mark] = {"job": job, "path": path, "about": with_mark, "start": start}
    each(_run_and_keep, left.values(), label=label, device=device)
    found = _read(path, codes.values())
    rows = pd.DataFrame([row for mark in marks for row in found.get(mark, [])])
    return rows.drop(columns=[*OF_A_CALL, CHECKSUM, *about], errors="ignore")


def read(file: str | Path) -> pd.DataFrame:
    """Return all rows of a file, with all that was noted of them.

    Raises ValueError where it holds other lines than rows of the book, or rows that were changed;
    calls that a kill has cut short are passed over.
    """
    calls = _read(Path(file).expanduser()).values()
    return pd.DataFrame([row for rows in calls for row in rows])


def check(file: str) -> Path:
    """Return the path of a file that can take rows.

    Raises ValueError where it cannot: it does not end in .jsonl, lies in no folder there is, or
    holds something else; and OSError where it or its folder cannot be written.
    """
    path = _path(file)
    _read(path)
    files.check(path)
    if path.exists():
        path.open("ab").close()
    return path


def _path(file):
    """Return the path of a file whose name and place can take rows, or raise ValueError."""
    path = Path(file).expanduser()
    plain = path.is_file() or not path.exists()
    if path.suffix != ".jsonl" or not plain or not path.parent.is_dir():
        raise ValueError(f"{str(file)!r} cannot take rows; name a .jsonl file in a folder there is")
    return path.resolve()  # a link and what it leads to have one lock


def _mark(job, code, seen):
    text = identity([job.function, job.arguments, job.call, job.columns, code], seen)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _code(function):
    """Name the module that a function is of, with a fingerprint of it and all it imports."""
    while isinstance(function, functools.partial):
        function = function.func
    module = function.__module__.removeprefix("lib.")
    inside = module != function.__module__
    return f"{module} {fingerprint.code(module)[:12]}" if inside else module


def _here(device):
    """Tell what rows are measured on: date, commit, versions, device."""
    return {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "commit": provenance.commit(files.DATA.parent),
        **provenance.versions(),
        "device": str(device),
    }


def _run_and_keep(job, path, about, start):
    """Run a job, and append its rows to the file at once, unless another process was faster.

    start: byte of the file up to which it is known not to have them.
    """
    rows = job.run()
    rows = [{**row, **about, "rows_of_call": len(rows)} for row in rows]
    mark = {CHECKSUM: _checksum(rows)}
    text = "".join(json.dumps(row | mark, ensure_ascii=False) + "\n" for row in rows)
    try:
        with FileLock(path.with_name(f".{path.name}.lock")), path.open("a+b") as file:
            file.seek(max(start - 1, 0))
            *whole, rest = file.read().split(b"\n")
            own = f'"call": "{about["call"]}"'.encode()
            if sum(own in line for line in whole) < max(len(rows), 1):
                # A line that a kill has cut short must not run into the next one.
                file.write(b"\n" * bool(rest) + text.encode())
    except OSError as error:
        reason = f"{error.strerror}; make room and start again: the rows before are kept"
        raise OSError(error.errno, reason, str(path)) from error


def _checksum(rows):
    """Hash the rows of a call, which stand in the file with this hash."""
    plain = [{name: value for name, value in row.items() if name != CHECKSUM} for row in rows]
    return hashlib.sha256(json.dumps(plain).encode()).hexdigest()[:16]


def _read(path, codes=()):
    """Read the rows of each call that is there whole, {mark: rows}; raises as `collect` does."""
    present = dict(code.split(" ") for code in codes if " " in code)
    calls: dict[str, list[dict]] = {}
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    for line in text.split("\n"):
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            if '{"'.startswith(line[:2]):
                continue  # it is empty, or a kill has cut it short
            row = None
        own = {name: row.get(name) for name in OF_A_CALL} if isinstance(row, dict) else {}
        if {name: type(value) for name, value in own.items()} != OF_A_CALL:
            raise ValueError(f"{path} holds no rows of this book; name another file")
        module, _, code = row["code"].partition(" ")
        if present.get(module, code) != code:
            raise ValueError(f"{path} holds rows of other code than the present; name another file")
        calls.setdefault(row["call"], []).append(row)
    # A call that was cut short is made again: its rows are the last so many.
    counts = {mark: rows[-1]["rows_of_call"] for mark, rows in calls.items()}
    whole = {mark: rows[-counts[mark] :] for mark, rows in calls.items()}
    whole = {mark: rows for mark, rows in whole.items() if len(rows) == counts[mark]}
    for mark, rows in whole.items():
        if CHECKSUM in rows[-1] and rows[-1][CHECKSUM] != _checksum(rows):
            raise ValueError(
                f"{path}: rows of the call {mark} are not those that were measured; take all of "
                "them out, or name another file"
            )
    return whole
