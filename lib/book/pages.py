"""Pages, built by Jupyter Book: those of the whole book, and that of a rerun, to be read alone."""

import html
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
import papermill
import yaml
from docutils import nodes
from nbformat import v4

from lib.book import notebooks

NOT_COPIED = shutil.ignore_patterns("cache", "__pycache__", ".*")
JUPYTER_BOOK = (
    "import sys; from lib.runtime.orphans import end_with; end_with(int(sys.argv.pop(1))); "
    "from jupyter_book.cli.main import main; main()"
)
"""Its command line, which does not outlive who asks for pages, and would write into the next."""
REFERENCES = "## References\n\n```{bibliography}\n```"


def copy(root: Path, folder: Path, patterns: Iterable[str]) -> None:
    """Copy files and folders of `root` into an empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for source in (path for pattern in patterns for path in root.glob(pattern)):
        if source.is_dir():
            shutil.copytree(source, folder / source.name, ignore=NOT_COPIED)
        else:
            shutil.copy2(source, folder)


def builder(book: str | Path, *options: str) -> list[str]:
    """Return the command that builds the pages of a book, and ends with this process."""
    return [sys.executable, "-c", JUPYTER_BOOK, str(os.getpid()), "build", str(book), *options]


def build(book: Path, *options: str) -> tuple[Path | None, str]:
    """Build the pages; return their folder, None where that fails, and what Jupyter Book says."""
    here = Path(__file__).parents[2]  # whence lib is found, and by Sphinx its extension, see below
    command, pipe = builder(book, *options), subprocess.PIPE
    done = subprocess.run(command, cwd=here, stdout=pipe, stderr=subprocess.STDOUT, text=True)
    return None if done.returncode else book / "_build" / "html", done.stdout


def of_rerun(rerun: Path, root: Path) -> Path:
    """Build the page of a rerun's notebook in a folder beside it and return its path.

    It is a book of one page: in the theme of the book in `root`, without the network.

    Raises click.ClickException where it cannot be built; an earlier page is then left as it was.
    """
    page = rerun.with_suffix("")
    with tempfile.TemporaryDirectory() as temporary:
        book = Path(temporary) / "book"
        copy(root, book, ("*.bib", "_static", "_extra"))
        # Beside the book, since chapters include ../lib/….py.
        shutil.copytree(root / "lib", book.with_name("lib"), ignore=NOT_COPIED)
        config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
        config["sphinx"]["config"]["extensions"].append(__name__)
        config["execute"]["stderr_output"] = "show"  # such as what was assumed of a checkpoint
        (book / "_config.yml").write_text(json.dumps(config), encoding="utf-8")
        (book / "_toc.yml").write_text("{format: jb-book, root: index}")
        notebooks.write(_readable(notebooks.read(rerun)), book / "index.ipynb")
        built, said = build(book)
        if built is None:
            log = root / "_build" / "failed" / "page.log"
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_text(said, encoding="utf-8")
            raise click.ClickException(f"the page of {rerun} could not be built; {log} says why")
        new = page.with_name(f".{page.name}.partial")
        shutil.rmtree(new, ignore_errors=True)
        shutil.move(built, new)
        shutil.rmtree(page, ignore_errors=True)
        new.rename(page)
    return page / "index.html"


def _readable(nb):
    """Return a notebook as a page: parameters at its head, code folded, references at its end."""
    for cell in nb.cells:
        tags = cell.metadata.setdefault("tags", [])
        if cell.cell_type == "code" and not any(re.match("hide|remove", tag) for tag in tags):
            # Which values were given, the table tells.
            tags.append("remove-cell" if "injected-parameters" in tags else "hide-input")
    title, _, text = nb.cells[0].source.partition("\n")
    nb.cells[0].source = f"{title}\n\n{_parameters(nb)}\n\n{text}"
    if "{cite" in json.dumps(nb.cells):
        nb.cells.append(v4.new_markdown_cell(REFERENCES))
    return nb


def _parameters(nb):
    """Write a table of the parameters that were given, beside what they are in the book."""
    given, known = nb.metadata["executed"]["parameters"], papermill.inspect_notebook(nb)
    if not given:
        return "All parameters are those of the book."
    rows = ["<tr><th>Parameter</th><th>in this run</th><th>in the book</th></tr>"]
    for name, value in given.items():
        # As it is written in the parameters cell: with the quotes that are usual there.
        shown = json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
        cells = [name, html.escape(shown), html.escape(known[name]["default"])]
        rows.append(f"<tr><td>{'</td><td>'.join(cells)}</td></tr>")
    scrolls = '<div class="pst-scrollable-table-container">'
    return f'{scrolls}<table class="table">{"".join(rows)}</table></div>'


def setup(app: Any) -> dict[str, bool]:
    """Make text of links that lead to no place on the page (called by Sphinx)."""

    def unlink(app, doctree, docname):
        for link in [*doctree.findall(nodes.reference)]:
            if "refid" in link and link["refid"] not in doctree.ids:
                link.replace_self(link.children)

    app.connect("doctree-resolved", unlink)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
