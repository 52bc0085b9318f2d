"""Whole commands, minutes each: beside their limits, and from cold beside from warm.

They run in a copy of this clone, without its stores, so that cold is cold.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measure import row

ROOT = Path(__file__).resolve().parent.parent
LIMITS = {"test": 360, "book": 600}
"""Seconds that `make test` and `make book` may take."""
CHAPTER = "02"
LEFT_BEHIND = (".git", ".venv", "_build", "runs", "cache", "__pycache__", ".*_cache", "*.egg-info")


def rows():
    """Time `make test` and `make book` here, then a chapter and the pages in a copy."""
    found = []
    for target, limit in LIMITS.items():
        seconds, done = timed(["make", target], ROOT)
        found.append(row(f"`make {target}`", "limit", seconds, limit, "≤ 1", agree=done))
    with tempfile.TemporaryDirectory() as folder:
        return found + in_a_copy(Path(folder) / "book")


def in_a_copy(book):
    """Run a chapter three times, each time with more to go on from, then build the pages."""
    shutil.copytree(ROOT, book, ignore=shutil.ignore_patterns(*LEFT_BEHIND))
    run = [sys.executable, "-m", "lib.book", "run", CHAPTER, "--no-page", "-o", "out.ipynb"]
    kept = [*run, "-p", "rows_file", "rows.jsonl"]
    ways = {"from cold": run, "its sources trained": kept, "its rows kept": kept}
    seconds = {way: timed(command, book) for way, command in ways.items()}
    (cold, done), *others = seconds.values()
    what = f"chapter {CHAPTER} from cold"
    found = [
        row(what, way, cold, warm, agree=done and also)
        for way, (warm, also) in zip(list(ways)[1:], others, strict=True)
    ]
    build, built = timed([sys.executable, "-m", "jupyter_book", "build", "."], book)
    return [
        *found,
        row("the pages built", "`make book`'s limit", build, LIMITS["book"], agree=built),
    ]


def timed(command, folder):
    """Return the seconds that a command takes, and whether it succeeds."""
    start = time.perf_counter()
    found = subprocess.run(command, cwd=folder, capture_output=True)
    return time.perf_counter() - start, found.returncode == 0
