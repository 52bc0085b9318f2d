"""One chapter executed once more with other parameters, into a notebook of its own."""

import ast
import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import click
import papermill
import yaml
from papermill.iorw import NoDatesSafeLoader

from lib.book import execution, notebooks
from lib.runtime import fingerprint, rules


def rerun(chapter: Path, root: Path, given: Mapping, out: Path | None = None) -> Path:
    """Execute a chapter with the parameters `given` and return the path of the new notebook.

    `out` defaults to a name in runs/ that tells the parameters. The kernel works in the caller's
    folder, so that relative paths among the parameters mean what the caller meant.

    Raises click.ClickException before anything runs for a wrong name or `out`, and when the chapter
    refuses a value or fails, which leaves `out` as it was.
    """
    source = notebooks.blank(notebooks.read(chapter))
    known = papermill.inspect_notebook(source)
    for name in set(given) - set(known):
        raise click.ClickException(rules.unknown(name, known))
    out = out or root / "runs" / f"{chapter.stem}-{slug(given)}.ipynb"
    if out.suffix != ".ipynb" or out.is_dir():
        raise click.ClickException(f"the output must be a file that ends in .ipynb, not {out}")
    if out.resolve().parent == chapter.resolve().parent:
        raise click.ClickException(f"{out} would lie among the book's chapters: choose another")
    page = out.with_suffix("")
    if page.exists() and not (page / ".buildinfo").is_file():  # which Sphinx leaves in its folders
        raise click.ClickException(f"the page would take the place of {page}: choose another")
    nb, _ = execution.execute(source, chapter.stem, root, cwd=Path.cwd(), parameters=given)
    nb = notebooks.normalised(nb)
    notebooks.seal(nb, fingerprint.notebook(source, root / "lib"))
    nb.metadata["executed"]["parameters"] = dict(given)
    notebooks.write(nb, out)
    return out


def given(chapter: Path, yamls: Iterable[str], pairs: Iterable[tuple[str, str]]) -> dict:
    """Return the parameters that texts of YAML and pairs (name, text) give to a chapter.

    The text of a pair means a number, True, a list, …, or itself; given to a parameter that takes
    text, only itself, as by papermill's -r: a folder may be called 2024. The later wins.
    """
    values = {}
    for text in yamls:
        loaded = yaml.load(text, NoDatesSafeLoader) or {}
        if not isinstance(loaded, dict):
            raise click.ClickException(f"parameters are given as NAME: VALUE, not as {text!r}")
        values |= {str(name): value for name, value in loaded.items()}
    known = papermill.inspect_notebook(notebooks.blank(notebooks.read(chapter)))
    for name, text in pairs:
        kind = known.get(name, {}).get("inferred_type_name")
        try:
            values[name] = text if kind == "str" else ast.literal_eval(text)
        except (ValueError, SyntaxError):
            values[name] = text
    return values


def slug(given: Mapping) -> str:
    """Return a part of a file name that tells parameters apart."""
    text = ",".join(f"{name}={value}" for name, value in given.items()) or "defaults"
    safe = re.sub(r"[^\w.,=+-]+", "_", text)[:80]
    # Where letters had to go, two runs may look alike.
    return safe if safe == text else f"{safe}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"
