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
"""Where the table goes that has all claims,"""
WHOLE = RESULTS.with_name("whole.md")
"""and that of whole commands."""


def main(arguments=None):
    """Print the table, and write it where a file is named, or as RESULTS and WHOLE say."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("claims", nargs="*", metavar="CLAIM", help=f"of {', '.join(CLAIMS)}")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs")
    parser.add_argument("--whole", action="store_true", help="time whole commands instead")
    parser.add_argument("--out", type=Path, help="the file that the table is written to")
    args = parser.parse_args(arguments)
    if unknown := set(args.claims) - set(CLAIMS):
        parser.error(f"no claim is called {', '.join(unknown)}; there are {', '.join(CLAIMS)}")
    if args.whole and (args.claims or args.quick):
        parser.error("--whole times whole commands, and no claims; leave the rest out")
    rows = whole.rows() if args.whole else measured(args.claims or CLAIMS, args.quick)
    text = f"{table(rows)}\n\n{machine()}"
    print(text)
    usual = WHOLE if args.whole else RESULTS
    out = args.out or (None if args.claims or args.quick else usual)
    if out:
        out.write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
