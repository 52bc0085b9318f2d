"""Memory over a long sweep, and cost against size, seeds and steps.

Memory: what a process holds after many fine-tunings, beside what it held after the first quarter of
them. Cost: seconds of a fine-tuning with 16 times as many images, seeds or epochs, beside 16 times
the seconds of one; under 1 where something is shared. The seconds in between are drawn into
`scaling.svg`.
"""

import os
import resource
import sys
from pathlib import Path

import torch

from benchmarks.measure import race, row
from lib import datasets
from lib.studies import pretrained
from lib.transfer import transfer

FACTORS = (1, 2, 4, 8, 16)


def held():
    """Return the GiB that this process holds; where that cannot be told, the most it ever held."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**30
    scale = 2**30 if sys.platform == "darwin" else 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale


def rows(quick=False):
    """Measure memory, then each of the three factors."""
    torch.set_num_threads(1)
    source = pretrained.untrained(datasets.load("microcosm", n=500))
    target = datasets.load("microcosm", n=4096), datasets.load("microcosm", "test", n=100)
    return [memory(source, target, 4 if quick else 200), *scaling(source, target, quick)]


def memory(source, target, count):
    """Fine-tune `count` times, head only and a block in turn."""
    found = []
    for number in range(count):
        settings = {"unfrozen_blocks": number % 2, "epochs": 2, "seeds": number}
        transfer(source, target, n=64 << number % 3, **settings)
        found.append(held())
    what = f"memory after {count} fine-tunings"
    return row(what, f"after {count // 4}", found[-1], found[count // 4 - 1], "≤ 1.05", unit="GiB")


def scaling(source, target, quick):
    """Fine-tune with more images, seeds and epochs, each by itself."""
    factors, base = (FACTORS[:2], 1) if quick else (FACTORS, 10)
    ways = {
        "images": lambda f: {"n": 256 * f, "epochs": base},
        "seeds": lambda f: {"n": 256, "epochs": base, "seeds": range(f)},
        "steps": lambda f: {"n": 256, "epochs": base * f},
    }
    found, curves = [], {}
    for name, way in ways.items():
        functions = {
            f: lambda f=f, way=way: transfer(source, target, unfrozen_blocks=1, **way(f))
            for f in factors
        }
        functions[factors[0]]()  # which warms up
        seconds, _ = race(functions, 1 if quick else 3)
        curves[name] = {f: sorted(s)[len(s) // 2] for f, s in seconds.items()}
        most = factors[-1]
        once = [most * s for s in seconds[1]]
        what = f"fine-tuning, {most} times as many {name}"
        found.append(row(what, f"{most} times the seconds", seconds[most], once, "≤ 1.1"))
    if not quick:
        draw(curves, Path(__file__).with_name("scaling.svg"))
    return found


def draw(curves, path):
    """Draw the seconds against the factor, both on logarithmic scales, beside a straight line."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.5), layout="constrained")
    axes = figure.subplots()
    for name, seconds in curves.items():
        axes.loglog(seconds.keys(), seconds.values(), marker="o", base=2, label=name)
    least = min(s[1] for s in curves.values())
    line = [f * least for f in FACTORS]
    axes.loglog(FACTORS, line, color="grey", linestyle=":", base=2, label="in proportion")
    axes.set_xticks(FACTORS, [str(f) for f in FACTORS])
    axes.set_xlabel("times as many")
    axes.set_ylabel("seconds, one block unfrozen")
    axes.legend(frameon=False)
    with mpl.rc_context({"svg.hashsalt": "scaling"}):
        figure.savefig(path, metadata={"Date": None})
