"""The runner, on a toy clone of two chapters; kernels start slowly, so tests share them."""

import io
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import click
import nbformat.v4 as v4
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toy_book import REPOSITORY, change, chapter, files, ran, text
from waiting import within

from lib.book import __main__ as book
from lib.book import execution, notebooks, pages, publishing, rerun
from lib.runtime import provenance

VIEW = "application/vnd.jupyter.widget-view+json"


def test_refresh_and_publish(clone, capsys):
    assert book.main(["stale"]) == 1
    assert capsys.readouterr().out.split() == ["02_second", "01_first"]  # the order of the toc
    assert book.main(["refresh"]) == 0
    assert ran(clone) == ["second", "first"]
    assert publishing.stale(clone) == []
    shown = capsys.readouterr()
    assert shown.out == ""
    assert re.search(r"02_second: 4 cells\n02_second: done in 00:0\d\n01_first: 4 ", shown.err)
    rows = provenance.read(clone)
    assert list(rows) == ["01_first", "02_second"]
    assert float(rows["01_first"]["seconds"]) > 0.2 and rows["01_first"]["python"]

    # Widgets: every model that is mentioned is stored, under a number.
    nb = notebooks.read(clone / "chapters" / "02_second.ipynb")
    state = nb.metadata["widgets"][notebooks.STATE]["state"]
    mentioned = set(re.findall(r"IPY_MODEL_(\w+)", str(state)))
    mentioned.add(nb.cells[-1].outputs[0].data[VIEW]["model_id"])
    assert mentioned < set(state) and all(int(model, 16) < 50 for model in state)
    assert [m["state"]["source"] for m in state.values() if m["model_name"] == "LinkModel"]
    assert "papermill" not in str(nb) and "version" not in nb.metadata["language_info"]
    first = notebooks.read(clone / "chapters" / "01_first.ipynb")
    assert text(first) == "4\n[0.5]\n" and len(first.cells[3].outputs) == 1

    # Nothing changed: nothing is executed. Asked for afresh: the same bytes.
    before = files(clone)
    assert book.main(["refresh"]) == 0
    assert ran(clone) == ["second", "first"]
    assert book.main(["refresh", "2", "--fresh"]) == 0
    assert ran(clone) == ["second", "first", "second"]
    assert files(clone) == before

    # The present prose with the outputs that are there; the clone stays as it is.
    path = clone / "chapters" / "02_second.ipynb"
    change(path, lambda nb: nb.cells[0].update(source="# A better title"))
    before, row = files(clone), provenance.read(clone)
    capsys.readouterr()
    assert book.main(["publish"]) == 0
    assert ran(clone) == ["second", "first", "second"]
    assert files(clone) == before and provenance.read(clone) == row
    page = Path(capsys.readouterr().out.splitlines()[-1])
    assert page.name == "index.html" and page.exists()
    assert "A better title" in (page.parent / "chapters" / "02_second.html").read_text()
    copy = clone / "_build" / "book"
    assert provenance.read(copy).keys() == row.keys() and not (copy / "data" / "cache").exists()

    # Outputs that code did not make are found, and so is a warning of the strict build.
    change(path, lambda nb: nb.cells[3].outputs[0].update(text="99"))
    assert publishing.stale(clone) == ["02_second"]
    (clone / "intro.md").write_text("[missing](missing.md)\n")
    assert book.main(["publish"]) == 1
    shown = capsys.readouterr()
    assert shown.out == "" and "missing.md" in shown.err and "could not build" in shown.err


@pytest.mark.parametrize(("longest", "talks"), [(execution.LONGEST, "ipc"), (0, "tcp")])
def test_a_kernel_is_talked_to_by_sockets_of_its_own(clone, monkeypatch, longest, talks):
    monkeypatch.setattr(execution, "LONGEST", longest)
    code = "from ipykernel.connect import get_connection_info\nprint(get_connection_info())"
    cells = [v4.new_code_cell("# parameters", metadata={"tags": ["parameters"]})]
    nb = v4.new_notebook(cells=[*cells, v4.new_code_cell(code)])
    done, _ = execution.execute(nb, "talks", clone, cwd=clone)
    assert f'"transport": "{talks}"' in done.cells[-1].outputs[0].text


