"""Killed at any moment and run again, a job ends with what it would have ended with anyway."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import psutil
import pytest
import toy_book
from dask_processes import Dask
from PIL import Image
from test_chapters import TINY, TINY_SOURCE, flags

from lib.runtime import rows

ROOT = Path(__file__).resolve().parent.parent
KILLS = int(os.environ.get("KILLS", "40"))
"""Of each kind of job."""
pytestmark = [pytest.mark.long, pytest.mark.timeout(3600), pytest.mark.xdist_group("kills")]

TRAINING = """
from lib import microcosm
from lib.studies import pretrained
pretrained.CACHE = folder / "sources"
images = microcosm.draw(300, 0)
print("begun", flush=True)
model, _ = pretrained.source(images, images, device="cpu", epochs=6, width=4)
result = hashlib.sha256(b"".join(v.numpy().tobytes() for v in model.state_dict().values()))
"""
DECODING = """
from lib import datasets
from lib.datasets import store
store.CACHE = folder / "images"
print("begun", flush=True)
images = datasets.load(folder.parent / "mine")
result = hashlib.sha256(images.x.numpy().tobytes())
"""
ROWS = """
import test_kills
from lib.runtime.rows import Job, collect
call = {"n": [1, 2, 3, 4], "traces": str(folder)}
jobs = [
    Job(test_kills.measured, {**call, "seed": seed}, {"seed": seed}, together="n")
    for seed in range(12)
]
print("begun", flush=True)
cluster = sys.argv[2] if sys.argv[2:] else ""
found = collect(jobs, label="rows", file=str(folder / "rows.jsonl"), cluster=cluster)
result = hashlib.sha256(found.drop(columns="call", errors="ignore").to_csv(index=False).encode())
"""
VALUES, IN_HANDS = 12 * 4, 2 * 4
"""That the jobs of ROWS make, and that a worker may have in its hands."""
JOBS = {"training": TRAINING, "decoding": DECODING, "rows": ROWS}


def measured(n, seed, traces):
    """Take a moment for each value, leave a trace, and yield what depends on nothing else."""
    for value in n:
        time.sleep(0.05)
        (Path(traces) / f"made-{uuid.uuid4().hex}").touch()
        yield {"n": value, "value": random.Random(100 * seed + value).random()}


def pictures(folder):
    """Write images of two classes, enough to take a moment."""
    draw = np.random.default_rng(0)
    for name in ("left", "right"):
        (folder / name).mkdir(parents=True)
        for i in range(200):
            pixels = draw.integers(0, 256, (200, 200, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.jpg")


def started(code, folder, *arguments):
    """Start a job that works in a folder, and prints a hash of its result at the end."""
    folder.mkdir(exist_ok=True)
    paths = os.pathsep.join(map(str, (ROOT, ROOT / "tests")))
    before = "import hashlib, pathlib, sys\nfolder = pathlib.Path(sys.argv[1])\n"
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"{before}{code}\nprint(result.hexdigest())",
            str(folder),
            *arguments,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
    )


def ended(process):
    """Wait for the end of a job that nobody kills, and return the hash of its result."""
    out, error = process.communicate(timeout=300)
    assert process.returncode == 0, error[-2000:]
    assert "Traceback" not in error
    return out.split()[-1]


def killed(process, moment=None):
    """Kill a job, so many seconds after it says that it has begun; tell whether it was at it."""
    children = []
    if moment is not None:
        process.stdout.readline()
        time.sleep(moment)
    with contextlib.suppress(psutil.NoSuchProcess):
        children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    _, alive = psutil.wait_procs(children, timeout=30)
    assert not alive, "workers go on without the one that started them"
    return process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("kind", JOBS)
def test_a_job_killed_again_and_again_ends_as_one_that_is_not(kind, tmp_path):
    pictures(tmp_path / "mine")
    whole = started(JOBS[kind], tmp_path / "undisturbed")
    whole.stdout.readline()
    begun = time.monotonic()
    result, seconds = ended(whole), time.monotonic() - begun
    draw, kills, trial = random.Random(kind), 0, 0
    while kills < KILLS:
        folder, trial = tmp_path / f"{trial}", trial + 1
        for _ in range(3):
            kills += killed(started(JOBS[kind], folder), draw.uniform(0, 1.2 * seconds))
        assert ended(started(JOBS[kind], folder)) == result
        assert not list(folder.rglob("*.partial")) and not list(folder.rglob("*.unfinished"))


def test_three_jobs_that_share_a_file_of_rows_and_are_killed_one_by_one(tmp_path):
    result = ended(started(ROWS, tmp_path / "undisturbed"))
    plain = rows.read(tmp_path / "undisturbed" / "rows.jsonl")
    keys, draw, kills, trial = ["seed", "n", "value"], random.Random(0), 0, 0
    while kills < KILLS:
        folder, trial = tmp_path / f"{trial}", trial + 1
        together = [started(ROWS, folder) for _ in range(3)]
        kills += killed(together[0], draw.uniform(0, 2))
        assert {ended(one) for one in together[1:]} == {result}
        found = rows.read(folder / "rows.jsonl")
        one, other = (t[keys].sort_values(keys, ignore_index=True) for t in (found, plain))
        pd.testing.assert_frame_equal(one, other, check_exact=True)


@pytest.fixture
def dask(tmp_path):
    """Start clusters of two workers, and end them all at the end."""
    pytest.importorskip("distributed")
    begun = []

    def start():
        folder = tmp_path / f"dask-{len(begun)}"
        folder.mkdir()
        begun.append(Dask(folder))
        return begun[-1], [begun[-1].worker() for _ in range(2)]

    yield start
    for one in begun:
        one.close()


def test_workers_of_a_cluster_that_are_killed_cost_only_what_is_in_their_hands(tmp_path, dask):
    result, draw = ended(started(ROWS, tmp_path / "undisturbed")), random.Random(1)
    (cluster, workers), kills, trial = dask(), 0, 0
    while kills < KILLS:
        folder, trial = tmp_path / f"{trial}", trial + 1
        job = started(ROWS, folder, cluster.address)
        job.stdout.readline()
        time.sleep(draw.uniform(0, 4))
        victim = workers.pop(draw.randrange(2))
        kills += job.poll() is None
        victim.kill()
        victim.wait()
        workers.append(cluster.worker())
        assert ended(job) == result
        assert 0 <= len(list(folder.glob("made-*"))) - VALUES <= IN_HANDS


def test_a_scheduler_that_is_killed_leaves_the_rows_that_were_there(tmp_path, dask):
    result, draw = ended(started(ROWS, tmp_path / "undisturbed")), random.Random(2)
    kills, trial = 0, 0
    while kills < KILLS:
        folder, trial = tmp_path / f"{trial}", trial + 1
        cluster, _ = dask()
        job = started(ROWS, folder, cluster.address)
        job.stdout.readline()
        time.sleep(draw.uniform(0, 4))
        kills += job.poll() is None
        cluster.scheduler.kill()
        _, error = job.communicate(timeout=300)
        assert job.returncode == 0 or error.splitlines()[-1].startswith(
            "lib.runtime.rules.ParameterError: cluster: "
        )
        cluster.close()
        goes_on_with_its_rows(folder, result)


def goes_on_with_its_rows(folder, result):
    """Run a job of rows to its end, and see that it makes again only what it had not kept."""
    file = folder / "rows.jsonl"
    kept = file.read_text() if file.exists() else ""
    there = len(rows.read(file)) if kept else 0
    for trace in folder.glob("made-*"):
        trace.unlink()
    assert ended(started(ROWS, folder)) == result
    assert file.read_text().startswith(kept)
    assert len(list(folder.glob("made-*"))) == VALUES - there


def test_a_chapter_that_is_killed_goes_on_with_its_rows(tmp_path):
    def begun(out):
        """Start chapter 02, tiny, as `make run` does."""
        tiny = {**TINY_SOURCE, **TINY["02_low_data_transfer"], "target": "faces"}
        run = ["run", "02", "--no-page", "-o", str(out / "out.ipynb"), *flags(tiny)]
        return subprocess.Popen(
            [sys.executable, "-m", "lib.book", *run, "-p", "rows_file", str(out / "rows.jsonl")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        )

    def whole(out):
        """Run it to its end; return what it says and the rows, without what was timed."""
        job = begun(out)
        _, error = job.communicate(timeout=600)
        assert job.returncode == 0, error
        found = rows.read(out / "rows.jsonl")
        texts = [c.get("outputs", []) for c in nbformat.read(out / "out.ipynb", 4).cells]
        said = [o.data for one in texts for o in one if "text/markdown" in o.get("data", {})]
        keys = ["target", "constraint", "source_seed", "n_train", "lr", "subset_seed", "call"]
        columns = [*keys, "clean_accuracy", "train_accuracy"]
        return said, found[columns].sort_values(columns, ignore_index=True)

    (tmp_path / "undisturbed").mkdir()
    start = time.monotonic()
    plain_said, plain = whole(tmp_path / "undisturbed")
    seconds, draw, kills, trial = time.monotonic() - start, random.Random(3), 0, 0
    while kills < KILLS:
        out, trial = tmp_path / f"{trial}", trial + 1
        out.mkdir()
        for _ in range(3):
            job = begun(out)
            time.sleep(draw.uniform(0, seconds))
            kills += killed(job)
        file = out / "rows.jsonl"
        kept = file.read_text().rpartition("\n")[0] if file.exists() else ""  # whole lines
        said, found = whole(out)
        assert said == plain_said and file.read_text().startswith(kept)
        pd.testing.assert_frame_equal(found, plain, check_exact=True)


RUNNER = """
from lib.book import __main__ as book
book.ROOT = folder
print("begun", flush=True)
sys.exit(book.main(sys.argv[2:]))
"""


@pytest.mark.parametrize("command", ["refresh", "publish"])
def test_a_runner_that_is_killed_leaves_whole_notebooks_and_goes_on(tmp_path, command):
    # One clone, made anew from one template: ids of cells are random, and chapters print paths.
    new, root = tmp_path / "new", tmp_path / "clone"
    toy_book.make(new)
    blank = toy_book.files(new)

    def whole():
        """Run it to its end, and return the executed chapters."""
        job = started(RUNNER, root, command)
        _, error = job.communicate(timeout=300)
        assert job.returncode == 0 and "Traceback" not in error, error[-2000:]
        return toy_book.files(root / "_build" / "book" if command == "publish" else root)

    shutil.copytree(new, root)
    start = time.monotonic()
    result = whole()
    seconds, draw, kills = time.monotonic() - start, random.Random(command), 0
    while kills < KILLS:
        shutil.rmtree(root)
        shutil.copytree(new, root)
        for _ in range(3):
            # Its kernels end with it, and within a second what builds the pages.
            kills += killed(started(RUNNER, root, command), draw.uniform(0, seconds))
            # Each chapter is as it was or executed whole, and publishing touches none.
            for name, content in toy_book.files(root).items():
                assert content in (blank[name], result[name] if command == "refresh" else None)
        assert whole() == result
