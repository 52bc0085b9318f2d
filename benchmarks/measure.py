"""What benchmarks share: rounds in which rivals take turns, rows of one form, their table."""

import contextlib
import copy
import importlib
import importlib.metadata
import multiprocessing
import platform
import statistics
import sys
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch
import yaml
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from lib.runtime import files

COLUMNS = {
    "what": "what",
    "beside": "floor or peer",
    "ours": "ours",
    "theirs": "theirs",
    "ratio": "ratio",
    "aim": "aim",
    "met": "met",
    "results": "results: ours, theirs",
    "agree": "agree",
}
"""The columns of a row, and how the table calls them."""
WORKERS = 2
"""Workers of a cluster, of one thread each, beside as many processes without."""
SETTINGS = files.DATA / "cluster.yaml"
"""What "Running the whole study" advises for Dask's workers on CPUs."""
PACKAGES = ("torch", "torchvision", "numpy", "torchattacks", "foolbox", "captum", "kronfluence")


def clock():
    """Tell the time: of the wall where a GPU or several threads work, else of this process.

    The seconds of one thread's process do not count what other programs take of a busy machine.
    """
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    elif torch.get_num_threads() == 1:
        return time.process_time()
    return time.perf_counter()


def race(functions, rounds):
    """Call the functions in turn, in each round once.

    functions: {name: function without arguments}, warmed up by the caller.

    Returns ({name: seconds of each round}, {name: result of the last}).
    """
    seconds, results = {name: [] for name in functions}, {}
    for _ in range(rounds):
        for name, function in functions.items():
            start = clock()
            results[name] = function()
            seconds[name].append(clock() - start)
    return seconds, results


def row(what, beside, ours, theirs, aim="", *, unit="s", results="", agree=None):
    """Make a row: what was measured, beside what, and whether the aim is met.

    ours, theirs: one number or one a round. aim: "≤ x", for the ratio of ours to theirs, or "≥ x",
    for that of theirs to ours; "" where there is none. results: what both computed, as text;
    agree: whether that is the same.

    Returns a dict of COLUMNS. The ratio is the median of the rounds'.
    """
    ours, theirs = ([v] if isinstance(v, int | float) else list(v) for v in (ours, theirs))
    pairs = zip(theirs, ours, strict=True) if aim[:1] == "≥" else zip(ours, theirs, strict=True)
    ratio = statistics.median(a / b for a, b in pairs)
    met = None
    if aim:
        limit = float(aim[1:])
        met = bool(ratio >= limit if aim[0] == "≥" else ratio <= limit)
    middle = (f"{statistics.median(v):.3g} {unit}" for v in (ours, theirs))
    agree = None if agree is None else bool(agree)
    values = (what, beside, *middle, float(ratio), aim, met, results, agree)
    return dict(zip(COLUMNS, values, strict=True))


def count_operations(function):
    """Count the floating-point operations of a call without arguments, by PyTorch's own counter."""
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()


def count_input_gradient(model, x, y):
    """Count the operations of a forward run and of the gradient with respect to x (N, C, H, W)."""
    # PyTorch's counter stops at autograd.grad; without weights that learn, backward does as much.
    model = copy.deepcopy(model).requires_grad_(False)
    image = x.clone().requires_grad_()
    return count_operations(lambda: cross_entropy(model(image), y).backward())


def peak(device, dtype=torch.float32, *, quick=False):
    """Return the operations a second of a large square matrix product, the best of five.

    It is what the device gives to the threads of this process. quick: take a small matrix.
    """
    size = 256 if quick else 8192 if device.type == "cuda" else 2048
    # On a GPU convolutions round as TF32 unless told otherwise, and the product is to do as they.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32
    try:
        a = torch.rand(size, size, device=device).to(dtype)
        a @ a  # which warms up
        seconds, _ = race({"product": lambda: a @ a}, 5)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = False  # as PyTorch has it
    return 2 * size**3 / min(seconds["product"])


def of_peak(*calls):
    """Tell which share of the device's peak calls reach.

    calls: for each its operations, its seconds, one a round, and the peak in operations a second.

    Returns text such as "31%, 20% of 95 GFLOP/s"; where the peaks differ, each is told.
    """
    peaks = [f" of {best / 1e9:,.0f} GFLOP/s" for _, _, best in calls]
    told = []
    for (counted, seconds, best), peak, after in zip(calls, peaks, [*peaks[1:], ""], strict=True):
        share = f"{counted / statistics.median(seconds) / best:.0%}"
        told.append(share + peak * (peak != after))
    return ", ".join(told)


@contextlib.contextmanager
def dask_workers():
    """Start WORKERS on this machine, with SETTINGS, and give the address of their scheduler."""
    import dask
    from distributed import LocalCluster

    options = {"n_workers": WORKERS, "threads_per_worker": 1, "dashboard_address": None}
    dask.config.update(dask.config.config, yaml.safe_load(SETTINGS.read_text()))  # of this process
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with LocalCluster(**options) as cluster:
            yield cluster.scheduler_address


def rows_of(name, quick):
    """Run one claim in this process."""
    warnings.filterwarnings("ignore")
    torch.manual_seed(0)  # from which peers draw
    return importlib.import_module(f"benchmarks.{name}").rows(quick=quick)


def measured(names, quick=False):
    """Run each claim in a process of its own, and return the rows of all."""
    rows = []
    for name in names:
        start = time.perf_counter()
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            rows += pool.submit(rows_of, name, quick).result()
        print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    return rows


def table(rows):
    """Write rows as a table of Markdown whose columns are aligned, to be read as text too."""
    told = {True: "yes", False: "no", None: ""}
    lines = [list(COLUMNS.values())]
    for found in rows:
        shown = found | {"ratio": f"{found['ratio']:,.3g}"}
        shown |= {"met": told[found["met"]], "agree": told[found["agree"]]}
        lines.append([str(shown[column]) for column in COLUMNS])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    padded = ([cell.ljust(w) for cell, w in zip(line, widths, strict=True)] for line in lines)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in padded)


def machine():
    """Describe the machine and the versions of what is compared, in one sentence each."""
    processor = platform.processor() or platform.machine()
    listed = Path("/proc/cpuinfo")
    if listed.exists():
        names = [line for line in listed.read_text().splitlines() if line.startswith("model name")]
        processor = names[0].split(": ")[1] if names else processor
    if torch.cuda.is_available():
        processor += f", {torch.cuda.get_device_name()}"
    versions = []
    for name in PACKAGES:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"no {name}")
    python = f"Python {platform.python_version()}"
    return (
        f"{processor}, {torch.get_num_threads()} threads, {platform.system()}. "
        f"{python}, {', '.join(versions)}."
    )
