"""One chapter executed once more with other parameters, into a notebook of its own."""

import ast
import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO

import click
import papermill
import yaml

from lib.book import execution, notebooks
from lib.runtime import files, fingerprint, rules, yamls


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
    files.check(out)
    usual = execution.usual(chapter.stem, root)
    expected = usual and f"{usual} with the book's parameters"
    nb, _ = execution.execute(
        source, chapter.stem, root, cwd=Path.cwd(), parameters=given, expected=expected
    )
    nb = notebooks.normalised(nb)
    notebooks.seal(nb, fingerprint.notebook(source, root / "lib"))
    nb.metadata["executed"]["parameters"] = dict(given)
    notebooks.write(nb, out)
    return out


def read_parameters(
    chapter: Path, written: Iterable[str | BinaryIO], pairs: Iterable[tuple[str, str]]
) -> dict[str, object]:
    """Return the parameters that YAML, of texts or files, and pairs (name, text) give to a chapter.

    The text of a pair means a number, True, a list, …, or itself; given to a parameter that takes
    text, only itself, as by papermill's -r: a folder may be called 2024. So it is in YAML, without
    quotes too. True and False may be written true and false, as in YAML, where they are asked for.
    The later wins. Raises click.ClickException for what gives no such values.
    """
    known = papermill.inspect_notebook(notebooks.blank(notebooks.read(chapter)))
    kinds = {name: about["inferred_type_name"] for name, about in known.items()}
    texts = {name for name, kind in kinds.items() if kind == "str"}
    values: dict[str, object] = {}
    for source in written:
        try:
            values |= _in_yaml(source, texts)
        except yamls.ERRORS as error:
            name = getattr(source, "name", "-y")
            raise click.ClickException(f"{name}: {' '.join(str(error).split())}") from error
    for name, text in pairs:
        if re.search("[\ud800-\udfff]", text):  # bytes that stand for no letter
            raise click.ClickException(f"{name} is {text!a}, which is not UTF-8; rename it")
        if kinds.get(name) == "bool" and text in ("true", "false"):
            text = text.capitalize()
        try:
            values[name] = text if name in texts else ast.literal_eval(text)
            str(values[name])  # which a number of thousands of digits does not have
        except (ValueError, SyntaxError, RecursionError, MemoryError):  # of many brackets
            values[name] = text
    return values


def _in_yaml(source, texts):
    """Return the parameters in YAML: numbers, texts, True and False, and lists of these."""
    loader = yamls.Loader(source)
    root = loader.get_single_node()
    if root is None:
        return {}
    if not isinstance(root, yaml.MappingNode):
        raise ValueError("parameters are given as NAME: VALUE")
    for key, value in root.value:
        parts = value.value if isinstance(value, yaml.SequenceNode) else [value]
        if not all(isinstance(part, yaml.ScalarNode) for part in [key, *parts]):
            raise ValueError(
                f"{key.value} must be a number, a text, True, False or a list of these"
            )
        if key.value in texts and isinstance(value, yaml.ScalarNode):
            value.tag = yamls.TEXT
    found = {str(name): value for name, value in loader.construct_document(root).items()}
    str(found)  # refused here: a number of thousands of digits
    return found


def slug(given: Mapping) -> str:
    """Return a part of a file name that tells parameters apart."""
    text = ",".join(f"{name}={value}" for name, value in given.items()) or "defaults"
    safe = re.sub(r"[^\w.,=+-]+", "_", text).encode()[:80].decode(errors="ignore")
    # Where letters had to go, two runs may look alike.
    return safe if safe == text else f"{safe}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"
