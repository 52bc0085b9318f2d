"""The chapters of the book: the notebooks that its table of contents names."""

import difflib
from pathlib import Path

import click
import yaml


def chapters(root: Path) -> dict[str, Path]:
    """Return the notebooks that the table of contents names, in its order.

    Raises click.ClickException for an entry without a file: better now than after an hour.
    """

    def files(entry):
        if isinstance(entry, list):
            return [file for item in entry for file in files(item)]
        if not isinstance(entry, dict):
            return []
        own = [value for key, value in entry.items() if key in ("root", "file")]
        return own + [file for value in entry.values() for file in files(value)]

    found = {}
    for file in files(yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))):
        paths = [root / file, root / f"{file}.ipynb", root / f"{file}.md"]
        path = next((path for path in paths if path.is_file()), None)
        if path is None:
            raise click.ClickException(f"_toc.yml names {file}, but there is no such page")
        if path.suffix == ".ipynb":
            found[path.stem] = path
    return found


def find(name: str, root: Path) -> str:
    """Return the chapter that `02`, `02_name` or a path means.

    Raises click.ClickException, listing the chapters, where it means none.
    """
    known = chapters(root)
    stem = Path(name).stem
    foreign = Path(name).is_file() and Path(name).resolve() not in known.values()
    if stem in known and not foreign:
        return stem
    numbered = [chapter for chapter in known if chapter.split("_")[0] == stem.zfill(2)]
    if len(numbered) == 1 and not foreign:
        return numbered[0]
    near = difflib.get_close_matches(stem, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else "."
    raise click.ClickException(f"no chapter {name}{hint} Chapters: {', '.join(known)}")
