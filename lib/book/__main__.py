"""The command line: `python -m lib.book publish`, `refresh`, `stale` and `run`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import click

from lib.book import pages, publishing
from lib.book import rerun as reruns
from lib.book.toc import chapters, find
from lib.runtime import command_line

ROOT = Path(__file__).resolve().parents[2]
FILE = click.Path(path_type=Path)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def commands() -> None:
    """Execute the chapters of this book, publish it, or rerun one chapter."""


@commands.command()
@click.option("--fresh", is_flag=True, help="Execute every chapter, also those done before.")
def publish(fresh: bool) -> None:
    """Execute the chapters in a copy of the book and build its pages."""
    click.echo(publishing.publish(ROOT, fresh))


@commands.command()
@click.argument("names", nargs=-1, metavar="[CHAPTER]...")
@click.option("--fresh", is_flag=True, help="Also chapters whose outputs are up to date.")
def refresh(names: Sequence[str], fresh: bool) -> None:
    """Execute chapters and replace their committed outputs."""
    publishing.refresh(ROOT, [find(name, ROOT) for name in names], fresh)


@commands.command()
@click.pass_context
def stale(context: click.Context) -> None:
    """List chapters with outputs of other code than the present."""
    names = publishing.stale(ROOT)
    for name in names:
        click.echo(name)
    context.exit(int(bool(names)))


@commands.command()
@click.argument("chapter")
@click.option("-p", "pairs", nargs=2, multiple=True, metavar="NAME VALUE", help="One parameter.")
@click.option("-y", "yamls", multiple=True, metavar="YAML", help='As in -y "eps: [0.25, 0.5]".')
@click.option("-f", "files", multiple=True, type=click.File("rb"), help="A YAML file of these.")
@click.option("-o", "out", type=FILE, help="The new notebook; its page lies beside it.")
@click.option("--no-page", is_flag=True, help="Write the notebook alone.")
def run(
    chapter: str,
    pairs: Sequence[tuple[str, str]],
    yamls: Sequence[str],
    files: Sequence[BinaryIO],
    out: Path | None,
    no_page: bool,
) -> None:
    """Execute one chapter with other parameters, into a notebook and a page to read.

    Where a parameter is given twice, -p wins over -y, and -y over -f.
    """
    path = chapters(ROOT)[find(chapter, ROOT)]
    out = reruns.rerun(path, ROOT, reruns.read_parameters(path, [*files, *yamls], pairs), out)
    click.echo(out)
    if not no_page:
        click.echo(pages.of_rerun(out, ROOT))


def main(arguments: Sequence[str]) -> int:
    """Run the command line and return its exit code; an error is a line on stderr."""
    words = [*arguments] or ["--help"]
    kept = "interrupted" + "; chapters that had finished are kept" * (words[0] != "run")
    return command_line.run(commands, "python -m lib.book", words, interrupted=kept)


if __name__ == "__main__":
    command_line.end_by_kill()
    sys.exit(main(sys.argv[1:]))
