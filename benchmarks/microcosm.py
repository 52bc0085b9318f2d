"""Drawing the microcosm: 20,000 images a second."""

import torch

from benchmarks.measure import race, row
from lib.microcosm import draw


def rows(quick=False):
    """Measure how long images take on one thread."""
    n, rounds = (500, 1) if quick else (20_000, 5)
    torch.set_num_threads(1)
    draw(500, 0)  # which warms up
    seconds, results = race({"draw": lambda: draw(n, 0)}, rounds)
    agree = bool((results["draw"][:250].x == draw(250, 0).x).all())
    told = "the first of a longer draw are those of a shorter"
    limit = [n / 20_000] * rounds
    what = f"drawing {n:,} images of the microcosm"
    return [row(what, "20,000 a second", seconds["draw"], limit, "≤ 1", results=told, agree=agree)]
