"""Augmentation by views that are kept, beside new ones in each epoch.

A frozen trunk runs once for each view that is kept, and every epoch shows the next; new views in
each epoch cost the drawing and the trunk each time. What fewer views change is the accuracy on test
images, shown beside the time; no aim is set, since how many are enough depends on the target.
"""

import torch

from benchmarks.measure import race, row
from lib import datasets, microcosm
from lib.studies import pretrained
from lib.transfer import transfer

SETTINGS = {"lr": 0.1, "batch_size": 128, "weight_decay": 5e-4, "augment": "paper"}


def rows(quick=False):
    """Measure heads on one view, ten and a hundred of each image."""
    n, epochs, views = (20, 4, (1, 4)) if quick else (128, 100, (1, 10, 100))
    torch.set_num_threads(1)
    source = pretrained.untrained(datasets.load("microcosm", n=500))
    target = microcosm.draw(500, 40), microcosm.draw(500, 41)  # a target in colour
    settings = {"n": n, "epochs": epochs, "seeds": range(1 if quick else 3), **SETTINGS}

    def accuracy(kept):
        return transfer(source, target, views=kept, **settings)["clean_accuracy"].mean()

    functions = {kept: lambda kept=kept: accuracy(kept) for kept in (*views, 0)}
    seconds, results = race(functions, 1)
    found = []
    for kept in views:
        what = f"fine-tuning a head, {kept} views of each image kept"
        told = f"{results[kept]:.1%}, {results[0]:.1%}"
        # As many as epochs are new ones in each.
        same = abs(results[kept] - results[0]) <= 0.01 if kept == epochs else None
        beside = f"new views in each of {epochs} epochs"
        found.append(row(what, beside, seconds[kept], seconds[0], results=told, agree=same))
    return found
