"""Measure claims of speed and print one table: `python -m benchmarks [CLAIM …]`."""

import argparse
import subprocess
import time
from pathlib import Path

from benchmarks.measure import machine, measured, row, table

CLAIMS = (
    "pgd", "robust_accuracy", "adversarial_epoch", "fine_tuning", "augmentation", "influence",
    "microcosm", "folders", "sweep", "variants", "clusters",
)  # fmt: skip
LIMITS = {"test": 480, "book": 600}
"""Seconds that `make test` and `make book` may take."""


def whole():
    """Time `make test` and `make book`, minutes each."""
    rows = []
    for target, limit in LIMITS.items():
        start = time.perf_counter()
        found = subprocess.run(["make", target], capture_output=True)
        seconds = time.perf_counter() - start
        what = f"`make {target}`"
        rows.append(row(what, "limit", seconds, limit, "≤ 1", agree=found.returncode == 0))
    return rows


def main(arguments=None):
    """Print the table, and write it to a file where one is named."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("claims", nargs="*", metavar="CLAIM", help=f"of {', '.join(CLAIMS)}")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs")
    parser.add_argument("--whole", action="store_true", help="time `make test` and `make book` too")
    parser.add_argument("--out", type=Path, help="also write the table to this file")
    args = parser.parse_args(arguments)
    if unknown := set(args.claims) - set(CLAIMS):
        parser.error(f"no claim is called {', '.join(unknown)}; there are {', '.join(CLAIMS)}")
    rows = measured(args.claims or CLAIMS, args.quick)
    rows += whole() if args.whole else []
    text = f"{table(rows)}\n\n{machine()}"
    print(text)
    if args.out:
        args.out.write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
