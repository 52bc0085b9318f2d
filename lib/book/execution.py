"""One notebook executed in a fresh kernel: its progress, and its failure in plain words."""

import contextlib
import logging
import os
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import papermill
from jupyter_client.kernelspec import NoSuchKernel
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import DeadKernelError
from nbformat import NotebookNode
from papermill.exceptions import PapermillExecutionError
from tqdm import tqdm

from lib.book import notebooks
from lib.runtime import provenance

# What papermill logs about a dead kernel is said by the error that follows.
logging.getLogger("papermill").addHandler(logging.NullHandler())

FINDS_KERNEL = {
    "JUPYTER_PREFER_ENV_PATH": "1",  # this interpreter's kernel, not one installed for the user
    "JUPYTER_PLATFORM_DIRS": "1",
}
KERNEL = {
    "PYTHONHASHSEED": "0",
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
}
LONGEST = 100
"""Characters of a socket's path, about as many as systems allow."""
_STARTED: list[AsyncKernelManager] = []


def execute(
    nb: NotebookNode,
    name: str,
    root: Path,
    *,
    cwd: Path,
    parameters: Mapping | None = None,
    expected: str = "",
    environment: Mapping[str, str] | None = None,
) -> tuple[NotebookNode, float]:
    """Execute a blank notebook and return it, with its outputs, and the seconds it took.

    The kernel works in `cwd` and finds the lib of `root` first. `parameters` go in after the cell
    tagged "parameters"; `expected` is what the progress line says of the time it takes, or "";
    `environment` holds further variables of the kernel. Several threads may each execute one.

    Raises click.ClickException naming the notebook, the cell and the error; what there was by then
    is kept under _build/failed/.
    """
    cells = sum(map(_runs, nb.cells)) + bool(parameters)  # which make a cell of their own
    progress = Progress(name, cells, expected)
    path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    os.environ |= FINDS_KERNEL
    with tempfile.TemporaryFile() as stderr, tempfile.TemporaryDirectory() as sockets:
        variables = {**os.environ, **KERNEL, "PYTHONPATH": path, **(environment or {})}
        how = {"env": variables, "cwd": cwd, "stderr": stderr}
        try:
            with progress:
                done = papermill.execute_notebook(
                    nb,
                    None,
                    dict(parameters or {}),
                    kernel_name="python3",
                    progress_bar=False,
                    start_timeout=120,
                    coalesce_streams=True,  # where they are cut depends on the clock
                    extra_arguments=["--log-level=50"],  # newer kernels warn as they are shut down
                    kernel_manager_class=_started(Path(sockets), **how),
                    on_notebook_start=progress.notebook_starts,
                    on_cell_start=progress.cell_starts,
                )
        except PapermillExecutionError as error:
            if error.ename == "ParameterError":  # the caller's mistake, not the chapter's
                raise click.ClickException(f"{name}: {error.evalue}") from None
            reason = progress.failed() or error.ename
        except NoSuchKernel:
            reason = "there is no Jupyter kernel python3; install ipykernel beside papermill"
        except DeadKernelError:
            reason = f"the kernel died; was there enough memory?{_last_line(stderr)}"
        except KeyboardInterrupt:
            logging.getLogger("asyncio").disabled = True  # it would tell of the cell cut off
            raise
        except RuntimeError as error:  # the kernel did not start in time
            reason = f"{error}{_last_line(stderr)}"
        else:
            return done, progress.seconds
    where = progress.kept_under(root / "_build" / "failed")
    raise click.ClickException(f"{name} failed{progress.place}: {reason}{where}")


