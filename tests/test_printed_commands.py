"""The commands that chapters and readmes print are ones that work: they name what there is."""

import ast
import re
import shlex
import shutil
from pathlib import Path

import nbformat
import papermill
import pytest
from PIL import Image

from lib.book import __main__ as book
from lib.book import rerun
from lib.book.toc import chapters, find
from lib.runtime import rules
from lib.runtime.rules import ParameterError
from lib.studies import parameters

ROOT = Path(__file__).resolve().parent.parent
READMES = ["README.md", "CONTRIBUTING.md", "data/README.md", "intro.md", "made.md"]
PAGES = [ROOT / name for name in READMES] + sorted(ROOT.glob("chapters/*.ipynb"))
RERUN = re.compile(r"(?:^ *|`)((?:make run|papermill) [^`\n]+)", re.MULTILINE)
FORMS = ("NAME VALUE", "--help-notebook", "…")
"""What stands in a command that is only the form of one."""


def text(path):
    """Return the Markdown of a page."""
    if path.suffix == ".md":
        return path.read_text(encoding="utf-8")
    cells = nbformat.read(path, as_version=4).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def reruns(markdown):
    """List the commands in Markdown that run a chapter with other parameters."""
    return [c for c in RERUN.findall(markdown) if not any(form in c for form in FORMS)]


def options(command):
    """Return the chapter that a command runs, and the options as the runner has them."""
    words = shlex.split(command)
    if words[0] == "papermill":
        return words[1], words[3:]
    given = dict(word.split("=", 1) for word in words[2:])
    return given["CHAPTER"], shlex.split(given.get("ARGS", ""))


def try_out(command):
    """Read a command as the runner does, and check its parameters as the chapter does."""
    name, words = options(command)
    asked = book.run.make_context("run", [name, *words]).params
    path = chapters(ROOT)[find(asked["chapter"], ROOT)]
    given = rerun.given(path, [*asked["files"], *asked["yamls"]], asked["pairs"])
    known = papermill.inspect_notebook(str(path))
    for unknown in set(given) - set(known):
        raise ParameterError(rules.unknown(unknown, known))
    kernel = {key: ast.literal_eval(about["default"]) for key, about in known.items()} | given
    parameters.check(kernel | {"__annotations__": dict.fromkeys(known, object)})


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder in which the paths of examples are there."""
    for name in ("left", "right"):
        (tmp_path / "path/to/folder" / name).mkdir(parents=True)
        for i in range(4):
            Image.new("RGB", (40, 40), (60 * i, 0, 0)).save(
                tmp_path / "path/to/folder" / name / f"{i}.png"
            )
    (tmp_path / "classes.csv").touch()
    shutil.copytree(ROOT / "data/protocols", tmp_path / "data/protocols")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_printed_command_is_one_that_its_chapter_takes(here, path):
    for command in reruns(text(path)):
        try:
            try_out(command)
        except (ParameterError, book.click.ClickException) as error:
            pytest.fail(f"{command}: {error}")


def test_every_chapter_has_such_commands_and_the_readme_of_both_kinds():
    for path in chapters(ROOT).values():
        assert len(reruns(text(path))) >= 3, path.name
    starts = {command.split()[0] for command in reruns(text(ROOT / "README.md"))}
    assert starts == {"make", "papermill"}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_printed_target_of_make_is_there(path):
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    target = r"(?:`make ([a-z-]+)|^ *make ([a-z-]+)(?: *$| +#| +[A-Z_]+=))"
    asked = {name for pair in re.findall(target, text(path), re.MULTILINE) for name in pair if name}
    assert asked <= targets


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ('make run CHAPTER=04 ARGS="-p n_max 400"', "n_max is not a parameter of this chapter"),
        ('make run CHAPTER=02 ARGS="-p target digitz"', "there is no data set"),
        ("make run CHAPTER=06 ARGS='-y \"l2: [0.1, 0.1]\"'", "two that look alike"),
        ('make run CHAPTER=09 ARGS="-p epochs 3"', "no chapter 09"),
        ('make run CHAPTER=02 ARGS="--epochs 3"', "No such option"),
        ("papermill chapters/02_low_data_transfer.ipynb out.ipynb -p lr 0", "lr must be a number"),
        ("papermill chapters/02_low_data_transfer.ipynb out.ipynb -f no.yaml", "no.yaml"),
    ],
)
def test_a_command_that_does_not_work_is_found(here, command, message):
    assert reruns(f"1. As in `{command}`.\n\n{command}\n") == [command] * 2
    with pytest.raises((ParameterError, book.click.ClickException)) as caught:
        try_out(command)
    assert message in str(caught.value)
