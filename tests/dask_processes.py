"""A Dask cluster on this machine, each part of it a process of its own."""

import contextlib
import os
import re
import sys
import time
from pathlib import Path

import psutil

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent


class Dask:
    """A scheduler and workers, each a process of its own."""

    def __init__(self, folder):
        self.folder, self.processes = folder, []
        self.scheduler, said = self.start("scheduler", "--port", "0", "--no-dashboard")
        self.address = re.search(r"tcp://127\.0\.0\.1:\d+", said)[0]

    def start(self, kind, *options, said="Scheduler at", **environment):
        """Start a process, and wait until it has said something."""
        log = self.folder / f"{len(self.processes)}.log"
        paths = os.pathsep.join(map(str, (ROOT, TESTS, TESTS / "runtime")))
        process = psutil.Popen(
            [sys.executable, "-m", "dask", kind, *options, "--host", "127.0.0.1"],
            stderr=log.open("w"),
            env={**os.environ, "PYTHONPATH": paths, "CUDA_VISIBLE_DEVICES": "", **environment},
            cwd=self.folder,
        )
        self.processes.append(process)
        end = time.monotonic() + 120
        while said not in log.read_text() and process.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        assert said in log.read_text(), log.read_text()
        return process, log.read_text()

    def worker(self, threads=1, **environment):
        options = ["--nthreads", str(threads), "--no-dashboard", "--no-nanny"]
        said = "Registered to"
        return self.start("worker", self.address, *options, said=said, **environment)[0]

    def close(self):
        for process in self.processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
                process.wait()
