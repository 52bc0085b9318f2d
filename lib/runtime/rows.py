"""Rows of measurements, kept in a file as they come: what was killed goes on where it ended.

The file is JSON Lines, a row a line; each says what it was measured with. The rows of a call that
is in the file are taken from there, if the same call was made by the same code: so the file is
result and memory in one, and several chapters and jobs may share it, or files be put together.
"""

import functools
import hashlib
import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

import pandas as pd
import torch

from lib.runtime import files, fingerprint, provenance
from lib.runtime.devices import choose_here
from lib.runtime.identities import identity
from lib.runtime.keeping import CHECKSUM, OF_A_CALL, Keeping, calls_in, path_of
from lib.runtime.parallel import each


@dataclass(frozen=True)
class Job:
    """One call to make, and what to note beside the rows it returns.

    function: importable from a module; returns a DataFrame, a dict (one row) or a list of dicts.
    call: its keyword arguments. columns: plain values by name. arguments: those without a name.
    together: names an argument of several values, for each of which the function yields such a
    result, in their order. Each is kept by itself, as if the call had been made for it alone.
    """

    function: Callable
    call: Mapping
    columns: Mapping
    arguments: tuple = ()
    together: str = ""

    def parts(self) -> Iterator[list[dict]]:
        """Make the call; yield its rows as dicts of plain values, the noted columns first.

        One list, or one for each value of `together`. Raises as the function does; a ValueError's
        line says of which columns, too.
        """
        try:
            found = self.function(*self.arguments, **self.call)
            for part in found if self.together else [found]:
                if not isinstance(part, pd.DataFrame):
                    part = pd.DataFrame([part] if isinstance(part, dict) else part)
                yield [{**self.columns, **row} for row in part.to_dict("records")]
        except ValueError as error:
            if len(error.args) == 1:
                of = ", ".join(f"{name} {value}" for name, value in self.columns.items())
                error.args = (f"{error} ({of})",)
            raise

    def run(self) -> list[dict]:
        """Return the rows of all parts."""
        return [row for part in self.parts() for row in part]

    def units(self) -> list["Job"]:
        """Return what is kept by itself: the call, or for each value of `together` one of it."""
        if not self.together:
            return [self]
        return [self.of([value]) for value in self.call[self.together]]

    def of(self, values: Sequence) -> "Job":
        """Return the call of these values of `together`."""
        return replace(self, call={**self.call, self.together: list(values)})


def collect(
    jobs: Sequence[Job],
    *,
    label: str,
    device: str | torch.device = "cpu",
    cluster: str = "",
    file: str = "",
    noted: Mapping | None = None,
) -> pd.DataFrame:
    """Run jobs, several at a time, and return all their rows, in the order of the jobs.

    label: what was measured: the progress line counts it, and the file calls it `experiment`.
    device, cluster: as in `lib.runtime.parallel.each`. file: keeps the rows of each job, or of each
    of its parts, as soon as they are there, and spares those it has; or "". noted: columns for the
    file alone, the same for all.

    Raises as the functions do, and ValueError where the file cannot take the rows, as `check`
    does, or holds rows of the same function by other code than the present.
    """
    how: dict = {"label": label, "device": device, "cluster": cluster}
    if not file:
        found = each(Job.run, [{"self": job} for job in jobs], **how)
        return pd.DataFrame([row for rows in found for row in rows])
    path, codes = path_of(file), {f: _code(f) for f in {job.function for job in jobs}}
    start = path.stat().st_size if path.exists() else 0
    marks, left = _left(jobs, codes, calls_in(path, codes.values()))
    about = {"experiment": label, **(noted or {}), **_here(device)}
    keeping = Keeping(path, start, uuid.uuid4().hex, about)

    def keep_part(number, part, told):
        rows, where = json.loads(told)
        keeping.keep(left[number][1][part], rows, device=where)

    if cluster:  # whose workers cannot write the file
        calls = [{"job": job, "device": device} for job, _ in left]
        each(_run_on_worker, calls, take=keep_part, **how)
    else:
        calls = [{"job": job, "marks": of_job, "keeping": keeping} for job, of_job in left]
        each(_run_and_keep, calls, **how)
    kept = calls_in(path, codes.values())
    rows = pd.DataFrame([row for mark in marks for row in kept.get(mark, [])])
    return rows.drop(columns=[*OF_A_CALL, CHECKSUM, *about], errors="ignore")


def read(file: str | Path) -> pd.DataFrame:
    """Return all rows of a file, with all that was noted of them.

    Raises ValueError where it holds other lines than rows of the book, or rows that were changed;
    calls that a kill has cut short are passed over.
    """
    calls = calls_in(Path(file).expanduser()).values()
    return pd.DataFrame([row for rows in calls for row in rows])


def check(file: str) -> Path:
    """Return the path of a file that can take rows.

    Raises ValueError where it cannot: it does not end in .jsonl, lies in no folder there is, or
    holds something else; and OSError where it or its folder cannot be written.
    """
    path = path_of(file)
    calls_in(path)
    files.check(path)
    if path.exists():
        path.open("ab").close()
    return path


def _left(jobs, codes, before):
    """Return the marks of all units, and jobs of those that are left: (job, [(mark, code)])."""
    marks, left, seen, known = [], [], {}, set(before)
    for job in jobs:
        own = {}  # of equal units one is run
        for unit in job.units():
            mark = _mark(unit, codes[job.function], seen)
            marks.append(mark)
            if mark not in known:
                own[mark] = unit
                known.add(mark)
        if own:
            values = [unit.call[job.together][0] for unit in own.values() if job.together]
            code = codes[job.function]
            left.append((job.of(values) if job.together else job, [(m, code) for m in own]))
    return marks, left


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


def _run_and_keep(job, marks, keeping):
    """Run a job, and keep each part as soon as it is there. marks: (call, code) of each."""
    for mark, rows in zip(marks, job.parts(), strict=True):
        keeping.keep(mark, rows)


def _run_on_worker(job, device):
    """Run a job, and tell the rows of each part as soon as they are there, and on what device."""
    for rows in job.parts():
        yield json.dumps([rows, str(choose_here(device))])
