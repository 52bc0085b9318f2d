"""Many jobs of one thread each, over all cores, with one line of progress."""

import multiprocessing
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache

import torch
from IPython import get_ipython
from IPython.display import display
from joblib import Parallel, cpu_count, delayed
from tqdm import tqdm


def each(
    function: Callable,
    calls: Iterable[Mapping],
    *,
    label: str,
    device: str | torch.device = "cpu",
    workers: int | None = None,
) -> list:
    """Call the function with the keyword arguments of each of `calls`, several at a time.

    On a CPU, one process of one thread for each core: small networks gain nothing from a second
    thread, and a result must not depend on the number of cores. On any other device, one after
    another in this process.

    function: importable from a module. label: what the progress line counts. device: where the
    calls compute. workers: processes, or None for the number of cores.

    Returns the results in the order of the calls.
    """
    calls = list(calls)
    if str(device) != "cpu":
        results = (function(**call) for call in calls)
    else:
        workers = min(workers or cpu_count(), max(len(calls), 1))
        pool = Parallel(n_jobs=workers, return_as="generator")
        me = os.getpid()
        results = pool(delayed(_with_one_thread)(me, function, call) for call in calls)
    with warnings.catch_warnings():
        # joblib replaces a worker whose memory has grown and says so; nothing is lost by it.
        warnings.filterwarnings("ignore", message="A worker stopped while some jobs")
        return list(progress(results, len(calls), label))


@cache
def _end_with(parent):
    """Let a worker end when the process that started it has been killed and can tell it nothing.

    That one says who it is: its place is taken by another if it is killed before a worker can ask.
    """

    def watch():
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    if multiprocessing.current_process().name.startswith("LokyProcess"):
        threading.Thread(target=watch, daemon=True).start()


def _with_one_thread(parent, function, call):
    _end_with(parent)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return function(**call)
    finally:
        torch.set_num_threads(threads)  # a single worker is the caller's own process


def progress(results: Iterable, total: int, label: str) -> Iterator:
    """Pass `total` results on, and say how many there are: a bar in a terminal, else one line."""
    if not hasattr(get_ipython(), "kernel"):  # no notebook
        yield from tqdm(results, total=total, desc=label, disable=not sys.stderr.isatty())
        return
    if not total:
        return  # nothing to say
    # One display, updated in place: a bar would leave each of its states in the notebook.
    line = display({"text/plain": f"{label}: 0 of {total}"}, raw=True, display_id=True)
    for count, result in enumerate(results, start=1):
        line.update({"text/plain": f"{label}: {count} of {total}"}, raw=True)
        yield result
