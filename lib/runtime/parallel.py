"""Many jobs of one thread each, over all cores or a cluster, with one line of progress."""

import multiprocessing
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from IPython import get_ipython
from IPython.display import display
from joblib import Parallel, cpu_count, delayed
from tqdm import tqdm

from lib.runtime.devices import in_one_thread
from lib.runtime.orphans import end_with
from lib.runtime.remote import run
from lib.runtime.turns import turn

SECONDS = 30
"""Between two lines of progress in a file."""


def each(
    function: Callable,
    calls: Iterable[Mapping],
    *,
    label: str,
    device: str | torch.device = "cpu",
    workers: int | None = None,
    cluster: str = "",
    take: Callable[[int, int, Any], object] | None = None,
) -> list:
    """Call the function with the keyword arguments of each of `calls`, several at a time.

    On a CPU, one process of one thread for each core: small networks gain nothing from a second
    thread, and a result must not depend on the number of cores. On any other device, one after
    another in this process. On a cluster as `lib.runtime.remote.run` does, which says what is
    raised there.

    function: importable from a module. label: what the progress line counts. device: where the
    calls compute; on a cluster "auto" is a worker's GPU where it has one. workers: processes, or
    None for the number of cores. cluster: address of a Dask scheduler, or "" for this machine.
    take: on a cluster, is given what the function yields, as soon as it is there.

    Returns the results in the order of the calls.
    """
    calls = list(calls)
    if cluster:
        found = dict(on_cluster(cluster, function, calls, label=label, device=device, take=take))
        return [found[number] for number in range(len(calls))]
    with warnings.catch_warnings(), turn():
        # joblib replaces a worker whose memory has grown and says so; nothing is lost by it.
        warnings.filterwarnings("ignore", message="A worker stopped while some jobs")
        if str(device) != "cpu":
            results = (function(**call) for call in calls)
        else:
            workers = min(workers or cpu_count(), max(len(calls), 1))
            pool = Parallel(n_jobs=workers, return_as="generator")
            me = os.getpid()
            results = pool(delayed(_with_one_thread)(me, function, call) for call in calls)
        return list(progress(results, len(calls), label))


def on_cluster(
    cluster: str,
    function: Callable,
    calls: Sequence[Mapping],
    *,
    label: str,
    device: str | torch.device = "auto",
    take: Callable[[int, int, Any], object] | None = None,
) -> Iterator[tuple[int, Any]]:
    """Do as `each` on a cluster, and yield (number of the call, result) as soon as it is there."""
    yield from progress(run(cluster, function, calls, device=device, take=take), len(calls), label)


@cache
def _end_with(parent):
    """Let a worker end when the process that started it has been killed and can tell it nothing."""
    if multiprocessing.current_process().name.startswith("LokyProcess"):
        end_with(parent)


def _with_one_thread(parent, function, call):
    _end_with(parent)
    return in_one_thread(function, call)


def bar(total: int, label: str, *, delay: float = 0) -> tqdm:
    """Return a bar of tqdm, with the time left: on a terminal it moves, in a file it makes lines.

    total: steps of the work. label: what is done. delay: seconds before the first line in a file;
    the next ones come every SECONDS.
    """
    if sys.stderr.isatty():
        return tqdm(total=total, desc=label)
    line = "{desc}: {n_fmt} of {total_fmt}, {remaining} left"
    settings = {"bar_format": line, "mininterval": SECONDS, "delay": delay}
    return tqdm(total=total, desc=label, file=_Lines(), **settings)


class _Lines:
    """Takes what a progress bar writes, and makes a line of each state."""

    def write(self, text: str) -> None:
        if text := text.strip():
            sys.stderr.write(f"{text}\n")

    def flush(self) -> None:
        sys.stderr.flush()


def progress(results: Iterable, total: int, label: str) -> Iterator:
    """Pass `total` results on, and say how many there are: as `bar` does, in a notebook in a line.

    In a file nothing is said of what takes less than SECONDS.
    """
    if not hasattr(get_ipython(), "kernel"):  # no notebook
        with bar(total, label, delay=SECONDS) as shown:
            for result in results:
                yield result
                shown.update()
        return
    if not total:
        return  # nothing to say
    # One display, updated in place: a bar would leave each of its states in the notebook.
    line = display({"text/plain": f"{label}: 0 of {total}"}, raw=True, display_id=True)
    for count, result in enumerate(results, start=1):
        line.update({"text/plain": f"{label}: {count} of {total}"}, raw=True)
        yield result