def test_a_failing_chapter(clone, capsys):
    failing = clone / "chapters" / "01_first.ipynb"
    change(failing, lambda nb: nb.cells.append(v4.new_code_cell("y = 0\n1 / y")))
    before = files(clone)
    assert book.main(["refresh"]) == 1
    error = capsys.readouterr().err
    assert "error: 01_first failed in cell 5 of 5, 'y = 0': ZeroDivisionError: division" in error
    assert "Traceback" not in error
    kept = clone / "_build" / "failed" / "01_first.ipynb"
    assert str(kept) in error and text(notebooks.read(kept)) == "4\n[0.5]\n"
    after = files(clone)
    assert after["01_first.ipynb"] == before["01_first.ipynb"]
    assert after["02_second.ipynb"] != before["02_second.ipynb"]  # had finished
    assert after.keys() == before.keys()

    # A kernel that dies; the chapter that had finished is not executed again.
    change(failing, lambda nb: nb.cells[-1].update(source="import os\nos._exit(1)"))
    assert book.main(["refresh"]) == 1
    assert "in cell 5 of 5, 'import os': the kernel died" in capsys.readouterr().err
    assert ran(clone) == ["second", "first", "first"]


def test_the_cell_whose_figure_cannot_be_drawn_is_the_one_named(clone, capsys):
    """Such a cell fails when it has ended, and the next ones go on."""
    bad = "fig, ax = plt.subplots()\nax.set_title('$5_$10');"
    later = "print('went on')"
    sources = ["%matplotlib inline\nfrom matplotlib import pyplot as plt", bad, later, bad, "1"]
    path = clone / "chapters" / "02_second.ipynb"
    change(path, lambda nb: nb.cells.__setitem__(slice(3, None), map(v4.new_code_cell, sources)))
    assert book.main(["run", "02", "-p", "n", "3", "--no-page"]) == 1
    error = capsys.readouterr().err.splitlines()[-2]
    place = "error: 02_second failed in cell 5 of 8, 'fig, ax = plt.subplots()': ValueError: "
    assert error.startswith(place) and len(error) > len(place) + 10, error
    kept = notebooks.read(clone / "_build" / "failed" / "02_second.ipynb")
    assert "went on" in text(kept) and list((clone / "runs").iterdir()) == []


def test_places_that_cannot_be_written_are_told_of_before_anything_runs(
    clone, capsys, monkeypatch, tmp_path
):
    monkeypatch.setattr(execution.papermill, "execute_notebook", None)
    (tmp_path / "file").touch()
    long = "漢" * 84 + ".ipynb"  # 258 bytes
    for place in (f"{tmp_path}/file/out.ipynb", long, "/proc/out.ipynb"):
        assert book.main(["run", "02", "-o", place]) == 1
        shown = capsys.readouterr().err
        assert shown.startswith("error: ") and shown.count("\n") == 1 and "Errno" in shown
    (clone / "_build").mkdir()
    (clone / "_build" / "executed").touch()  # where a folder should be
    for command in ("publish", "refresh"):
        assert book.main([command]) == 1
        assert "executed" in capsys.readouterr().err and ran(clone) == []


def test_what_was_computed_is_kept_where_the_disk_fills_up_meanwhile(clone, capsys, monkeypatch):
    def full(path, content):
        raise OSError(28, "No space left on device; make room", str(path))

    pretend(monkeypatch, lambda: monkeypatch.setattr(notebooks.files, "replace", full))
    assert book.main(["run", "02", "-o", "out.ipynb"]) == 1
    error = capsys.readouterr().err
    assert "No space left on device; make room: 'out.ipynb'; the notebook is kept: " in error
    kept = Path(error.strip().rpartition(": ")[2])
    assert notebooks.read(kept).cells[0].source == "# Two" and kept.name == "out.ipynb"
    shutil.rmtree(kept.parent)


