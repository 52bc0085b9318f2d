"""A toy clone of the book: two chapters on a lib of one module."""

import shutil
from pathlib import Path

import nbformat
import nbformat.v4 as v4

from lib.book import notebooks

REPOSITORY = Path(__file__).resolve().parent.parent
TOC = """
format: jb-book
root: intro
parts:
  - caption: Part
    chapters:
      - file: chapters/02_second
        sections:
          - file: chapters/01_first
"""
CONFIG = """
title: Toy
execute: {execute_notebooks: "off"}
only_build_toc_files: true
sphinx:
  config:
    extensions:
      - sphinx_togglebutton
      - myst_nb
      - jupyter_book
      - sphinx_comments
      - sphinx_external_toc
      - sphinx_book_theme
"""
TOY = '''
"""Counts executions."""
from pathlib import Path

CACHE = Path(__file__).resolve().parent.parent / "data" / "cache"


def ran(name):
    """Write down that a chapter ran."""
    with (CACHE / "ran").open("a") as file:
        file.write(name + " ")


def double(x):
    """Double."""
    return 2 * x
'''
PARAMETERS = """
n: int = 2  # how many
eps: list[float] = [0.5]  # radius
target: str = "digits"  # a name or a folder
fast: bool = False
"""
CHECK = """
from lib.runtime import rules as r
r.check(globals(), dict(n=r.integer(1, 9), eps=r.numbers(0, 4), target=r.text, fast=r.flag))
"""
FIRST = """
import time
from lib import toy
toy.ran("first")
print(toy.double(n), flush=True); time.sleep(0.2); print(eps, flush=True)
while (toy.CACHE / "wait").exists(): time.sleep(0.1)
"""
SECOND = """
import pathlib
from lib import toy
toy.ran("second")
print(toy.double(n), eps, pathlib.Path(target).resolve())
"""
WIDGETS = """
import ipywidgets as w
slider, stack = w.IntSlider(max=1), w.Stack([w.Image(value=b"0"), w.Image(value=b"1")])
w.jslink((slider, "value"), (stack, "selected_index"))
w.VBox([slider, stack])
"""


def chapter(title, *cells):
    sources = [PARAMETERS, CHECK, *cells]
    nb = v4.new_notebook(cells=[v4.new_code_cell(source.strip()) for source in sources])
    nb.cells[0].metadata["tags"] = ["parameters"]
    nb.cells.insert(0, v4.new_markdown_cell(f"# {title}"))
    return nb


def make(root):
    """Write the toy's files into a new folder."""
    for folder in ("chapters", "lib/runtime", "data/results", "data/cache", "runs"):
        (root / folder).mkdir(parents=True)
    (root / "_toc.yml").write_text(TOC)
    (root / "_config.yml").write_text(CONFIG)
    (root / "intro.md").write_text("# Intro\n")
    (root / "lib" / "__init__.py").write_text("")
    (root / "lib" / "toy.py").write_text(TOY)
    for name in ("__init__.py", "rules.py"):
        shutil.copy(REPOSITORY / "lib" / "runtime" / name, root / "lib" / "runtime")
    nbformat.write(chapter("One", FIRST, "2 * n"), root / "chapters" / "01_first.ipynb")
    nbformat.write(chapter("Two", SECOND, WIDGETS), root / "chapters" / "02_second.ipynb")


def files(root):
    return {path.name: path.read_bytes() for path in (root / "chapters").iterdir()}


def ran(root):
    log = root / "data" / "cache" / "ran"
    return log.read_text().split() if log.exists() else []


def text(nb):
    return "".join(o.get("text", "") for cell in nb.cells for o in cell.get("outputs", []))


def change(path, edit):
    """Edit a notebook in its file."""
    nb = notebooks.read(path)
    edit(nb)
    notebooks.write(nb, path)
