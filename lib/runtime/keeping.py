"""A file of rows: appended to call by call, by several processes at once, and read whole."""

import contextlib
import functools
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

OF_A_CALL = {"call": str, "code": str, "rows_of_call": int}
"""Columns that tell a call's rows from others: its hash, its code and how many rows it has."""
CHECKSUM = "checksum"
"""Column that tells whether a call's rows are those that were measured."""
OF_LINE = re.compile(rb'"call": "(\w+)"')


def path_of(file: str | Path) -> Path:
    """Return the path of a file whose name and place can take rows, or raise ValueError."""
    path = Path(file).expanduser()
    plain = path.is_file() or not path.exists()
    if path.suffix != ".jsonl" or not plain or not path.parent.is_dir():
        raise ValueError(f"{str(file)!r} cannot take rows; name a .jsonl file in a folder there is")
    return path.resolve()  # a link and what it leads to have one lock


@dataclass(frozen=True)
class Keeping:
    """How a run keeps rows.

    path: the file. start: its size when the run began, in bytes. run: names the run. about: what is
    noted with each row.
    """

    path: Path
    start: int
    run: str
    about: Mapping

    def keep(self, mark: tuple[str, str], rows: list[dict], **about: object) -> None:
        """Append the rows of a call to the file at once, unless another process was faster.

        mark: (call, code), a hash of the call and the code that made it. about: noted, too. Raises
        OSError, which says what to do, where the file cannot take them.
        """
        call, code = mark
        about = {**self.about, **about, "call": call, "code": code, "rows_of_call": len(rows)}
        rows = [{**row, **about} for row in rows]
        sealed = {CHECKSUM: _checksum(rows)}
        text = "".join(json.dumps(row | sealed, ensure_ascii=False) + "\n" for row in rows)
        try:
            _end_of(self.path, self.start, self.run).append(call, max(len(rows), 1), text.encode())
        except OSError as error:
            reason = f"{error.strerror}; make room and start again: the rows before are kept"
            raise OSError(error.errno, reason, str(self.path)) from error


class _End:
    """What a file has got since a run began: how many rows of each call.

    start: its size then, up to which it is known not to have the rows that are to be appended.
    """

    def __init__(self, path, start, run):
        self.path, self.start = path, max(start - 1, 0)
        self.seen, self.counts = self.start, Counter()

    def append(self, call, count, text):
        """Append text, unless there are `count` lines of the call."""
        lock = FileLock(self.path.with_name(f".{self.path.name}.lock"))
        with lock, self.path.open("a+b") as file:
            if file.tell() < self.seen:  # somebody has cut it
                self.seen, self.counts = self.start, Counter()
            file.seek(self.seen)
            *whole, rest = file.read().split(b"\n")
            self.seen += sum(len(line) + 1 for line in whole)
            self.counts.update(found[1] for line in whole if (found := OF_LINE.search(line)))
            if self.counts[call.encode()] < count:
                # A line that a kill has cut short must not run into the next one.
                file.write(b"\n" * bool(rest) + text)


_end_of = functools.lru_cache(1)(_End)  # so that nothing is read twice


def calls_in(path: Path, codes: Iterable[str] = ()) -> dict[str, list[dict]]:
    """Read the rows of each call that is there whole: {call: rows}.

    codes: the present ones of some functions. Raises ValueError where the file holds anything but
    rows of the book, rows of such a function by other code, or rows that were changed.
    """
    present = dict(code.split(" ") for code in codes if " " in code)
    calls: dict[str, list[dict]] = {}
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    for row in _rows(text):
        own = {name: row.get(name) for name in OF_A_CALL} if isinstance(row, dict) else {}
        if {name: type(value) for name, value in own.items()} != OF_A_CALL:
            raise ValueError(f"{path} holds no rows of this book; name another file")
        module, _, code = row["code"].partition(" ")
        if present.get(module, code) != code:
            raise ValueError(
                f"{path} holds rows of other code than the present; delete or move it, or name "
                "another file"
            )
        calls.setdefault(row["call"], []).append(row)
    whole = {mark: found for mark, rows in calls.items() if (found := _whole(rows))}
    for mark, rows in calls.items():
        if mark not in whole and _changed(rows):
            raise ValueError(
                f"{path}: rows of the call {mark!r} are not those that were measured; take all of "
                "them out, or name another file"
            )
    return whole


def _rows(text):
    """Yield what each line says; None for one that is no JSON, nothing for one that was cut short.

    Where files are put together, a row may stand behind such a line.
    """
    for line in text.split("\n"):
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            if not '{"'.startswith(line[:2]):
                yield None
            yield from _behind(line)
        except (ValueError, RecursionError):  # of many digits, or brackets
            yield None


def _behind(line):
    """Yield the row that stands behind one that was cut short, which may hold what is no row."""
    start = line.find('{"', 1)
    while start > 0:
        with contextlib.suppress(ValueError, RecursionError):
            row = json.loads(line[start:])
            if isinstance(row, dict) and set(OF_A_CALL) <= set(row):
                yield row
                return
        start = line.find('{"', start + 1)


def _whole(rows):
    """Return the rows of a call where they stand whole, or nothing; the last ones, of several.

    A call that was cut short is made again, and files that are put together may both have it.
    """
    count = rows[-1]["rows_of_call"]
    for end in range(len(rows), max(count, 1) - 1, -1):
        found = rows[end - count : end]
        if found and (CHECKSUM not in found[-1] or found[-1][CHECKSUM] == _checksum(found)):
            return found
    return []


def _changed(rows):
    """Tell whether a call's rows are too many for one that was only cut short, however often."""
    different = {json.dumps(row): str(row.get(CHECKSUM)) for row in rows}
    return max(Counter(different.values()).values()) >= rows[-1]["rows_of_call"]


def _checksum(rows):
    """Hash the rows of a call, which stand in the file with this hash."""
    plain = [{name: value for name, value in row.items() if name != CHECKSUM} for row in rows]
    return hashlib.sha256(json.dumps(plain).encode()).hexdigest()[:16]
