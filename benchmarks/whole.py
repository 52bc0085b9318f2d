"""Whole commands, minutes each: beside their limits, from cold beside from warm, on a cluster.

Chapters run in a copy of this clone, without its stores, so that cold is cold. One machine may take
twice as long in the evening as in the morning: beside the seconds of a whole command stands what a
step of robust training took on one core, before it and after it.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.measure import WORKERS, dask_workers, row
from lib.attacks import L2
from lib.book.pages import builder
from lib.microcosm import draw
from lib.runtime import rows as kept_rows
from lib.runtime.devices import in_one_thread
from lib.training import fit, steps_per_epoch
from lib.zoo.models import build

ROOT = Path(__file__).resolve().parent.parent
LIMITS = {"test": 360, "book": 600}
"""Seconds that `make test` and `make book` may take."""
TRAINS, FINE_TUNES = "03", "02"
"""A chapter whose sources are trained, and one that fine-tunes those of the book."""
OF_TIME = ["seconds", "checksum"]
"""Columns of rows in which two runs differ: the second is of a call with its seconds."""
LEFT_BEHIND = (".git", ".venv", "_build", "runs", "cache", "__pycache__", ".*_cache", "*.egg-info")


def rows():
    """Time `make test` and `make book` here, then chapters and the pages in a copy."""
    found = []
    for target, limit in LIMITS.items():
        before = in_one_thread(robust_step, {})
        # Without the arguments that were given to this.
        seconds, done = timed(["make", "--no-print-directory", target, "ARGS="], ROOT)
        steps = f"a robust step: {before:.0f} ms, then {in_one_thread(robust_step, {}):.0f} ms"
        found.append(
            row(f"`make {target}`", "limit", seconds, limit, "≤ 1", results=steps, agree=done)
        )
    with tempfile.TemporaryDirectory() as folder:
        book = copied(Path(folder))
        return [*found, *from_cold(book), *on_a_cluster(book), *pages(book)]


def robust_step():
    """Return the milliseconds of a step of robust training, as chapter 01 trains its sources."""
    torch.manual_seed(0)
    network, images = build("small_resnet", 10), draw(1280, 0)
    how = {"epochs": 1, "batch_size": 64, "ball": L2(0.25), "attack_steps": 1}
    fit(network, images, **how)  # to warm up
    (epoch,) = fit(network, images, **how)
    return 1000 * epoch["seconds"] / steps_per_epoch(len(images), how["batch_size"])


def copied(folder):
    """Copy this clone, without what earlier runs left behind, and return where it lies."""
    ignore = shutil.ignore_patterns(*LEFT_BEHIND)
    return shutil.copytree(ROOT, folder / "book", ignore=ignore)


def chapter(name, *options):
    """Return the command that runs a chapter."""
    command = [sys.executable, "-m", "lib.book", "run", name, "--no-page", "-o", "out.ipynb"]
    return [*command, *options]


def from_cold(book):
    """Run a chapter three times, each time with more to go on from."""
    run = chapter(TRAINS)
    kept = chapter(TRAINS, "-p", "rows_file", "rows.jsonl")
    ways = {"from cold": run, "its sources trained": kept, "its rows kept": kept}
    seconds = {way: timed(command, book) for way, command in ways.items()}
    (cold, done), *others = seconds.values()
    return [
        row(f"chapter {TRAINS} from cold", way, cold, warm, agree=done and also)
        for way, (warm, also) in zip(list(ways)[1:], others, strict=True)
    ]


def on_a_cluster(book):
    """Run a chapter on the workers of a Dask cluster, and on as many of its own."""
    own, done = timed(chapter(FINE_TUNES, "-p", "rows_file", "own.jsonl"), book)
    with dask_workers() as address:
        there = ("-p", "rows_file", "there.jsonl", "-p", "cluster", address)
        theirs, also = timed(chapter(FINE_TUNES, *there), book)
    files = [book / "own.jsonl", book / "there.jsonl"]
    same = done and also and same_rows(*map(kept_rows.read, files))
    what = f"chapter {FINE_TUNES} on {WORKERS} Dask workers"
    return [row(what, "its own workers", theirs, own, "≤ 1.05", results="all rows", agree=same)]


def same_rows(one, two):
    """Tell whether two runs measured the same, to the last bit, in whatever order and time."""
    one, two = (rows.drop(columns=OF_TIME, errors="ignore").astype(str) for rows in (one, two))
    return sorted(one.itertuples(index=False)) == sorted(two.itertuples(index=False))


def pages(book):
    """Build the pages, without executing a chapter."""
    seconds, done = timed(builder("."), book)
    return [row("the pages built", "`make book`'s limit", seconds, LIMITS["book"], agree=done)]


def timed(command, folder):
    """Return the seconds that a command takes, and whether it succeeds; tell its last lines."""
    start = time.perf_counter()
    found = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    texts = (found.stdout, found.stderr)
    last = [line for text in texts for line in text.strip().splitlines()[-1:]]
    print(f"{' '.join(command[:3])}: {' | '.join(last)}", file=sys.stderr, flush=True)
    return seconds, found.returncode == 0
