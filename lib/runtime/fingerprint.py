"""What code determines a result: hashes that ignore comments, docstrings and formatting.

Imports are followed through the science, the studies, the advisor and the figures. They stop at a
door: what runs a chapter determines no number in it, and what brings images and networks from
elsewhere no number of a default chapter. Images and networks that come with the book are followed.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

import nbformat

HERE = Path(__file__).resolve().parent.parent
DEFINITIONS = (ast.Module, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
DOORS = ("runtime", "book", "datasets", "zoo", "studies.parameters")
"""Packages and modules whose code is not followed,"""
REACHED = ("datasets", "datasets.bundled", "zoo.models", "zoo.shipped")
"""but for these modules in them, which a default chapter reaches."""


def code(*modules: str, folder: Path = HERE) -> str:
    """Return the sha256 hex of modules of lib and of every module of lib that they import.

    modules: names such as "training" or "studies.matching"; those behind a door are followed where
    they are named here. Imports are followed in the source text, nothing is imported. folder: the
    package's. Raises ValueError for a module that is not there.
    """
    return _code(_modules(modules, folder))


def notebook(nb: nbformat.NotebookNode, folder: Path = HERE) -> str:
    """Return the sha256 hex of a notebook's code cells, and of the modules of lib they import.

    The files count, too, that READS of such a module names, a tuple of patterns below data: they
    hold numbers that the notebook shows. The cell that papermill injects is left out. Prose and
    outputs do not count.
    """
    cells, modules = [], set()
    for cell in nb.cells:
        if cell.cell_type == "code" and "injected-parameters" not in cell.metadata.get("tags", []):
            tree = cell_tree(cell.source)
            modules |= imported(tree, folder.name)
            # A last semicolon hides a cell's value, and the tree does not tell.
            cells.append((skeleton(tree.body), cell.source.rstrip().endswith(";")))
    followed = [name for name in modules if _followed(name) and _file(name, folder)]
    reached = _modules(followed, folder)
    patterns = {pattern for it in reached.values() for pattern in it.reads}
    files = sorted({file for p in patterns for file in (folder.parent / "data").glob(p)})
    read = [(file.name, hashlib.sha256(file.read_bytes()).hexdigest()) for file in files]
    return digest([cells, _code(reached), read])


class _Module(NamedTuple):
    """What counts of a module: its skeleton as text, what it may import, and its READS."""

    skeleton: str
    imports: set[str]
    reads: tuple[str, ...]


@cache
def _module(source, package):
    """Parse a module, once for all chapters and sources that it is of."""
    tree = ast.parse(source)
    reads = next((ast.literal_eval(n.value) for n in tree.body if _names_reads(n)), ())
    return _Module(ascii(skeleton(tree)), imported(tree, package), reads)


def _code(modules):
    """Return the sha256 hex of modules, as of `_modules`."""
    parts = [f"({name!a}, {it.skeleton})" for name, it in modules.items()]
    return _hashed(f"[{', '.join(parts)}]")


def _names_reads(node):
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "READS"


def _modules(names, folder):
    """Return {name: _Module} of modules and what they import, or raise ValueError for none."""
    for name in names:
        if _file(name, folder) is None:
            raise ValueError(f"no module {name} in {folder}")
    found, pending = {}, [*names]
    while pending:
        name = pending.pop()
        file = _file(name, folder)
        if name not in found and file is not None:
            found[name] = _module(file.read_text(encoding="utf-8"), folder.name)
            pending += [other for other in found[name].imports if _followed(other)]
    return dict(sorted(found.items()))


def _file(name, folder):
    """Return the file of a module or of a package's __init__, or None where there is neither."""
    path = folder.joinpath(*name.split("."))
    files = (path.with_suffix(".py"), path / "__init__.py")
    return next((file for file in files if file.is_file()), None)


def _followed(name):
    """Tell whether imports are followed into a module."""
    closed = any(name == door or name.startswith(f"{door}.") for door in DOORS)
    return name in REACHED or not closed


def cell_tree(source: str) -> ast.Module:
    """Parse a code cell, with IPython's magics as the calls they stand for."""
    # Imported here: slow, and code() is needed where there is no IPython.
    from IPython.core.inputtransformer2 import TransformerManager

    try:
        return ast.parse(TransformerManager().transform_cell(source))
    except SyntaxError:  # such a cell fails when run; its text still counts
        return ast.Module([ast.Expr(ast.Constant(source))], [])


def imported(tree: ast.AST, package: str = "lib") -> set[str]:
    """Return the names, below the package, of all that may be its modules among the imports.

    Of `from lib.datasets import load` these are datasets and datasets.load.
    """
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = ".".join(filter(None, [package if node.level else "", node.module]))
            names |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    start = f"{package}."
    return {name.removeprefix(start) for name in names if name.startswith(start)}


def skeleton(node: object) -> list:
    """Return a tree as nested lists, the same in every version of Python.

    Positions, docstrings and empty fields are left out: new versions add fields, empty ones.
    """
    if isinstance(node, list):
        return [skeleton(item) for item in node]
    if not isinstance(node, ast.AST):
        return [type(node).__name__, ascii(node)]
    fields = {name: value for name, value in ast.iter_fields(node) if name != "kind"}
    if isinstance(node, DEFINITIONS) and ast.get_docstring(node, clean=False) is not None:
        fields["body"] = node.body[1:]
    kept = sorted((name, value) for name, value in fields.items() if value not in (None, []))
    return [type(node).__name__, [(name, skeleton(value)) for name, value in kept]]


def digest(structure: object) -> str:
    """Return the sha256 hex of nested lists and strings."""
    return _hashed(ascii(structure))


def _hashed(text):
    return hashlib.sha256(text.encode()).hexdigest()
