"""One notebook executed in a fresh kernel: its progress, and its failure in plain words."""

import logging
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from unittest import mock

import click
import papermill
from jupyter_client.kernelspec import NoSuchKernel
from nbclient.exceptions import DeadKernelError
from nbformat import NotebookNode
from papermill.exceptions import PapermillExecutionError
from tqdm import tqdm

from lib.book import notebooks

# What papermill logs about a dead kernel is said by the error that follows.
logging.getLogger("papermill").addHandler(logging.NullHandler())

KERNEL = {
    "PYTHONHASHSEED": "0",
    "JUPYTER_PREFER_ENV_PATH": "1",  # this interpreter's kernel, not one installed for the user
    "JUPYTER_PLATFORM_DIRS": "1",
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
}


def execute(
    nb: NotebookNode,
    name: str,
    root: Path,
    *,
    cwd: Path,
    parameters: Mapping | None = None,
    expected: float = 0,
) -> tuple[NotebookNode, float]:
    """Execute a blank notebook and return it, with its outputs, and the seconds it took.

    The kernel works in `cwd` and finds the lib of `root` first. `parameters` go in after the cell
    tagged "parameters"; `expected` is how many seconds the progress line promises, or 0.

    Raises click.ClickException naming the notebook, the cell and the error; what there was by then
    is kept under _build/failed/.
    """
    progress = Progress(name, nb, expected)
    path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    try:
        with mock.patch.dict(os.environ, KERNEL, PYTHONPATH=path), progress:
            done = papermill.execute_notebook(
                nb,
                None,
                dict(parameters or {}),
                kernel_name="python3",
                progress_bar=False,
                start_timeout=120,
                cwd=cwd,
                coalesce_streams=True,  # where they are cut depends on the clock
                # Newer kernels warn that they talk over plain TCP, and when they are shut down.
                extra_arguments=["--log-level=50"],
                on_notebook_start=progress.notebook_starts,
                on_cell_start=progress.cell_starts,
            )
    except PapermillExecutionError as error:
        if error.ename == "ParameterError":  # the caller's mistake, not the chapter's
            raise click.ClickException(f"{name}: {error.evalue}") from None
        # Of a message of several lines, the first tells most.
        reason = f"{error.ename}: {error.evalue}".strip().splitlines()[0]
    except NoSuchKernel:
        reason = "there is no Jupyter kernel python3; install ipykernel beside papermill"
    except DeadKernelError:
        reason = "the kernel died; was there enough memory?"
    except RuntimeError as error:  # the kernel did not start in time
        reason = str(error)
    else:
        return done, progress.seconds
    where = progress.kept_under(root / "_build" / "failed")
    raise click.ClickException(f"{name} failed{progress.place}: {reason}{where}")


class Progress:
    """Says on stderr that a notebook starts and ends; on a terminal, where it is meanwhile."""

    def __init__(self, name: str, nb: NotebookNode, expected: float = 0):
        self.name, self.notebook, self.place = name, nb, ""
        self.expected = f"about {tqdm.format_interval(expected)}" if expected else ""
        self.start = time.monotonic()

    def __enter__(self):
        first = f"{self.name}: {sum(map(_runs, self.notebook.cells))} cells"
        click.echo(", ".join(filter(None, [first, self.expected])), err=True)
        line = " of ".join(filter(None, ["{desc}: cell {n} of {total}, {elapsed}", self.expected]))
        hidden = not sys.stderr.isatty()
        self.bar = tqdm(desc=self.name, total=0, bar_format=line, leave=False, disable=hidden)
        return self

    def notebook_starts(self, notebook: NotebookNode) -> None:
        """Remember the notebook that fills with outputs (called by nbclient)."""
        self.notebook, self.bar.total = notebook, sum(map(_runs, notebook.cells))

    def cell_starts(self, cell: NotebookNode, cell_index: int) -> None:
        """Count a cell that is about to be executed (called by nbclient)."""
        if _runs(cell):
            number = sum(map(_runs, self.notebook.cells[: cell_index + 1]))
            first_line = cell.source.strip().splitlines()[0]
            self.place = f" in cell {number} of {self.bar.total}, {first_line!r}"
            self.bar.update()

    def __exit__(self, error, *_):
        self.bar.close()
        self.seconds = time.monotonic() - self.start
        took = tqdm.format_interval(self.seconds)
        click.echo(f"{self.name}: {'stopped after' if error else 'done in'} {took}", err=True)

    def kept_under(self, folder: Path) -> str:
        """Keep the notebook as it is now, if any of it ran, and return a line that says where."""
        path = folder / f"{self.name}.ipynb"
        if self.place:
            notebooks.write(self.notebook, path)
        return f"\nThe notebook up to there: {path}" if self.place else ""


def _runs(cell):
    """Tell whether a cell has code to execute."""
    return cell.cell_type == "code" and bool(cell.source.strip())