def kernels(clone):
    """List the processes that work in the folder of the chapters."""
    folder = str((clone / "chapters").resolve())
    return [p for p in psutil.process_iter(["cwd"]) if p.info["cwd"] == folder]


@pytest.mark.parametrize(
    ("command", "kill"),
    [("refresh", signal.SIGINT), ("publish", signal.SIGINT), ("publish", signal.SIGKILL)],
)
def test_a_killed_run_goes_on_where_it_was(clone, monkeypatch, command, kill):
    wait = clone / "data" / "cache" / "wait"
    wait.touch()
    code = "import sys, pathlib; from lib.book import __main__ as book"
    code += "; book.ROOT = pathlib.Path(sys.argv[1])"
    code += f"; sys.exit(book.main([{command!r}]))"
    before = files(clone)

    def heed():
        """Heed an interrupt, though a test run in the background may ignore it."""
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    pipe = {"stderr": subprocess.PIPE, "text": True, "preexec_fn": heed}
    started = [sys.executable, "-c", code, str(clone)]
    run = subprocess.Popen(started, cwd=REPOSITORY, **pipe)
    finished = clone / "_build" / "executed" / "02_second.ipynb"
    within(60, lambda: run.poll() is not None or (len(ran(clone)) == 2 and finished.exists()))
    if run.poll() is not None or not finished.exists():
        run.kill()
        pytest.fail(run.stderr.read())
    assert kernels(clone)
    run.send_signal(kill)
    error = run.communicate(timeout=20)[1]
    if kill == signal.SIGINT:
        assert run.returncode == 130 and "interrupted" in error and "Traceback" not in error
    assert files(clone)["01_first.ipynb"] == before["01_first.ipynb"]
    assert within(20, lambda: not kernels(clone))  # one looks after its parent now and then
    wait.unlink()
    monkeypatch.setattr(pages, "build", lambda folder, *options: (folder, ""))
    assert book.main([command]) == 0
    assert sorted(ran(clone)) == ["first", "first", "second"]


