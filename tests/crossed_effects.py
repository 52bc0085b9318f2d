"""Effects of made tables, seven targets by six seeds."""

import numpy as np
import pandas as pd

from lib.random_effects import effect


def crossed(mean, spread=0.5):
    """Return the effect of a table of seven targets and six seeds."""
    noise = np.random.default_rng(0).normal(size=(7, 6))
    y = mean + spread * (noise - noise.mean())
    cells = [{"target": t, "source_seed": s, "gain": y[t, s]} for t, s in np.ndindex(7, 6)]
    return effect(pd.DataFrame(cells), "gain")
