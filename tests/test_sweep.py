"""The Snakefile: what it gives to the chapters, found without Snakemake."""

import shlex
from pathlib import Path
from types import SimpleNamespace

import click
import papermill
import pytest

from lib.book.toc import chapters, find

ROOT = Path(__file__).resolve().parent.parent


def arguments(monkeypatch, **config):
    """Return the words that each combination gives to the runner."""
    monkeypatch.chdir(ROOT)
    code, rule, _ = (ROOT / "data/protocols/Snakefile").read_text("utf-8").partition("\nrule all")
    assert rule
    namespace = {"config": config}
    exec(compile(code, "Snakefile", "exec"), namespace)
    return {
        name: shlex.split(
            namespace["arguments"](
                SimpleNamespace(name=name), SimpleNamespace(notebook=f"runs/sweep/{name}.ipynb")
            )
        )
        for name in namespace["COMBINATIONS"]
    }


def test_every_combination_is_asked_for(monkeypatch):
    found = arguments(monkeypatch, chapter=2, sweep="{lr: [0.03, 0.1], seeds: [3]}")
    assert list(found) == ["lr=0.03,seeds=3", "lr=0.1,seeds=3"]
    name, words = next(iter(found.items()))
    rows = ["-p", "rows_file", f"runs/sweep/{name}.jsonl"]
    out = ["-o", f"runs/sweep/{name}.ipynb"]
    assert words == ["-p", "lr", "0.03", "-p", "seeds", "3", *rows, *out]


@pytest.mark.parametrize("number", [f"{n:02}" for n in range(1, 9)])
def test_rows_are_kept_by_the_chapters_that_keep_rows(monkeypatch, number):
    known = papermill.inspect_notebook(str(chapters(ROOT)[find(number, ROOT)]))
    keeps = number in ("02", "03", "04", "05")  # as its first lines and the README say
    (words,) = arguments(monkeypatch, chapter=number, sweep="{seeds: [3]}").values()
    assert ("rows_file" in words) == ("rows_file" in known) == keeps


def test_no_chapter_is_said_at_once(monkeypatch):
    with pytest.raises(click.ClickException, match="no chapter 09"):
        arguments(monkeypatch, chapter="09")
