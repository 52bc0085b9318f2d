"""Many jobs of one thread each, over all cores, with one line of progress."""

import os
import sys

import torch
from joblib import Parallel, delayed
from tqdm import tqdm


def each(function, calls, *, label, workers=None):
    """Call the function with the keyword arguments of each of `calls`, several at a time.

    On a CPU, one process of one thread for each core: small networks gain nothing from a second
    thread, and a result must not depend on the number of cores. Where a call asks for CUDA, one
    after another in this process.

    function: importable from a module. calls: dicts; one with device="cuda" (or "auto", where
    there is CUDA) makes all run here. label: what the progress line counts.
    workers: processes, or None for the number of cores.

    Returns the results in the order of the calls.
    """
    calls = list(calls)
    workers = workers or os.cpu_count()
    if any(_on_cuda(call) for call in calls):
        results = (function(**call) for call in calls)
    else:
        pool = Parallel(n_jobs=min(workers, max(len(calls), 1)), return_as="generator")
        results = pool(delayed(_with_one_thread)(function, call) for call in calls)
    return list(_told(results, len(calls), label))


def _on_cuda(call):
    device = call.get("device", "cpu")
    return torch.cuda.is_available() and str(device).split(":")[0] in ("auto", "cuda")


def _with_one_thread(function, call):
    torch.set_num_threads(1)
    return function(**call)


def _told(results, total, label):
    """Pass the results on, and say how many are there: a bar in a terminal, else one line."""
    if "ipykernel" not in sys.modules:
        yield from tqdm(results, total=total, desc=label, disable=not sys.stderr.isatty())
        return
    from IPython.display import display

    # One display, updated in place: a bar would leave each of its states in the notebook.
    line = display({"text/plain": f"{label}: 0 of {total}"}, raw=True, display_id=True)
    for count, result in enumerate(results, start=1):
        line.update({"text/plain": f"{label}: {count} of {total}"}, raw=True)
        yield result
