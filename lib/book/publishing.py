"""The chapters executed where their outputs are stale, and the book built of them."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed, wait
from pathlib import Path

import click
import filelock
from nbformat import NotebookNode

from lib.book import execution, notebooks, pages
from lib.book.toc import chapters
from lib.runtime import files, fingerprint, provenance, turns

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


def executed(name: str, root: Path, *, again: bool, commit: str) -> tuple[NotebookNode, dict]:
    """Return a chapter with the outputs of its present code, and its row of provenance.

    It is executed only if _build/executed has none for this code and these versions, or `again`.

    Raises click.ClickException if it fails, or if it or lib was edited meanwhile.
    """
    path = chapters(root)[name]
    file = root / "_build" / "executed" / f"{name}.ipynb"
    nb = notebooks.blank(notebooks.read(path))
    mark = fingerprint.notebook(nb, root / "lib")
    kept = None if again else _kept(file, mark)
    if kept:
        execution.tell(f"{name}: executed before, with this code")
    else:
        files.check(file)
        expected = execution.usual(name, root)
        lock = root / "_build" / "cores.lock"
        how = {"cwd": path.parent, "expected": expected, "environment": turns.taken(lock)}
        done, seconds = execution.execute(nb, name, root, **how)
        kept = notebooks.normalised(done)
        notebooks.seal(kept, mark)
        row = provenance.row(name, seconds, commit, notebooks.glued(kept, "device"))
        kept.metadata["provenance"] = row
        notebooks.write(kept, file)
    # The prose may have changed, and the author may have gone on writing while the kernel ran.
    source = notebooks.read(path)
    if fingerprint.notebook(source, root / "lib") != mark:
        raise click.ClickException(f"{name} or lib was edited while it ran; start again")
    return notebooks.grafted(source, kept), kept.metadata["provenance"]


def _all_executed(
    names: Iterable[str], root: Path, **how
) -> Iterator[tuple[str, tuple[NotebookNode, dict]]]:
    """Yield each name and what `executed` returns, TOGETHER at a time, as soon as it is there.

    Where one fails no other is begun, those that run end, and what it raised is raised.
    """
    pool, failed = ThreadPoolExecutor(TOGETHER), []
    futures = {pool.submit(executed, name, root, **how): name for name in names}
    try:
        for future in as_completed(futures):
            if future.cancelled():
                continue
            if error := future.exception():
                failed.append(error)
                pool.shutdown(wait=False, cancel_futures=True)
            else:
                yield futures[future], future.result()
        if failed:
            raise failed[0]
    finally:  # nothing is left to do, but after an interrupt
        pool.shutdown(wait=False, cancel_futures=True)
        while wait(futures, timeout=0.5).not_done:
            execution.stop()


def _kept(path, mark):
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
        done = dict(_all_executed(chapters(root), root, again=again, commit=commit))
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
        paths, left = chapters(root), []
        for name in names or paths:
            if not again and _up_to_date(paths[name], root):
                click.echo(f"{name}: up to date", err=True)
            else:
                files.check(paths[name])
                left.append(name)
        for name, (nb, row) in _all_executed(left, root, again=again, commit=commit):
            notebooks.write(nb, paths[name])
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
