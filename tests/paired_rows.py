"""Rows of natural and robust sources, made by hand: what the robust one gains is known."""

import math

import numpy as np
import pandas as pd

from lib.constraint import NATURAL, Constraint

ROBUST, OTHER = Constraint("l2", 0.25), Constraint("linf", 2 / 255)
SEEDS, SIZES = (0, 1, 2), {"a": (100, 200, 400), "b": (100, 200)}


def made(gain, *, value="clean_accuracy", sizes=SIZES, subsets=2, seeds=SEEDS, **columns):
    """Make rows of natural and robust sources: what the robust one gains, in points, is known.

    gain: function of target, seed, N and subset. The base differs by all of them, and pairs away.
    """
    rows = []
    for target, seed, i in np.ndindex(len(sizes), len(seeds), subsets):
        name = list(sizes)[target]
        for n in sizes[name]:
            base = 0.3 + 0.02 * target + 0.03 * seed + 0.01 * i + 0.04 * math.log2(n / 100)
            cell = {"target": name, "source_seed": seeds[seed], "n_train": n, **columns}
            cell["subset_seed"] = 1000 * seeds[seed] + i
            more = gain(name, seeds[seed], n, i) / 100
            rows.append({"constraint": NATURAL, **cell, value: base})
            rows.append({"constraint": ROBUST, **cell, value: base + more})
    return pd.DataFrame(rows).sample(frac=1, random_state=0)  # the order says nothing


def doublings(n):
    return math.log2(n / 100)
