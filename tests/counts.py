"""Counts what chapters are made of: `python tests/counts.py [FOLDER]`, or `make counts`.

A line of code is a line of a code cell that is not empty; a comment belongs to the statement below.
Each statement at the top of a cell is of one kind, the first of these that fits:

parameters  all in the cell tagged parameters
sentences   it calls say, say_list, say_table, say_differences, say_standing, say_sets, answer,
            quote or glue; or it only gives values to names that nothing in the notebook reads but
            sentences
set-up      an import; all in a cell tagged hide-cell or remove-cell, or below the parameters
routing     it gives to names a dict, a list, a tuple, a set, a comprehension of these, joined ones,
            or a call of dict, list, tuple, set, sorted, zip or range
study       everything else: what is measured, computed, drawn and shown

A word of prose is a piece of Markdown between spaces with a letter in it, outside of code and
formulae; words of the Markdown that cells display, as far as it is in the file, count apart.
"""

import ast
import re
import sys
from collections import Counter
from pathlib import Path
from statistics import median

import nbformat
from IPython.core.inputtransformer2 import TransformerManager

KINDS = ("parameters", "set-up", "routing", "sentences", "study")
SAYING = {"say", "say_list", "say_table", "say_differences", "say_standing", "say_sets"}
SAYING |= {"answer", "quote", "glue"}
CONTAINERS = (ast.Dict, ast.List, ast.Tuple, ast.Set)
COMPREHENSIONS = (ast.DictComp, ast.ListComp, ast.SetComp, ast.GeneratorExp)
BUILDERS = {"dict", "list", "tuple", "set", "sorted", "zip", "range"}
NOT_PROSE = re.compile(r"^(```+|~~~+).*?^\1|\$\$.*?\$\$|\$[^$\n]+\$|`[^`\n]+`", re.M | re.S)


def tags(cell):
    return set(cell.metadata.get("tags", []))


def statements(cell):
    """List (statement, number of its lines) of a code cell."""
    source = TransformerManager().transform_cell(cell.source)
    lines, body = source.splitlines(), ast.parse(source).body
    ends = [statement.end_lineno for statement in body]
    ends[-1:] = [len(lines)]
    starts = [0, *ends]
    return [
        (statement, sum(bool(line.strip()) for line in lines[start:end]))
        for statement, start, end in zip(body, starts, ends, strict=False)
    ]


def names(node, context):
    """The names that a statement reads (ast.Load) or gives values to (ast.Store)."""
    nodes = [n for n in ast.walk(node) if isinstance(n, ast.Name)]
    return {n.id for n in nodes if isinstance(n.ctx, context)}


def says(node):
    calls = [n.func for n in ast.walk(node) if isinstance(n, ast.Call)]
    return any((getattr(f, "id", None) or getattr(f, "attr", None)) in SAYING for f in calls)


def only_assigns(node):
    return isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign)


def contains(value):
    """Tell whether an expression is a container put together here."""
    if isinstance(value, ast.BinOp):
        return contains(value.left) or contains(value.right)
    if isinstance(value, ast.Call):
        return isinstance(value.func, ast.Name) and value.func.id in BUILDERS
    return isinstance(value, (*CONTAINERS, *COMPREHENSIONS))


def sentences(body):
    """The statements of a notebook that say something, or only prepare what is said."""
    found = {id(node) for node in body if says(node)}
    while True:
        read = set().union(*(names(node, ast.Load) for node in body if id(node) not in found))
        more = {
            id(node)
            for node in body
            if only_assigns(node)
            and (given := names(node, ast.Store))
            and not given & read
            and any(given & names(other, ast.Load) for other in body if id(other) in found)
        } - found
        if not more:
            return found
        found |= more


def kinds(nb):
    """Count the lines of each kind in a notebook."""
    cells = [cell for cell in nb.cells if cell.cell_type == "code" and cell.source.strip()]
    made = [statements(cell) for cell in cells]
    saying = sentences([statement for cell in made for statement, _ in cell])
    counts = Counter(dict.fromkeys(KINDS, 0))
    below = False
    for cell, body in zip(cells, made, strict=True):
        of_setup = below or tags(cell) & {"hide-cell", "remove-cell"}
        for statement, lines in body:
            if "parameters" in tags(cell):
                kind = "parameters"
            elif id(statement) in saying:
                kind = "sentences"
            elif of_setup or isinstance(statement, ast.Import | ast.ImportFrom):
                kind = "set-up"
            elif only_assigns(statement) and contains(statement.value):
                kind = "routing"
            else:
                kind = "study"
            counts[kind] += lines
        below = "parameters" in tags(cell)
    return counts


def words(markdown):
    return sum(any(map(str.isalpha, word)) for word in NOT_PROSE.sub(" ", markdown).split())


def count(nb):
    """Count all that a notebook is made of; `cells` are the lines of each code cell."""
    code = [cell for cell in nb.cells if cell.cell_type == "code"]
    prose = [cell.source for cell in nb.cells if cell.cell_type == "markdown"]
    shown = (output.get("data", {}) for cell in code for output in cell.outputs)
    said = [data["text/markdown"] for data in shown if "text/markdown" in data]
    lines = [sum(bool(line.strip()) for line in cell.source.splitlines()) for cell in code]
    return {
        "cells": [n for n in lines if n],
        "kinds": kinds(nb),
        "prose": sum(map(words, prose)),
        "said": sum(map(words, said)),
        "glue": sum(text.count("{glue:text}") for text in prose),
    }


def together(counts):
    """Add up what was counted of several notebooks."""
    cells = [lines for one in counts for lines in one["cells"]]
    added = {key: sum(one[key] for one in counts) for key in ("prose", "said", "glue")}
    return added | {"cells": cells, "kinds": sum((one["kinds"] for one in counts), Counter())}


def line(name, one):
    """Write what was counted as a line of the table."""
    lines, of = sum(one["cells"]), one["kinds"]
    percent = [100 * of[kind] / lines for kind in KINDS]
    parts = [f"{name:<26}{lines:>6}{median(one['cells']):>7g}"]
    parts += [f"{share:>13.0f}" for share in percent]
    parts += [f"{sum(percent[1:4]):>10.0f}", f"{one['prose'] / lines:>7.1f}{one['said']:>6}"]
    return "".join([*parts, f"{one['glue']:>6}"])


def main(folder):
    paths = sorted(folder.glob("*.ipynb"))
    counts = {path.stem: count(nbformat.read(path, as_version=4)) for path in paths}
    titles = "".join(f"{kind + ' %':>13}" for kind in KINDS) + f"{'2 to 4 %':>10}"
    print(f"{'':26}{'lines':>6}{'median':>7}{titles}{'words':>7}{'said':>6}{'glue':>6}")
    for name, one in [*counts.items(), ("all", together(counts.values()))]:
        print(line(name, one))
    modules = list((folder.parent / "lib").rglob("*.py"))
    code = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in modules)
    print(f"\nlib: {code:,} lines in {len(modules)} files")
    print("lines: of code, not empty; median: of a code cell; 2 to 4: set-up, routing, sentences;")
    print("words: of prose for each line of code; said: words that cells display as Markdown;")
    print("glue: numbers in Markdown by {glue:text}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if sys.argv[1:] else "chapters").resolve())
