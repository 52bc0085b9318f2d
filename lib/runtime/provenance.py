"""What a chapter or a table was made on, and how long it took: one row for each of them."""

import csv
import io
import platform
import subprocess
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path

from joblib import cpu_count

from lib.runtime import files

LIBRARIES = ("torch", "torchvision", "numpy")
COLUMNS = (
    "run",
    "seconds",
    "together",
    "date",
    "commit",
    "python",
    *LIBRARIES,
    "cpu",
    "cores",
    "device",
)
FILE = Path("data/results/provenance.csv")
EVIDENCE = Path("data/results/evidence.csv")
"""The same of the tables that `lib.studies.evidence` has measured."""


def row(run: str, seconds: float, commit: str, device: str, *, together: int = 1) -> dict[str, str]:
    """Return the row of a chapter or a table made just now on this machine.

    together: how many were being made at a time.
    """
    return {
        "run": run,
        "seconds": f"{seconds:.1f}",
        "together": str(together),
        "date": datetime.now(timezone.utc).date().isoformat(),
        "commit": commit,
        **versions(),
        "cpu": cpu(),
        "cores": str(cpu_count()),
        "device": device,
    }


def versions() -> dict[str, str]:
    """Return the versions on which results may depend."""
    return {"python": platform.python_version()} | {
        name: metadata.version(name) for name in LIBRARIES
    }


def commit(root: Path) -> str:
    """Return the short hash of the commit, with `+` if tracked files differ; empty without git."""
    describe = ["git", "-C", str(root), "describe", "--always", "--exclude=*", "--dirty=+"]
    # A copy without .git may lie in another repository, whose commit says nothing.
    if not (root / ".git").exists():
        return ""
    try:
        return subprocess.run(describe, capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""


def cpu() -> str:
    """Return the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return next(iter(names), platform.processor() or platform.machine())


def read(root: Path, path: Path = FILE) -> dict[str, dict[str, str]]:
    """Return the rows of a copy of the book, by the name of the chapter or the table."""
    if not (root / path).exists():
        return {}
    with (root / path).open(newline="", encoding="utf-8") as file:
        return {row["run"]: row for row in csv.DictReader(file)}


def record(root: Path, new: dict[str, str], path: Path = FILE) -> None:
    """Put a row in place of the last one of its name."""
    rows = read(root, path) | {new["run"]: new}
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows[name] for name in sorted(rows))
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    files.replace(root / path, text.getvalue())
