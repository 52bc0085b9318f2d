"""Measure claims of speed and print one table: `python -m benchmarks [CLAIM …]`."""

import argparse
from pathlib import Path

from benchmarks import whole
from benchmarks.measure import machine, measured, table

CLAIMS = (
    "pgd", "robust_accuracy", "adversarial_epoch", "fine_tuning", "augmentation", "influence",
    "microcosm", "folders", "sweep", "variants", "clusters",
)  # fmt: skip
RESULTS = whole.ROOT / "benchmarks" / "results.md"
"""Where the table goes that has all claims."""


def main(arguments=None):
    """Print the table, and write it: of all claims to RESULTS, else where a file is named."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("claims", nargs="*", metavar="CLAIM", help=f"of {', '.join(CLAIMS)}")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs")
    parser.add_argument("--whole", action="store_true", help="time whole commands, too")
    parser.add_argument("--out", type=Path, help="the file that the table is written to")
    args = parser.parse_args(arguments)
    if unknown := set(args.claims) - set(CLAIMS):
        parser.error(f"no claim is called {', '.join(unknown)}; there are {', '.join(CLAIMS)}")
    rows = measured(args.claims or CLAIMS, args.quick)
    rows += whole.rows() if args.whole else []
    text = f"{table(rows)}\n\n{machine()}"
    print(text)
    out = args.out or (None if args.claims or args.quick else RESULTS)
    if out:
        out.write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
