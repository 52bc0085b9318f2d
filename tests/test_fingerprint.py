import nbformat.v4 as v4
import pytest

from lib import fingerprint


@pytest.fixture
def package(tmp_path):
    folder = tmp_path / "lib"
    folder.mkdir()
    files = {
        "__init__": "",
        "top": '"""Doc."""\nfrom lib import middle\n\n\ndef f(x):\n    return x + 1\n',
        "middle": "from lib.low import g\nfrom . import other\n",
        "low": 'def g(x, *, y=None):\n    """Doc."""\n    return f"{x!r:>4} {y}"\n',
        "other": "from .last import h\n",
        "last": "import lib.top\nh = -1.5\n",
        "aside": "a = 1\n",
    }
    for name, source in files.items():
        (folder / f"{name}.py").write_text(source)
    return folder


def edit(folder, name, old, new):
    file = folder / f"{name}.py"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


def test_comments_docstrings_and_formatting_do_not_count(package):
    before = fingerprint.code("top", folder=package)
    edit(package, "low", "    return", "    # why\n\n    return")
    edit(package, "low", '"""Doc."""', '"""Another."""')
    edit(package, "top", "return x + 1", "return (x+1)")
    edit(package, "top", '"""Doc."""', "")
    edit(package, "aside", "1", "2")
    assert fingerprint.code("top", folder=package) == before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("top", "x + 1", "x + 2"),
        ("top", "x + 1", "x - 1"),
        ("low", "y=None", "y=0"),
        ("low", "!r", ""),
        ("last", "-1.5", "1.5"),
        ("__init__", "", "seed = 0"),
    ],
)
def test_every_imported_module_counts(package, name, old, new):
    before = fingerprint.code("top", folder=package)
    edit(package, name, old, new)
    assert fingerprint.code("top", folder=package) != before


def test_an_unknown_module_is_refused(package):
    with pytest.raises(ValueError, match="no module topp"):
        fingerprint.code("topp", folder=package)


def test_the_same_in_every_version_of_python(package):
    # Python 3.10 to 3.13 give this one; a change to fingerprint.py may change it, a version not.
    assert fingerprint.code("top", folder=package).startswith("72ff618207ee8b7a")


def notebook(*cells):
    nb = v4.new_notebook()
    nb.cells = [v4.new_code_cell(source) for source in cells]
    return nb


def test_of_a_notebook(package):
    cells = ["%matplotlib inline\nn: int = 2  # how many", "from lib.low import g\ng(n)"]
    before = fingerprint.notebook(notebook(*cells), package)

    same = notebook("%matplotlib inline\nn: int = 2", cells[1])
    same.cells.insert(1, v4.new_code_cell("n = 9", metadata={"tags": ["injected-parameters"]}))
    same.cells.append(v4.new_markdown_cell("prose"))
    same.cells[0].outputs = [v4.new_output("stream", text="2")]
    assert fingerprint.notebook(same, package) == before

    others = [
        ["%matplotlib agg\nn: int = 2", cells[1]],
        ["%matplotlib inline\nn: int = 3", cells[1]],
        [cells[0], cells[1] + ";"],
        [cells[0] + "\n" + cells[1]],
        ["%%bash\necho $HOME | (", *cells],
        ["files = !ls", *cells],
        ["this is no Python", *cells],
    ]
    marks = {fingerprint.notebook(notebook(*other), package) for other in others}
    assert len(marks) == len(others) and before not in marks

    edit(package, "low", "x!r", "x")
    assert fingerprint.notebook(notebook(*cells), package) != before
