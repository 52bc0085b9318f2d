"""The runner: executes the chapters, publishes the book, reruns a chapter with other parameters."""

import contextlib
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import click
import filelock
import yaml
from papermill.iorw import NoDatesSafeLoader

from lib import execution, fingerprint, notebooks, provenance
from lib import rerun as reruns
from lib.toc import chapters, find

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("_*.yml", "*.md", "*.bib", "chapters", "lib", "data", "benchmarks", "_static", "_extra")
NOT_COPIED = shutil.ignore_patterns("cache", "__pycache__", ".*")
BUILD = "from jupyter_book.cli.main import main; main()"


def stale(root: Path) -> list[str]:
    """Return the chapters whose committed outputs are not those of the present code."""
    return [name for name, path in chapters(root).items() if not up_to_date(path, root)]


def up_to_date(path: Path, root: Path) -> bool:
    """Tell whether the notebook at `path` holds what its present code gave in the runner."""
    nb = notebooks.read(path)
    return notebooks.sealed(nb, fingerprint.notebook(nb, root / "lib"))


def executed(name: str, root: Path, *, again: bool, commit: str):
    """Return a chapter with the outputs of its present code, and its row of provenance.

    It is executed only if _build/executed has none for this code and these versions, or `again`.

    Raises click.ClickException if it fails, or if it or lib was edited meanwhile.
    """
    path = chapters(root)[name]
    kept_file = root / "_build" / "executed" / f"{name}.ipynb"
    nb = notebooks.blank(notebooks.read(path))
    mark = fingerprint.notebook(nb, root / "lib")
    kept = None if again else kept_result(kept_file, mark)
    if kept:
        click.echo(f"{name}: executed before, with this code", err=True)
    else:
        expected = provenance.read(root).get(name, {}).get("seconds")
        expected = float(expected) if expected else None
        kept, seconds = execution.execute(nb, name, root, cwd=path.parent, expected=expected)
        kept = notebooks.normalised(kept)
        notebooks.seal(kept, mark)
        row = provenance.row(name, seconds, commit, notebooks.glued(kept, "device"))
        kept.metadata["provenance"] = row
        kept_file.parent.mkdir(parents=True, exist_ok=True)
        notebooks.write(kept, kept_file)
    # The prose may have changed, and the author may have gone on writing while the kernel ran.
    source = notebooks.read(path)
    if fingerprint.notebook(source, root / "lib") != mark:
        raise click.ClickException(f"{name} or lib was edited while it ran; start again")
    return notebooks.grafted(source, kept), kept.metadata["provenance"]


def kept_result(path: Path, mark: str):
    """Return the notebook kept at `path` if this code made it with the present versions."""
    try:
        nb = notebooks.read(path)
    except (OSError, click.ClickException):
        return None
    row = nb.metadata.get("provenance", {})
    now = provenance.versions().items()
    return nb if notebooks.sealed(nb, mark) and now <= row.items() else None


def publish(root: Path, again: bool = False) -> Path:
    """Execute the chapters into a copy of the book, build it, and return the path of its start.

    Nothing that git tracks is touched. Raises click.ClickException if a chapter or the build fails.
    """
    commit = provenance.commit(root)
    with alone(root):
        done = {name: executed(name, root, again=again, commit=commit) for name in chapters(root)}
        book = root / "_build" / "book"
        copy_sources(root, book)
        for name, path in chapters(root).items():
            nb, row = done[name]
            notebooks.write(nb, book / path.relative_to(root))
            provenance.record(book, row)
        build(book)
    return book / "_build" / "html" / "index.html"


def copy_sources(root: Path, book: Path) -> None:
    """Copy what the pages are made of into an empty folder."""
    shutil.rmtree(book, ignore_errors=True)
    book.mkdir(parents=True)
    for source in (path for pattern in SOURCES for path in root.glob(pattern)):
        if source.is_dir():
            shutil.copytree(source, book / source.name, ignore=NOT_COPIED)
        else:
            shutil.copy2(source, book)


