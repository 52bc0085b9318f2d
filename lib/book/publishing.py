"""The chapters executed where their outputs are stale, and the book built of them."""

import threading
from collections.abc import Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, wait
from pathlib import Path

import click
import filelock
from nbformat import NotebookNode

from lib.book import execution, notebooks, pages
from lib.book.toc import chapters
from lib.runtime import command_line, files, fingerprint, provenance, turns

SOURCES = ("_*.yml", "*.md", "*.bib", "chapters", "lib", "data", "benchmarks", "_static", "_extra")
TOGETHER = 2
"""Chapters that are executed at a time: one has the cores while another begins or draws."""
STRICTLY = ("-W", "-n", "--keep-going", "--all")


def stale(root: Path) -> list[str]:
    """Return the chapters whose committed outputs are not those of the present code."""
    return [name for name, path in chapters(root).items() if not _up_to_date(path, root)]


def _up_to_date(path, root):
    """Tell whether the notebook at `path` holds what its present code gave in the runner."""
    nb = notebooks.read(path)
    return notebooks.sealed(nb, fingerprint.notebook(nb, root / "lib"))


def executed(
    name: str, root: Path, *, again: bool, commit: str, beside: bool = False
) -> tuple[NotebookNode, dict]:
    """Return a chapter with the outputs of its present code, and its row of provenance.

    It is executed only if _build/executed has none for this code and these versions, or `again`.
    beside: whether others are executed meanwhile, with which it takes turns on the cores.

    Raises click.ClickException if it fails, or if it or lib was edited meanwhile.
    """
    path = chapters(root)[name]
    file = root / "_build" / "executed" / f"{name}.ipynb"
    nb = notebooks.blank(notebooks.read(path))
    mark = fingerprint.notebook(nb, root / "lib")
    kept = None if again else _read_current(file, mark)
    if kept:
        execution.tell(f"{name}: executed before, with this code")
    else:
        files.check(file)
        in_turn = turns.environment(root / "_build" / "cores.lock") if beside else {}
        expected = "" if beside else execution.usual(name, root)
        done, seconds = execution.execute(
            nb, name, root, cwd=path.parent, expected=expected, environment=in_turn
        )
        kept = notebooks.normalised(done)
        notebooks.seal(kept, mark)
        on, together = notebooks.glued(kept, "device"), TOGETHER if beside else 1
        row = provenance.row(name, seconds, commit, on, together=together)
        kept.metadata["provenance"] = row
        notebooks.write(kept, file)
    # The prose may have changed, and the author may have gone on writing while the kernel ran.
    source = notebooks.read(path)
    if fingerprint.notebook(source, root / "lib") != mark:
        raise click.ClickException(f"{name} or lib was edited while it ran; start again")
    return notebooks.grafted(source, kept), kept.metadata["provenance"]


def _side_by_side(names, root, **how):
    """Return what `executed` does, by name, of all chapters, TOGETHER of them at a time.

    Where one fails no other is begun and those that run end; then all that failed are told of.
    """
    stopped, futures = threading.Event(), {}

    def begin(name):
        if stopped.is_set():
            raise CancelledError
        try:
            return executed(name, root, beside=True, **how)
        except BaseException:
            stopped.set()
            raise

    with ThreadPoolExecutor(TOGETHER) as pool:
        try:
            futures |= {name: pool.submit(begin, name) for name in names}
            wait(futures.values())
        except BaseException:  # an interrupt
            with command_line.uninterrupted():
                stopped.set()
                execution.stop()
                while wait(futures.values(), timeout=0.5).not_done:
                    execution.stop()  # those that were about to start
            raise
    errors = [error for future in futures.values() if (error := future.exception())]
    failed = [error for error in errors if not isinstance(error, CancelledError)]
    if failed and all(isinstance(error, click.ClickException) for error in failed):
        raise click.ClickException("\nerror: ".join(error.message for error in failed))
    if failed:
        raise next(error for error in failed if not isinstance(error, click.ClickException))
    return {name: future.result() for name, future in futures.items()}


def _read_current(path, mark):
    """Return the notebook kept at `path` if this code made it with the present versions."""
    try:
        nb = notebooks.read(path)
    except (OSError, click.ClickException):
        return None
    row, now = nb.metadata.get("provenance", {}), provenance.versions()
    return nb if notebooks.sealed(nb, mark) and now.items() <= row.items() else None


def publish(root: Path, again: bool = False) -> Path:
    """Execute the chapters into a copy of the book, build it, and return the path of its start.

    Nothing that git tracks is touched. Raises click.ClickException if a chapter or the build fails.
    """
    commit = provenance.commit(root)
    with _alone(root):
        done = _side_by_side(chapters(root), root, again=again, commit=commit)
        book = root / "_build" / "book"
        pages.copy(root, book, SOURCES)
        for name, path in chapters(root).items():
            nb, row = done[name]
            notebooks.write(nb, book / path.relative_to(root))
            provenance.record(book, row)
        click.echo("building the pages", err=True)
        built, said = pages.build(book, *STRICTLY)
    if built is None:
        click.echo(said, err=True)
        raise click.ClickException("jupyter-book could not build the pages; its messages are above")
    return built / "index.html"


def refresh(root: Path, names: Sequence[str], again: bool = False) -> None:
    """Bring the outputs of the committed chapters up to date; `names` empty means all of them.

    A file is replaced, whole, only after its chapter succeeded; then its row of provenance too.
    """
    commit = provenance.commit(root)
    with _alone(root):
        for name in names or chapters(root):
            path = chapters(root)[name]
            if not again and _up_to_date(path, root):
                click.echo(f"{name}: up to date", err=True)
                continue
            files.check(path)
            nb, row = executed(name, root, again=again, commit=commit)
            notebooks.write(nb, path)
            provenance.record(root, row)


def _alone(root):
    """Wait until no other run executes this clone's chapters: together both would crawl."""
    (root / "_build").mkdir(exist_ok=True)
    lock = filelock.FileLock(root / "_build" / "lock")
    try:
        return lock.acquire(timeout=0)
    except filelock.Timeout:
        click.echo("waiting for another run in this clone to end", err=True)
        return lock.acquire()
