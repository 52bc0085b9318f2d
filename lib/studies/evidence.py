"""Measure what the claims of data/claims.yaml are judged by: python -m lib.studies.evidence.

Each measurement is a table of data/results. Rows are kept as soon as they are there, so that a run
that is stopped goes on where it ended.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click
import pandas as pd

from lib.runtime import command_line, files, provenance
from lib.studies import protocols, study
from lib.studies.measurements import MEASUREMENTS, check
from lib.studies.parameters import TABLE
from lib.studies.study import Study

RESULTS = files.DATA / "results"
KEPT = files.DATA / "cache" / "evidence"
NOT_WRITTEN = ("seconds", "epoch", "batch_size", "augment", "views", "by_rank")


def write(study: Study, name: str, commit: str) -> Path:
    """Measure, and write the table: data/results/PROTOCOL_NAME.csv; return its path.

    What is measured is kept in data/cache/evidence. Where a table was stopped, or has got more
    rows, its seconds are those of all runs, of those before the last up to the last row they kept.
    commit: of the code that measures.
    """
    KEPT.mkdir(parents=True, exist_ok=True)
    kept = KEPT / f"{study.protocol.name}_{name}.jsonl"
    ladder = replace(study.ladder, rows_file=str(kept))
    size, before = _size(kept), _begin(kept)
    start = time.perf_counter()
    rows = MEASUREMENTS[name](replace(study, ladder=ladder))
    seconds = before + time.perf_counter() - start
    rows = rows.drop(columns=[c for c in NOT_WRITTEN if c in rows]).assign(
        constraint=rows["constraint"].map(lambda constraint: constraint.text)
    )
    place = "cluster" if ladder.cluster else str(ladder.device)
    made = provenance.row(kept.stem, seconds, commit, place)
    return store(rows, made, measured=_size(kept) > size)


def _size(kept):
    """Return the size of a file of rows, 0 where there is none."""
    return kept.stat().st_size if kept.exists() else 0


def _begin(kept):
    """Note that a run begins, and return the seconds of all before, up to the last row they kept.

    They stand in a file beside the rows, whose own time is when the run before began.
    """
    noted, seconds = kept.with_suffix(".seconds"), 0.0
    if kept.exists() and noted.exists():
        last = kept.stat().st_mtime - noted.stat().st_mtime
        seconds = float(noted.read_text()) + max(last, 0)
    files.replace(noted, f"{seconds:.1f}\n")
    return seconds


def store(rows: pd.DataFrame, made: dict[str, str], *, measured: bool) -> Path:
    """Write a table, data/results/NAME.csv, and how it was measured; return its path.

    made: as of `lib.runtime.provenance.row`, with the table's name as its run. measured: whether
    any of it was measured now; where nothing was, what stands of it in evidence.csv stays.
    """
    path, root = RESULTS / f"{made['run']}.csv", files.DATA.parent
    files.replace(path, rows.to_csv(index=False, float_format="%.5g"))
    if measured or path.stem not in provenance.read(root, provenance.EVIDENCE):
        provenance.record(root, made, provenance.EVIDENCE)
        click.echo(f"{len(rows):,} rows in {made['seconds']} s: {path}")
    else:
        click.echo(f"{len(rows):,} rows, all of them kept from before: {path}")
    return path


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("protocol")
@click.argument("targets", nargs=-1)
@click.option("--learned", default="", help="The folder of what the sources learn.")
@click.option("--only", type=click.Choice(list(MEASUREMENTS)), multiple=True, help="What alone.")
@click.option("--device", default="auto", help="auto, cpu or cuda.")
@click.option("--cluster", default="", help="The address of a Dask scheduler, to compute there.")
def command(
    protocol: str, targets: Sequence[str], learned: str, only: Sequence[str], **place: str
) -> None:
    """Measure anew what the claims of data/claims.yaml are judged by.

    PROTOCOL is one of data/studies: photographs or resnet18, whose TARGETS are image folders
    named as in data/claims.yaml, or microcosm, whose targets come with the book; or a file of the
    same kind. What was stopped goes on where it ended.
    """
    commit = provenance.commit(files.DATA.parent)  # before tables are written, which it would tell
    asked = protocols.read(protocol)
    wanted = only or asked.measure
    for name, value in place.items():
        TABLE[name].rule(name, value)
    prepared = study.prepare(asked, targets, learned)
    check(prepared, wanted)
    equipped = study.equip(prepared, **place)
    for name in wanted:
        write(equipped, name, commit)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; an error is a line on stderr."""
    return command_line.run(command, "python -m lib.studies.evidence", arguments)


if __name__ == "__main__":
    sys.exit(main())