def build(book: Path) -> None:
    """Build the pages, strictly; the output of Jupyter Book is shown only if that fails."""
    click.echo("building the pages", err=True)
    command = [sys.executable, "-c", BUILD, "build", str(book), "-W", "-n", "--keep-going", "--all"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        click.echo(done.stdout, err=True)
        raise click.ClickException("jupyter-book could not build the pages; its messages are above")


def refresh(root: Path, names: list[str], again: bool = False) -> None:
    """Bring the outputs of the committed chapters up to date; `names` empty means all of them.

    A file is replaced, whole, only after its chapter succeeded; then its row of provenance too.
    """
    commit = provenance.commit(root)
    with alone(root):
        for name in names or chapters(root):
            path = chapters(root)[name]
            if not again and up_to_date(path, root):
                click.echo(f"{name}: up to date", err=True)
                continue
            nb, row = executed(name, root, again=again, commit=commit)
            notebooks.write(nb, path)
            provenance.record(root, row)


@contextlib.contextmanager
def alone(root: Path):
    """Wait until no other run executes this clone's chapters: together both would crawl."""
    (root / "_build").mkdir(exist_ok=True)
    lock = filelock.FileLock(root / "_build" / "lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        click.echo("waiting for another run in this clone to end", err=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def commands():
    """Execute the chapters of this book, publish it, or rerun one chapter."""


@commands.command("publish")
@click.option("--fresh", is_flag=True, help="Execute every chapter, also those done before.")
def publish_command(fresh):
    """Execute the chapters in a copy of the book and build its pages."""
    click.echo(publish(ROOT, fresh))


@commands.command("refresh")
@click.argument("names", nargs=-1, metavar="[CHAPTER]...")
@click.option("--fresh", is_flag=True, help="Also chapters whose outputs are up to date.")
def refresh_command(names, fresh):
    """Execute chapters and replace their committed outputs."""
    refresh(ROOT, [find(name, ROOT) for name in names], fresh)


@commands.command("stale")
def stale_command():
    """List chapters with outputs of other code than the present."""
    names = stale(ROOT)
    for name in names:
        click.echo(name)
    click.get_current_context().exit(int(bool(names)))


@commands.command("run")
@click.argument("chapter")
@click.option("-p", "pairs", nargs=2, multiple=True, metavar="NAME VALUE", help="One parameter.")
@click.option("-y", "yamls", multiple=True, metavar="YAML", help='As in -y "eps: [0.25, 0.5]".')
@click.option("-f", "files", multiple=True, metavar="FILE", help="A YAML file of parameters.")
@click.option("-o", "out", type=click.Path(path_type=Path), help="The new notebook.")
def run_command(chapter, pairs, yamls, files, out):
    """Execute one chapter with other parameters.

    Where a parameter is given twice, -p wins over -y, and -y over -f.
    """
    path = chapters(ROOT)[find(chapter, ROOT)]
    given = {}
    for text in [Path(file).read_text(encoding="utf-8") for file in files] + list(yamls):
        values = yaml.load(text, NoDatesSafeLoader) or {}
        if not isinstance(values, dict):
            raise click.ClickException(f"parameters are given as NAME: VALUE, not as {text!r}")
        given |= {str(name): value for name, value in values.items()}
    types = reruns.annotations(notebooks.blank(notebooks.read(path)))
    given |= {name: reruns.parsed(text, types.get(name)) for name, text in pairs}
    click.echo(reruns.rerun(path, ROOT, given, out))


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code; an error is a line on stderr."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        # Not standalone: click would add its usage to an error, and exit with 2.
        code = commands.main(arguments or ["--help"], "python -m lib.book", standalone_mode=False)
        return code or 0
    except click.ClickException as error:
        message = error.format_message()
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted; chapters that had finished are kept", err=True)
        return 130
    except OSError as error:
        message = f"{error.strerror or error}: {error.filename}" if error.filename else str(error)
    except (SyntaxError, yaml.YAMLError) as error:
        message = " ".join(str(error).split())
    click.echo(f"error: {message}", err=True)
    return 1


if __name__ == "__main__":
    # A plain kill then ends the kernels too, as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
