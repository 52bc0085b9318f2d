"""One chapter executed once more with other parameters, into a notebook of its own."""

import hashlib
import re
from pathlib import Path

import click
import papermill

from lib import execution, fingerprint, notebooks, parameters

RULES = {
    "list": parameters.each(lambda name, value: None, empty=True),
    "int": parameters.integer(),
    "float": parameters.number(),
    "bool": parameters.flag,
    "str": parameters.text,
    "list[int]": parameters.integers(),
    "list[float]": parameters.numbers(),
}


def rerun(chapter: Path, root: Path, given: dict, out: Path | None = None) -> Path:
    """Execute a chapter with the parameters `given` and return the path of the new notebook.

    `out` defaults to a name in runs/ that tells the parameters. The kernel works in the caller's
    folder, so that relative paths among the parameters mean what the caller meant.

    Raises click.ClickException before anything runs for a wrong name, type or `out`, and when the
    chapter fails, which leaves `out` as it was.
    """
    source = notebooks.blank(notebooks.read(chapter))
    check(source, chapter.stem, given)
    out = out or root / "runs" / f"{chapter.stem}-{slug(given)}.ipynb"
    if out.suffix != ".ipynb" or out.is_dir():
        raise click.ClickException(f"the output must be a file that ends in .ipynb, not {out}")
    if out.resolve().parent == chapter.resolve().parent:
        raise click.ClickException(f"{out} would lie among the book's chapters: choose another")
    out.parent.mkdir(parents=True, exist_ok=True)
    nb, _ = execution.execute(source, chapter.stem, root, cwd=Path.cwd(), parameters=given)
    nb = notebooks.normalised(nb)
    notebooks.seal(nb, fingerprint.notebook(source, root / "lib"))
    nb.metadata["executed"]["parameters"] = given
    notebooks.write(nb, out)
    return out


def annotations(nb) -> dict[str, str]:
    """Return the names and annotated types of a notebook's parameters, as papermill reads them."""
    found = papermill.inspect_notebook(nb)
    return {name: known["inferred_type_name"].replace(" ", "") for name, known in found.items()}


def check(nb, name: str, given: dict) -> None:
    """Raise click.ClickException unless `given` are parameters of the annotated types."""
    known = annotations(nb)
    if not known:
        raise click.ClickException(f"{name} has no cell tagged parameters")
    for parameter, value in given.items():
        if parameter not in known:
            raise click.ClickException(parameters.unknown(parameter, known))
        try:
            RULES.get(known[parameter], lambda *_: None)(parameter, value)
        except parameters.ParameterError as error:
            raise click.ClickException(str(error)) from error


def parsed(text: str, annotation: str):
    """Return the value that `-p NAME TEXT` means: as for papermill, but text stays text.

    A folder may be called 2024, and papermill would make a number of that.
    """
    words = {"True": True, "False": False, "None": None}
    if annotation == "str":
        return text
    if text in words:
        return words[text]
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text


def slug(given: dict) -> str:
    """Return a part of a file name that tells parameters apart."""
    text = ",".join(f"{name}={value}" for name, value in given.items()) or "defaults"
    safe = re.sub(r"[^\w.,=+-]+", "_", text)[:80]
    # Where letters had to go, two runs may look alike.
    return safe if safe == text else f"{safe}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"