def test_a_rerun(clone, capsys, monkeypatch):
    before = files(clone)
    text_of_file = "n: 3\neps: [1.0, 2.0]\nfast: true\n"
    (clone / "two.yml").write_text(text_of_file, encoding="utf-16")  # as some editors save it
    monkeypatch.chdir(clone / "data")
    run = ["run", "02", "-p", "n", "5", "-y", "{n: 4, eps: [3.0]}", "-f", "../two.yml"]
    assert book.main([*run, "-p", "target", "2024"]) == 0
    shown = capsys.readouterr()
    assert "02_second: 5 cells\n" in shown.err  # the one of the parameters is one of them
    out, page = map(Path, shown.out.splitlines())
    assert page == out.with_suffix("") / "index.html"
    assert "10 [3.0]" in page.read_text() and "<title>Two" in page.read_text()
    assert out.parent == clone / "runs" and "n=5" in out.name and "target=2024" in out.name
    nb = notebooks.read(out)
    assert text(nb) == f"10 [3.0] {clone / 'data' / '2024'}\n"
    given = {"n": 5, "eps": [3.0], "fast": True, "target": "2024"}
    assert nb.metadata["executed"]["parameters"] == given
    assert files(clone) == before

    # The values do not stick, and a failure leaves the output and its page as they were.
    again = ["run", str(clone / "chapters" / "02_second.ipynb"), "-o", str(out), "--no-page"]
    assert book.main(again) == 0
    made = out.read_bytes(), page.read_bytes()
    assert text(notebooks.read(out)).startswith("4 [0.5]")
    capsys.readouterr()
    assert book.main([*again, "-p", "n", "99"]) == 1
    error = capsys.readouterr().err
    assert "02_second: n must be a whole number from 1 to 9; given 99 (int)\n" in error
    assert (out.read_bytes(), page.read_bytes()) == made

    # A page that cannot be built leaves the notebook, and a line that says so.
    monkeypatch.setattr(pages, "JUPYTER_BOOK", "raise SystemExit('no such theme')")
    assert book.main([*again[:-1], "-p", "eps", "[2, 1.5]"]) == 1
    shown = capsys.readouterr()
    assert shown.out == f"{out}\n" and text(notebooks.read(out)).startswith("4 [2, 1.5]")
    assert f"error: the page of {out} could not be built; " in shown.err
    assert (clone / "_build" / "failed" / "page.log").read_text() == "no such theme\n"
    assert page.read_bytes() == made[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("-p n True", "n must be a whole number from 1 to 9; given True (bool)"),
        ("-y eps:\\ [0.5,x]", "eps[1] must be a number from 0 to 4; given 'x' (str)"),
    ],
)
def test_a_value_that_the_chapter_refuses_is_one_line(clone, capsys, arguments, message):
    words = [word.replace("\\ ", " ") for word in re.split(r"(?<!\\) ", arguments)]
    assert book.main(["run", "02", *words]) == 1
    shown = capsys.readouterr()
    assert shown.err.splitlines()[-1] == f"error: 02_second: {message}" and shown.out == ""
    assert list((clone / "runs").iterdir()) == [] and ran(clone) == []


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("target", "2024", "2024"),
        ("target", "True", "True"),
        ("n", "2024", 2024),
        ("n", "-1", -1),
        ("n", "1e-3", 1e-3),
        ("n", "None", None),
        ("fast", "False", False),
        ("fast", "true", True),
        ("fast", "false", False),
        ("fast", "no", "no"),
        ("target", "true", "true"),
        ("n", "true", "true"),
        ("eps", "[0, 0.5]", [0, 0.5]),
        ("eps", "a/b c", "a/b c"),
        ("unknown", "7", 7),
        ("target", "007", "007"),
        ("target", "1e-3", "1e-3"),
        ("eps", "[" * 5000, "[" * 5000),
        ("n", "0x" + "f" * 5000, "0x" + "f" * 5000),
    ],
)
def test_what_a_value_on_the_command_line_means(clone, name, text, value):
    chapter = clone / "chapters" / "01_first.ipynb"
    meant = rerun.read_parameters(chapter, ["n: 3", f"{name}: yes"], [(name, text)])
    assert meant == {"n": 3, name: value} and type(meant[name]) is type(value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("run 03", "no chapter 03. Chapters: 02_second, 01_first"),
        ("run 01_frist", "no chapter 01_frist; did you mean 01_first?"),
        ("run {tmp}/02_second.ipynb", "no chapter "),
        ("refresh 2 seven", "no chapter seven"),
        ("run 02 -p N 3", "N is not a parameter of this chapter"),
        ("run 02 -p targets faces", "did you mean target? Parameters: n, eps, target, fast"),
        ("run 02 -y eps", "-y: parameters are given as NAME: VALUE"),
        ("run 02 -y {{", "while parsing"),
        ("run 02 -p target a\udce9b", "target is 'a\\udce9b', which is not UTF-8; rename it"),
        ("run 02 -y {{1:\\ 2}}", "1 is not a parameter"),
        ("run 02 -f nofile.yml", "'nofile.yml': No such file or directory"),
        ("run 02 -o {clone}/chapters/01_first.ipynb", "among the book's chapters"),
        ("run 02 -o out.txt", "must be a file that ends in .ipynb"),
        ("run 02 -o {clone}/data.ipynb", "data: choose another"),
        ("run", "Missing argument 'CHAPTER'"),
        ("fly", "No such command 'fly'"),
    ],
)
def test_bad_input_starts_nothing(clone, capsys, monkeypatch, tmp_path, arguments, message):
    monkeypatch.setattr(execution.papermill, "execute_notebook", None)
    shutil.copy(clone / "chapters" / "02_second.ipynb", tmp_path)
    words = [word.replace("\\ ", " ") for word in re.split(r"(?<!\\) ", arguments)]
    assert book.main([word.format(tmp=tmp_path, clone=clone) for word in words]) == 1
    shown = capsys.readouterr()
    assert message in shown.err and shown.err.startswith("error: ")
    assert shown.err.count("\n") == 1 and shown.out == ""


LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))
BAD_FILES = {
    "another encoding": ("target: déjà".encode("cp1252"), "unacceptable character #x00e9"),
    "no truth": (b"fast: !!bool x", "'x'"),
    "aliases of aliases": (LAUGHS.encode(), "*a0 is an alias; write out what it stands for"),
    "thousands of digits": (b"n: 0x" + b"f" * 5000, "Exceeds the limit"),
    "nested": (b"eps: [[1]]", "eps must be a number, a text, True, False or a list of these"),
    "a binary file": (bytes(range(256)), "unacceptable character #x0080"),
    "a list": (b"- 1", "parameters are given as NAME: VALUE"),
    "an unknown object": (b"n: !!python/object/apply:os.system [touch made]", "constructor"),
    "an unhashable name": (b"[1]: 2", "must be a number"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_file_of_parameters_that_is_none_is_named_in_one_line(clone, capsys, monkeypatch, kind):
    monkeypatch.setattr(execution.papermill, "execute_notebook", None)
    content, message = BAD_FILES[kind]
    Path("given.yml").write_bytes(content)
    assert book.main(["run", "02", "-f", "given.yml"]) == 1
    shown = capsys.readouterr().err
    assert message in shown and shown.startswith("error: given.yml: ") and shown.count("\n") == 1
    assert len(shown) < 400 and not Path("made").exists()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("target: 2024", "2024"),
        ("target: 007", "007"),
        ("target: 1e-3", "1e-3"),
        ("target: no", "no"),
        ("target: 2024-01-02", "2024-01-02"),
        ("target:", ""),
        ("target: '7'", "7"),
        ("n: 7", 7),
        ("n: 1e-3", 1e-3),
        ("n: 2024-01-02", "2024-01-02"),
        ("fast: no", False),
        ("eps: [1e-1, .5]", [0.1, 0.5]),
        ("", None),
    ],
)
def test_what_a_value_in_yaml_means(clone, text, value):
    meant = rerun.read_parameters(clone / "chapters" / "01_first.ipynb", [text], [])
    expected = {text.split(":")[0]: value} if text else {}
    assert meant == expected and [*map(type, meant.values())] == [*map(type, expected.values())]


PART = st.text(st.sampled_from("aeinotx019-+.:[]{}&*!|>'\"#%@,? \n\t\u00e9\0<"), max_size=25)


def give(clone, content):
    """Give bytes as a file: they are read as flat values, or refused in one line."""
    file = io.BytesIO(content)
    file.name = "given.yml"
    try:
        values = rerun.read_parameters(clone / "chapters" / "01_first.ipynb", [file], [])
    except book.click.ClickException as error:
        assert str(error).startswith("given.yml: ") and "\n" not in str(error)
        return
    for value in values.values():
        for part in value if isinstance(value, list) else [value]:
            assert part is None or isinstance(part, bool | int | float | str | bytes)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(PART)
def test_any_text_is_read_or_refused(clone, text):
    give(clone, f"n: {text}".encode())
    give(clone, text.encode())


@pytest.mark.long
@settings(
    max_examples=3000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.one_of(PART.map(str.encode), PART.map(lambda t: f"n: [{t}".encode()), st.binary(max_size=40))
)
def test_thousands_of_files_are_read_or_refused(clone, content):
    give(clone, content)


