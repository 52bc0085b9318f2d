"""Turns on the cores: of chapters that run at a time, one computes on all of them, others wait."""

import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from filelock import FileLock

VARIABLE = "BOOK_TURNS"


def environment(lock: Path) -> dict[str, str]:
    """Return the variables of processes that are to take turns: whoever holds the lock has one."""
    # Threads that spin between two tasks would keep a core from the others.
    return {VARIABLE: str(lock.resolve()), "OMP_WAIT_POLICY": "passive"}


def turn() -> AbstractContextManager:
    """Wait for a turn, where this process is to take turns, and end it on leaving."""
    lock = os.environ.get(VARIABLE)
    return FileLock(lock) if lock else nullcontext()
