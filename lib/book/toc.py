"""The chapters of the book: the notebooks that its table of contents names."""

import difflib
from pathlib import Path

import click
import yaml
from sphinx_external_toc.parsing import MalformedError, parse_toc_yaml


def chapters(root: Path) -> dict[str, Path]:
    """Return the notebooks that the table of contents names, in its order.

    Raises click.ClickException for an entry without a file: better now than after an hour, and for
    a table of contents that is none.
    """
    found = {}
    try:
        pages = parse_toc_yaml(root / "_toc.yml")
    except (MalformedError, yaml.YAMLError) as error:
        raise click.ClickException(" ".join(str(error).split())) from None
    for page in pages:
        paths = [root / f"{page}{suffix}" for suffix in ("", ".ipynb", ".md")]
        path = next((path for path in paths if path.is_file()), None)
        if path is None:
            raise click.ClickException(f"_toc.yml names {page}, but there is no such page")
        if path.suffix == ".ipynb":
            found[path.stem] = path
    return found


def find(name: str, root: Path) -> str:
    """Return the chapter that `02`, `02_name` or a path means.

    Raises click.ClickException, listing the chapters, where it means none.
    """
    known, stem = chapters(root), Path(name).stem
    foreign = Path(name).is_file() and Path(name).resolve() not in known.values()
    meant = [chapter for chapter in known if stem.zfill(2) in (chapter, chapter.split("_")[0])]
    if len(meant) == 1 and not foreign:
        return meant[0]
    near = difflib.get_close_matches(stem, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else "."
    raise click.ClickException(f"no chapter {name}{hint} Chapters: {', '.join(known)}")