def test_a_broken_book_is_named(clone, capsys):
    path = clone / "chapters" / "01_first.ipynb"
    change(path, lambda nb: nb.cells.pop(1))
    assert book.main(["run", "1", "-p", "n", "3"]) == 1
    assert "n is not a parameter of this chapter" in capsys.readouterr().err
    path.write_text("<<<<<<< HEAD")
    assert book.main(["refresh"]) == 1
    assert "01_first.ipynb is not a notebook" in capsys.readouterr().err
    path.unlink()
    assert book.main(["publish"]) == 1
    assert "_toc.yml names chapters/01_first, but there is no such page" in capsys.readouterr().err
    (clone / "_toc.yml").write_text("root: intro\nchapters: 3\n")
    assert book.main(["stale"]) == 1
    shown = capsys.readouterr()
    assert shown.err.startswith("error: ") and shown.err.count("\n") == 1 and shown.out == ""
    assert ran(clone) in ([], ["second"])


def pretend(monkeypatch, during=lambda: None):
    def execute(nb, name, root, **_):
        during()
        return nb, 61.0

    monkeypatch.setattr(execution, "execute", execute)


def test_two_chapters_are_executed_at_a_time(clone, monkeypatch):
    both = threading.Barrier(2, timeout=30)
    pretend(monkeypatch, both.wait)  # which neither passes alone
    monkeypatch.setattr(pages, "build", lambda folder, *options: (folder, ""))
    assert book.main(["publish"]) == 0


def test_where_a_chapter_fails_no_other_is_begun_and_those_that_run_end(monkeypatch, tmp_path):
    begun, ended, both = [], [], threading.Barrier(2, timeout=30)

    def executed(name, root, **_):
        begun.append(name)
        both.wait()
        if name == "b":
            raise click.ClickException("it failed")
        time.sleep(0.5)
        ended.append(name)

    monkeypatch.setattr(publishing, "executed", executed)
    monkeypatch.setattr(publishing, "chapters", lambda root: dict.fromkeys("abcdef"))
    with pytest.raises(click.ClickException, match=r"^it failed$"):
        publishing.publish(tmp_path)
    assert sorted(begun) == ["a", "b"] and ended == ["a"]


def test_of_two_chapters_that_fail_both_are_told_of(clone, monkeypatch, capsys):
    both = threading.Barrier(2, timeout=30)

    def executed(name, root, **_):
        both.wait()
        raise click.ClickException(f"{name} failed")

    monkeypatch.setattr(publishing, "executed", executed)
    assert book.main(["publish"]) == 1
    assert capsys.readouterr().err == "error: 02_second failed\nerror: 01_first failed\n"


def test_stale_when_code_changes_not_when_a_comment_does(clone, monkeypatch):
    pretend(monkeypatch)
    assert book.main(["refresh"]) == 0 and publishing.stale(clone) == []
    toy = clone / "lib" / "toy.py"
    toy.write_text(toy.read_text() + "\n# a comment\n")
    assert publishing.stale(clone) == []
    toy.write_text(toy.read_text().replace("2 * x", "x + x"))
    assert publishing.stale(clone) == ["02_second", "01_first"]


def test_a_chapter_edited_while_it_runs_is_not_overwritten(clone, monkeypatch, capsys):
    path = clone / "chapters" / "02_second.ipynb"
    pretend(monkeypatch, lambda: change(path, lambda nb: nb.cells[-1].update(source="edited")))
    assert book.main(["refresh", "02"]) == 1
    assert "02_second or lib was edited while it ran" in capsys.readouterr().err
    assert notebooks.read(path).cells[-1].source == "edited"


def test_kept_chapters_of_other_versions_or_damaged_are_executed_again(clone, monkeypatch):
    calls = []
    pretend(monkeypatch, lambda: calls.append(1))
    monkeypatch.setattr(pages, "build", lambda folder, *options: (folder, ""))
    for expected in (2, 2):
        publishing.publish(clone)
        assert len(calls) == expected
    (clone / "_build" / "executed" / "01_first.ipynb").write_text("{")
    publishing.publish(clone)
    assert len(calls) == 3
    monkeypatch.setattr(provenance, "versions", lambda: {"python": "4.0"})
    publishing.publish(clone)
    assert len(calls) == 5
    publishing.publish(clone, again=True)
    assert len(calls) == 7


