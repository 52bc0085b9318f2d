"""The commands that chapters and readmes print are ones that work: they name what there is."""

import ast
import importlib
import re
import shlex
import shutil
from pathlib import Path

import click
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
READMES = [
    "README.md",
    "CONTRIBUTING.md",
    "data/README.md",
    "intro.md",
    "made.md",
    "whole_study.md",
]
PROTOCOLS = sorted(ROOT.glob("data/protocols/*"))
PAGES = [ROOT / name for name in READMES] + PROTOCOLS + sorted(ROOT.glob("chapters/*.ipynb"))
RERUN = re.compile(r"(?:^ *|`)((?:make run|papermill) [^`\n]+)", re.MULTILINE)
PROGRAM = r"(?:make tune(?= +[A-Z]+=)|\S*python3? -m lib\.[\w.]+)"
ADVISED = re.compile(rf"`({PROGRAM}[^`]*)`|^ *({PROGRAM}.*)", re.MULTILINE)
FORMS = ("NAME VALUE", "--help-notebook", "…", "$")
"""What stands in a command that is only the form of one."""


def text(path):
    """Return the Markdown of a page, or the comments of a protocol, each command on one line."""
    if path.suffix == ".md":
        return path.read_text(encoding="utf-8").replace("\\\n", "")
    if path in PROTOCOLS:
        lines = path.read_text(encoding="utf-8").splitlines()
        return "\n".join(line.removeprefix("#") for line in lines if line.startswith("#"))
    cells = nbformat.read(path, as_version=4).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def reruns(markdown):
    """List the commands in Markdown that run a chapter with other parameters."""
    return [c for c in RERUN.findall(markdown) if not any(form in c for form in FORMS)]


def shown(path):
    """Return the Markdown of a page, and what its cells have printed."""
    if path.suffix != ".ipynb":
        return text(path)
    outputs = [o for c in nbformat.read(path, as_version=4).cells for o in c.get("outputs", [])]
    return "\n\n".join([text(path), *("".join(o.get("text", "")) for o in outputs)])


def advised(markdown):
    """List the commands of this project's programs: (words, whether one may be left out)."""
    return [(" ".join((a or b).split()), bool(a)) for a, b in ADVISED.findall(markdown)]


def parse(command, partly=False):
    """Read a command by the parser of its program; partly: as in a sentence, without the rest."""
    words = shlex.split(command)
    if words[0] == "make":
        given = {"ARGS": ""} | dict(word.split("=", 1) for word in words[2:])
        fixed = [given.pop("TARGET"), "--source", given.pop("SOURCE"), "--out", given.pop("OUT")]
        words = ["python", "-m", "lib.advisor", "fit", *fixed, *shlex.split(given.pop("ARGS"))]
    _, _, module, *words = words
    asked, context = program(module), None
    if not words:
        return
    if isinstance(asked, click.Group):
        context = asked.make_context(module, words)
        _, asked, words = asked.resolve_command(context, words)
    try:
        found = asked.make_context(asked.name, words, parent=context).params
    except click.MissingParameter:
        assert partly, command
    else:
        if asked.name == "fit" and not partly:
            parameters.a_source(found["source"])


def program(module):
    """Return the parser of a program of this project: a command of click, or a group of them."""
    package = ROOT.joinpath(*module.split(".")).is_dir()
    found = vars(importlib.import_module(f"{module}.__main__" if package else module))
    parsers = [value for value in found.values() if isinstance(value, click.Command)]
    return next((parser for parser in parsers if isinstance(parser, click.Group)), parsers[0])


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
    given = rerun.read_parameters(path, [*asked["files"], *asked["yamls"]], asked["pairs"])
    known = papermill.inspect_notebook(str(path))
    for unknown in set(given) - set(known):
        raise ParameterError(rules.unknown(unknown, known))
    kernel = {key: ast.literal_eval(about["default"]) for key, about in known.items()} | given
    parameters.check(kernel | {"__annotations__": dict.fromkeys(known, object)})


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder in which the paths of examples are there, and a cluster that answers."""
    monkeypatch.setattr(parameters.scheduler, "check", lambda address: None)
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
        except (ParameterError, click.ClickException) as error:
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


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_printed_command_of_a_program_is_one_that_its_parser_takes(path):
    for command, partly in advised(shown(path)):
        try:
            parse(command, partly)
        except (ValueError, ImportError, click.ClickException) as error:
            pytest.fail(f"{command}: {error!r}")


def test_the_readme_and_chapter_07_have_such_commands():
    for path in (ROOT / "README.md", find_page("07")):
        whole = [command for command, partly in advised(shown(path)) if not partly]
        assert len(whole) >= 2 and any("predict" in command for command in whole), path.name


def find_page(number):
    return next(path for path in PAGES if path.name.startswith(number))


@pytest.mark.parametrize(
    ("command", "partly"),
    [
        ("python -m lib.advisor fit digits --out a.pt2", False),
        ("python -m lib.advisor fit --deep 1", True),
        ("python -m lib.advisor fit digits --source natur --out a.pt2", False),
        ("python -m lib.advisor foretell a.pt2 b", True),
        ("python -m lib.tuned fit digits", True),
        ("python -m lib.book stales", True),
        ('make tune TARGET=a SOURCE="l2 0.5" OUT=a.pt2 ARGS="--blocks 1"', False),
        ('make tune TARGET=a SOURCE="l3 0.5" OUT=a.pt2', False),
    ],
)
def test_a_command_that_its_program_does_not_take_is_found(command, partly):
    assert advised(f"As in `{command}`.\n\n{command}\n") == [(command, True), (command, False)]
    with pytest.raises((ValueError, ImportError, AssertionError, click.ClickException)):
        parse(command, partly)


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
    with pytest.raises((ParameterError, click.ClickException)) as caught:
        try_out(command)
    assert message in str(caught.value)