def _started(sockets: Path, **how: object) -> type[AsyncKernelManager]:
    """Return a manager that starts its kernel in this way, of the options of a process.

    A kernel is talked to by sockets of its own in a folder. A port that was free when it was looked
    for may be another kernel's when this one takes it: then neither answers. What kernels write to
    stderr must not go to the terminal: it would stand between the lines of progress, as one that is
    interrupted as it ends prints a traceback. papermill itself would change the folder of this
    process, which several threads share.
    """
    prefix = str(sockets / "kernel")

    class Started(AsyncKernelManager):
        async def start_kernel(self, **others):
            if os.name == "posix" and len(prefix) < LONGEST:  # else ports have to do
                self.transport, self.ip = "ipc", prefix
            await super().start_kernel(**{**others, **how})
            _STARTED.append(self)

    return Started


def stop() -> None:
    """End the kernels that are running, and all that they have started; their notebooks fail."""
    for manager in list(_STARTED):
        provisioner: Any = manager.provisioner
        if provisioner is not None and provisioner.has_process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(provisioner.pgid, signal.SIGKILL)


def _last_line(stderr):
    """Return the last line that a kernel wrote, in brackets, or nothing."""
    stderr.seek(0)
    words = stderr.read().decode(errors="replace").strip()
    return f" ({words.splitlines()[-1].strip()[:300]})" if words else ""


def usual(name: str, root: Path) -> str:
    """Say how long a chapter took, alone, when its committed outputs were made, or nothing."""
    row = provenance.read(root).get(name, {})
    seconds = float(row.get("seconds", 0))
    return f"about {tqdm.format_interval(seconds)}" if seconds and row["together"] == "1" else ""


def tell(line: str) -> None:
    """Say a line on stderr, above the bars that are shown there."""
    tqdm.write(line, file=sys.stderr)


class Progress:
    """Says on stderr that a notebook starts and ends; on a terminal, where it is meanwhile."""

    def __init__(self, name: str, cells: int, expected: str = ""):
        self.name, self.cells, self.expected = name, cells, expected
        self.place, self.start = "", time.monotonic()

    def __enter__(self):
        first = f"{self.name}: {self.cells} cells"
        tell(", ".join(filter(None, [first, self.expected])))
        line = " of ".join(filter(None, ["{desc}: cell {n} of {total}, {elapsed}", self.expected]))
        hidden = not sys.stderr.isatty()
        how = {"total": self.cells, "bar_format": line, "leave": False, "disable": hidden}
        self.bar = tqdm(desc=self.name, **how)
        return self

    def notebook_starts(self, notebook: NotebookNode) -> None:
        """Remember the notebook that fills with outputs (called by nbclient)."""
        self.notebook = notebook

    def cell_starts(self, cell: NotebookNode, cell_index: int) -> None:
        """Count a cell that is about to be executed (called by nbclient)."""
        if _runs(cell):
            self.place = self._of(cell_index)
            self.bar.update()

    def failed(self) -> str:
        """Tell why a cell failed: the first one, for those after a bad figure have gone on."""
        for index, cell in enumerate(self.notebook.cells):
            for output in cell.get("outputs", []):
                if output.output_type == "error":
                    self.place = self._of(index)
                    return " ".join(f"{output.ename}: {output.evalue}".split())[:300]
        return ""

    def _of(self, index):
        """Say which of the cells that run one is."""
        number = sum(map(_runs, self.notebook.cells[: index + 1]))
        first_line = self.notebook.cells[index].source.strip().splitlines()[0]
        return f" in cell {number} of {self.cells}, {first_line!r}"

    def __exit__(self, error, *_):
        self.bar.close()
        self.seconds = time.monotonic() - self.start
        took = tqdm.format_interval(self.seconds)
        tell(f"{self.name}: {'stopped after' if error else 'done in'} {took}")

    def kept_under(self, folder: Path) -> str:
        """Keep the notebook as it is now, if any of it ran, and return a line that says where."""
        if not self.place:
            return ""
        path = folder / f"{self.name}.ipynb"
        try:
            notebooks.write(self.notebook, path)
        except click.ClickException as error:  # says where it is instead
            return f"\n{error.message}"
        return f"\nThe notebook up to there: {path}"


def _runs(cell):
    """Tell whether a cell has code to execute."""
    return cell.cell_type == "code" and bool(cell.source.strip())
