"""Many small jobs on the workers of a Dask cluster, beside the same number of loky's processes.

64 combinations of a source, a learning rate and a subset, fine-tuned on two workers of one thread.
The efficiency is the seconds that the jobs themselves take, over those of the two workers; what is
missing to one, divided among the jobs, is what a job costs besides.
"""

import time
from functools import partial

import torch
from joblib.externals.loky import get_reusable_executor

from benchmarks.measure import WORKERS, dask_workers, race, row
from lib import datasets
from lib.runtime.parallel import each
from lib.studies import pretrained
from lib.transfer import transfer


def fine_tuned(source, target, **call):
    """Fine-tune, and return the accuracy and the seconds of the whole call."""
    start = time.perf_counter()
    found = transfer(source, target, **call)["clean_accuracy"][0]
    return found, time.perf_counter() - start


def rows(quick=False):
    """Run the combinations on both, in turn."""
    torch.set_num_threads(WORKERS)  # several processes work: the clock is the wall's
    train = datasets.load("microcosm", n=300)
    sources = [pretrained.untrained(train, seed=seed) for seed in range(4)]
    target = datasets.load("digits"), datasets.load("digits", "test")
    how = {"target": target, "n": 40 if quick else 128, "epochs": 2 if quick else 150}
    how |= {"unfrozen_blocks": 0 if quick else 1}
    calls = [
        {"source": source, "seeds": seed, "lr": lr, **how}
        for source in sources[: 1 if quick else 4]
        for lr in (0.03, 0.1, 0.3, 1.0)[: 2 if quick else 4]
        for seed in range(2 if quick else 4)
    ]
    with dask_workers() as address:
        go = partial(each, fine_tuned, label="fine-tuned")
        ways = {
            "dask": partial(go, cluster=address),
            "loky": partial(go, workers=WORKERS),
        }
        for way in ways.values():  # which starts the workers
            way(calls[:WORKERS])
        functions = {name: partial(way, calls) for name, way in ways.items()}
        seconds, results = race(functions, 1 if quick else 2)
    get_reusable_executor().shutdown()  # else this process would wait until they tire of waiting
    what = f"{len(calls)} fine-tunings on {WORKERS} Dask workers"
    accuracies = {name: [accuracy for accuracy, _ in found] for name, found in results.items()}
    agree = accuracies["dask"] == accuracies["loky"]
    own = sum(took for _, took in results["dask"]) / WORKERS
    last = seconds["dask"][-1]
    lost = 1e3 * WORKERS * (last - own) / len(calls)
    besides = f"efficiency {own / last:.3f}, {lost:.0f} ms a job besides"
    return [
        row(what, "loky's workers", seconds["dask"], seconds["loky"], "≤ 1.05", agree=agree),
        row(what, "the jobs alone, shared out", last, own, "≤ 1.11", results=besides),
    ]
