"""Tables as lib.studies.evidence writes them, of numbers whose contrasts are known."""

import itertools

import numpy as np
import pandas as pd


def write(folder, seeds=3, targets=("near", "far", "odd")):
    """Write tables of all that the chapter needs; return the folder.

    On each target the robust source is 3 points ahead of the natural one, one of noise 1 point, and
    random weights are 20 behind.
    """
    rng, levels = np.random.default_rng(0), {"natural": 0.6, "l2 0.25": 0.63, "untrained": 0.4}
    noise = {"noise 0.1": 0.61}
    keys = {"target": targets, "constraint": levels, "source_seed": range(seeds)}
    sizes = {"n_train": (100, 200), "subset_seed": (0, 1)}
    more = {
        "photographs_heads": {
            **sizes, "constraint": levels | noise, "weight_decay": (0.1,),
        },
        "photographs_resolutions": {**sizes, "resolution": (8, 32)},
        "photographs_resolutions_of_controls": {
            "constraint": noise, "resolution": (8, 32), "n_train": (100,), "subset_seed": (0, 1),
        },
        "photographs_stylised": {"version": ("as it is", "flat"), "n_train": (100,)},
        "photographs_heads_wider": {
            "constraint": ("natural", "l2 0.25"), "n_train": (100,), "subset_seed": (0, 1),
            "weight_decay": (10.0,),
        },
        "photographs_depths": {
            "unfrozen_blocks": (0, 1, 5), "n_train": (100,), "epochs": (30,), "lr": (0.1,),
        },
        "photographs_hidden": {"labels": ("true", "random"), "subset_seed": (0,)},
        "photographs_shape": {},
        "microcosm_heads": {"n_train": (20, 40), "subset_seed": (0,)},
    }  # fmt: skip
    for name, columns in more.items():
        places = {**keys, **columns}
        if name.endswith("_shape"):
            del places["target"]
        rows = pd.DataFrame(itertools.product(*places.values()), columns=list(places))
        if "subset_seed" in rows:  # each source seed has subsets of its own
            rows["subset_seed"] += 1000 * rows["source_seed"]
        value = rows["constraint"].map(levels | noise) + rng.normal(scale=0.003, size=len(rows))
        columns = ("clean_accuracy", "match", "three_of_five", "chance", "shape_bias_of_all")
        for column in (*columns, "decided_of_all", "shape_known", "texture_known"):
            rows[column] = value
        rows.to_csv(folder / f"{name}.csv", index=False)
    return folder
