"""What code determines a result: hashes that ignore comments, docstrings and formatting."""

import ast
import hashlib
from pathlib import Path

HERE = Path(__file__).resolve().parent
DEFINITIONS = (ast.Module, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def code(*modules: str, folder: Path = HERE) -> str:
    """Return the sha256 hex of modules of lib and of every module of lib that they import.

    `modules` are names such as "training"; imports are followed in the source text, nothing is
    imported. `folder` is the package's folder. Raises ValueError for a module that is not there.
    """
    for name in modules:
        if not (folder / f"{name}.py").is_file():
            raise ValueError(f"no module {name} in {folder}")
    trees, pending = {}, ["__init__", *modules]
    while pending:
        name = pending.pop()
        file = folder / f"{name}.py"
        if name not in trees and file.is_file():
            trees[name] = ast.parse(file.read_text(encoding="utf-8"), str(file))
            pending += imported(trees[name], folder.name)
    return digest([(name, skeleton(tree)) for name, tree in sorted(trees.items())])


def notebook(nb, folder: Path = HERE) -> str:
    """Return the sha256 hex of a notebook's code cells and of the modules of lib they import.

    The cell that papermill injects is left out. Prose and outputs do not count.
    """
    cells, modules = [], set()
    for cell in nb.cells:
        if cell.cell_type == "code" and "injected-parameters" not in cell.metadata.get("tags", []):
            tree = cell_tree(cell.source)
            modules |= imported(tree, folder.name)
            # A last semicolon hides a cell's value, and the tree does not tell.
            cells.append((skeleton(tree.body), cell.source.rstrip().endswith(";")))
    here = sorted(name for name in modules if (folder / f"{name}.py").is_file())
    return digest([cells, code(*here, folder=folder)])


def cell_tree(source: str) -> ast.Module:
    """Parse a code cell, with IPython's magics as the calls they stand for."""
    # Imported here: slow, and code() is needed where there is no IPython.
    from IPython.core.inputtransformer2 import TransformerManager

    try:
        return ast.parse(TransformerManager().transform_cell(source))
    except SyntaxError:  # such a cell fails when run; its text still counts
        return ast.Module([ast.Expr(ast.Constant(source))], [])


def imported(tree: ast.Module, package: str = "lib") -> set[str]:
    """Return the names that may be modules of the package among all that `tree` imports."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = ".".join(filter(None, [package if node.level else "", node.module]))
            names |= {f"{module}.{alias.name}" for alias in node.names}
    parts = (name.split(".") for name in names)
    return {part[1] for part in parts if part[0] == package and len(part) > 1}


def skeleton(node):
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


def digest(structure) -> str:
    """Return the sha256 hex of nested lists and strings."""
    return hashlib.sha256(ascii(structure).encode()).hexdigest()
