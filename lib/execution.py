"""One notebook executed in a fresh kernel: its progress, and its failure in plain words."""

import contextlib
import logging
import os
import shutil
import sys
import threading
import time
from pathlib import Path

import click
import papermill
from jupyter_client.kernelspec import NoSuchKernel
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError

from lib import notebooks

# What papermill logs about a dead kernel is said by the error that follows.
logging.getLogger("papermill").addHandler(logging.NullHandler())


def execute(nb, name: str, root: Path, *, cwd: Path, parameters=None, expected=None):
    """Execute a blank notebook and return it, with its outputs, and the seconds it took.

    The kernel works in `cwd` and finds the lib of `root` first. `parameters` go in after the cell
    tagged "parameters"; `expected` is how many seconds the progress line promises.

    Raises click.ClickException naming the notebook, the cell and the error; what there was by then
    is kept under _build/failed/.
    """
    progress = Progress(name, nb, expected)
    try:
        with environment(root), progress:
            done = papermill.execute_notebook(
                nb,
                None,
                parameters or {},
                kernel_name="python3",
                progress_bar=False,
                start_timeout=120,
                cwd=cwd,
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
        return done, time.monotonic() - progress.start
    raise click.ClickException(f"{name} failed{progress.place()}: {reason}{progress.keep(root)}")


@contextlib.contextmanager
def environment(root: Path):
    """Give kernels started meanwhile the lib of `root`, and nothing that differs between runs."""
    before = dict(os.environ)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(root), before.get("PYTHONPATH")]))
    os.environ["PYTHONHASHSEED"] = "0"
    # This interpreter's kernel, not one of the same name installed for the user.
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    os.environ["JUPYTER_PLATFORM_DIRS"] = "1"
    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


class Progress:
    """A line on stderr, "02_name: cell 3 of 31, 0:12 of about 3:10", while a notebook executes.

    On a terminal the line is rewritten each second; elsewhere a new one is printed each minute.
    """

    def __init__(self, name: str, nb, expected: float | None = None):
        self.name, self.expected = name, expected
        self.cells = sum(runs(cell) for cell in nb.cells)
        self.number, self.first_line, self.notebook = 0, "", None
        self.terminal = sys.stderr.isatty()
        self.start = time.monotonic()
        self.stop = threading.Event()
        self.clock = threading.Thread(target=self.tick, daemon=True)

    def notebook_starts(self, notebook):
        """Remember the notebook that fills with outputs (called by nbclient)."""
        self.notebook = notebook
        self.cells = sum(runs(cell) for cell in notebook.cells)

    def cell_starts(self, cell, cell_index):
        """Count a cell that is about to be executed (called by nbclient)."""
        if runs(cell):
            self.number += 1
            self.first_line = cell.source.strip().splitlines()[0]

    def __enter__(self):
        self.show(self.line())
        self.clock.start()
        return self

    def __exit__(self, error, *_):
        self.stop.set()
        self.clock.join()
        took = minutes(time.monotonic() - self.start)
        self.show(f"{self.name}: {'stopped after' if error else 'done in'} {took}")
        if self.terminal:
            print(file=sys.stderr)

    def tick(self):
        """Show the line again and again until the notebook is done."""
        while not self.stop.wait(1 if self.terminal else 60):
            self.show(self.line())

    def line(self) -> str:
        """Return the line as it stands now."""
        if not self.number:
            text = f"{self.name}: {self.cells} cells"
            return text + (f", about {minutes(self.expected)}" if self.expected else "")
        spent = minutes(time.monotonic() - self.start)
        of = f" of about {minutes(self.expected)}" if self.expected else ""
        return f"{self.name}: cell {self.number} of {self.cells}, {spent}{of}"

    def show(self, line: str):
        """Print a line: on a terminal over the last one, cut to the width."""
        if self.terminal:
            line = "\r\x1b[K" + line[: shutil.get_terminal_size().columns - 1]
        print(line, end="" if self.terminal else "\n", file=sys.stderr, flush=True)

    def place(self) -> str:
        """Return where the notebook is: the cell's number and its first line."""
        return f" in cell {self.number} of {self.cells}, {self.first_line!r}" if self.number else ""

    def keep(self, root: Path) -> str:
        """Keep the notebook as it is now and return a line that says where."""
        if self.notebook is None:
            return ""
        path = root / "_build" / "failed" / f"{self.name}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        notebooks.write(self.notebook, path)
        return f"\nThe notebook up to there: {path}"


def runs(cell) -> bool:
    """Tell whether a cell has code to execute."""
    return cell.cell_type == "code" and bool(cell.source.strip())


def minutes(seconds: float) -> str:
    """Return a duration as minutes and seconds, 3:05."""
    return f"{round(seconds) // 60}:{round(seconds) % 60:02d}"