def test_progress_tells_the_time_expected(capsys, monkeypatch):
    nb = chapter("One", "1", "")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with execution.Progress("01_first", 3, "about 03:10") as progress:
        progress.notebook_starts(nb)
        progress.bar.start_t -= 62
        for index, cell in enumerate(nb.cells):
            progress.cell_starts(cell, index)
        progress.bar.refresh()
    assert progress.place == " in cell 3 of 3, '1'"
    shown = capsys.readouterr().err
    assert shown.startswith("01_first: 3 cells, about 03:10\n")
    assert "01_first: cell 3 of 3, 01:02 of about 03:10" in shown
    assert shown.endswith("01_first: done in 00:00\n")


def test_normalising_twice_changes_nothing(tmp_path):
    link = {"model_name": "LinkModel", "state": {"source": ["IPY_MODEL_" + "a" * 32, "value"]}}
    state = {"f" * 32: {"model_name": "X", "state": {}}, "a" * 32: link}
    nb = chapter("One", "1")
    nb.metadata["widgets"] = {notebooks.STATE: {"state": state}}
    nb.cells[-1].execution_count = 7
    nb.cells[-1].outputs = [
        v4.new_output("display_data", {VIEW: {"model_id": "f" * 32}}),
    ]
    lies = {"text/plain": "<pandas.io.formats.style.Styler at 0x7f9a1c>", "text/html": "at 0x1>"}
    lies[notebooks.GLUED] = lies["text/plain"]
    nb.cells[-1].outputs.append(v4.new_output("display_data", lies))
    once = notebooks.normalised(nb)
    plain = "<pandas.io.formats.style.Styler>"
    assert once.cells[-1].outputs[1].data == {
        "text/plain": plain, "text/html": "at 0x1>", notebooks.GLUED: plain,
    }  # fmt: skip
    assert once.cells[-1].execution_count == 1
    assert once.cells[-1].outputs[0].data[VIEW]["model_id"] == f"{1:032x}"
    models = once.metadata["widgets"][notebooks.STATE]["state"]
    assert models[f"{2:032x}"]["state"]["source"][0] == f"IPY_MODEL_{2:032x}"
    assert notebooks.normalised(once) == once
    notebooks.seal(once, "mark")
    notebooks.write(once, tmp_path / "new" / "x.ipynb")
    assert notebooks.sealed(notebooks.read(tmp_path / "new" / "x.ipynb"), "mark")
    assert not notebooks.sealed(once, "other mark")


def test_the_names_of_outputs_tell_runs_apart():
    assert rerun.slug({}) == "defaults"
    assert rerun.slug({"n": 1, "target": "faces"}) == "n=1,target=faces"
    assert rerun.slug({"target": "a/b"}) != rerun.slug({"target": "a b"})
    assert "/" not in rerun.slug({"target": "../" * 100}) and len(rerun.slug({"x": "y" * 999})) < 99
    for name in ("写真" * 40, "é" * 200, "x" + "漢" * 80, "🐈" * 50):
        assert len(rerun.slug({"target": name}).encode()) < 99
    assert rerun.slug({"target": "写真" * 40}) != rerun.slug({"target": "写真" * 41})


def test_the_device_is_what_the_chapter_glued():
    glue = {notebooks.GLUED: "'cuda'"}, {"scrapbook": {"name": "device"}}
    nb = v4.new_notebook(cells=[v4.new_code_cell("glue")])
    nb.cells[0].outputs = [v4.new_output("display_data", glue[0], metadata=glue[1])]
    assert notebooks.glued(nb, "device") == "cuda" and notebooks.glued(nb, "other") == ""
