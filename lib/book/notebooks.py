"""Notebooks as files: made blank before they are executed, and the same bytes after every run."""

import copy
import json
import re
import tempfile
from pathlib import Path

import click
import nbformat
from nbformat import NotebookNode

from lib.runtime import files, fingerprint

STATE = "application/vnd.jupyter.widget-state+json"
GLUED = "application/papermill.record/text/plain"
KERNELSPEC = {"display_name": "Python 3", "language": "python", "name": "python3"}
LANGUAGE = {"name": "python", "pygments_lexer": "ipython3"}


def read(path: Path) -> NotebookNode:
    """Return the notebook at `path`; raises click.ClickException where it is none."""
    try:
        return nbformat.read(path, as_version=4)
    except (nbformat.reader.NotJSONError, nbformat.ValidationError, UnicodeDecodeError) as error:
        raise click.ClickException(f"{path} is not a notebook") from error


def write(nb: NotebookNode, path: Path) -> None:
    """Write a notebook whole or not at all, in a folder that is made where there is none.

    Raises click.ClickException where it cannot be written, and keeps it in the temporary folder.
    """
    text = nbformat.writes(nb).rstrip("\n") + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.replace(path, text)
    except OSError as error:
        spare = Path(tempfile.mkdtemp()) / path.name
        spare.write_text(text, encoding="utf-8")
        raise click.ClickException(f"{error}; the notebook is kept: {spare}") from error


def tagged(cell: NotebookNode, tag: str) -> bool:
    """Tell whether a cell has a tag."""
    return tag in cell.metadata.get("tags", [])


def blank(nb: NotebookNode) -> NotebookNode:
    """Return a copy without results and injected parameters, with a kernel and ids of cells."""
    nb = copy.deepcopy(nb)
    nb.cells = [cell for cell in nb.cells if not tagged(cell, "injected-parameters")]
    nb.nbformat_minor = max(nb.nbformat_minor, 5)
    for i, cell in enumerate(nb.cells):
        cell.setdefault("id", f"cell-{i}")
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    for key in ("widgets", "papermill", "executed"):
        nb.metadata.pop(key, None)
    nb.metadata.update(kernelspec=KERNELSPEC, language_info=LANGUAGE)
    return nb


def normalised(nb: NotebookNode) -> NotebookNode:
    """Return an executed notebook without what differs between two runs of the same code.

    Times, papermill's records and the kernel's version go; execution counts become 1 to n and the
    random ids of widgets become numbers in the order of their appearance.
    """
    nb = _with_numbered_widgets(copy.deepcopy(nb))
    nb.metadata.pop("papermill", None)
    nb.metadata.update(kernelspec=KERNELSPEC, language_info=LANGUAGE)
    count = 0
    for cell in nb.cells:
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        if not cell.metadata.get("tags", True):
            del cell.metadata["tags"]
        if tagged(cell, "injected-parameters"):
            cell.id = "injected-parameters"
        if cell.get("execution_count") is not None:
            count += 1
            cell.execution_count = count
        for output in cell.get("outputs", []):
            if "execution_count" in output:
                output.execution_count = cell.execution_count
            data = output.get("data", {})
            for kind in {"text/plain", GLUED} & set(data):  # where an object lay in memory
                data[kind] = re.sub(" at 0x[0-9a-f]+>", ">", data[kind])
    return nb


def _with_numbered_widgets(nb):
    """Replace the random id of each widget by its number, wherever it is mentioned."""
    state = nb.metadata.get("widgets", {}).get(STATE, {}).get("state", {})
    number = {model: f"{i:032x}" for i, model in enumerate(state, start=1)}
    # Ids stand in views, in references between models and in links: the text finds them all.
    text = re.sub("[0-9a-f]{32}", lambda id: number.get(id[0], id[0]), json.dumps(nb))
    return nbformat.from_dict(json.loads(text))


def grafted(source: NotebookNode, executed: NotebookNode) -> NotebookNode:
    """Return `source` with the results of `executed`, whose code cells are the same."""
    nb = blank(source)
    codes = [[c for c in n.cells if c.cell_type == "code"] for n in (nb, executed)]
    for cell, done in zip(*codes, strict=True):
        cell.outputs, cell.execution_count = done.outputs, done.execution_count
    for key in ("widgets", "executed"):
        if key in executed.metadata:
            nb.metadata[key] = executed.metadata[key]
    return normalised(nb)


def seal(nb: NotebookNode, mark: str) -> None:
    """Record in the metadata which code, by its fingerprint, made the results."""
    nb.metadata["executed"] = _seal(nb, mark)


def sealed(nb: NotebookNode, mark: str) -> bool:
    """Tell whether this code made the results; edited or run by hand, they are others."""
    return nb.metadata.get("executed") == _seal(nb, mark)


def _seal(nb, mark):
    outputs = [cell.outputs for cell in nb.cells if cell.cell_type == "code"]
    results = json.dumps([outputs, nb.metadata.get("widgets")], sort_keys=True)
    return {"fingerprint": mark, "results": fingerprint.digest(results)}


def glued(nb: NotebookNode, name: str) -> str:
    """Return the last value glued under a name as text, empty where there is none."""
    text = ""
    for output in (o for cell in nb.cells for o in cell.get("outputs", [])):
        if output.get("metadata", {}).get("scrapbook", {}).get("name") == name:
            text = output.data.get(GLUED, output.data.get("text/plain", ""))
    return text.strip("'")
