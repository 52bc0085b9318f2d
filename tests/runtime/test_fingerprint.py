"""What makes a chapter stale and a source another one: on a toy package, and on lib itself."""

import shutil

import nbformat.v4 as v4
import pytest

from lib.book import notebooks
from lib.constraint import NATURAL
from lib.runtime import fingerprint
from lib.studies import pretrained


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
        "last": "import lib.top\nfrom lib.studies import inner\nh = -1.5\n",
        "aside": "a = 1\n",
        "studies/__init__": "from lib.studies.inner import i\n",
        "studies/inner": "from lib.runtime import rules\nfrom lib.datasets import far\ni = 1\n",
        "runtime/__init__": "",
        "runtime/rules": "r = 1\n",
        "datasets/__init__": "from lib.datasets.far import f\nfrom lib.datasets import bundled\n",
        "datasets/far": "f = 1\n",
        "datasets/bundled": "b = 1\n",
    }
    for name, source in files.items():
        (folder / f"{name}.py").parent.mkdir(exist_ok=True)
        (folder / f"{name}.py").write_text(source)
    return folder


def edit(folder, name, old, new):
    file = folder / f"{name}.py"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


def test_comments_docstrings_formatting_and_what_is_behind_a_door_do_not_count(package):
    before = fingerprint.code("top", folder=package)
    edit(package, "low", "    return", "    # why\n\n    return")
    edit(package, "low", '"""Doc."""', '"""Another."""')
    edit(package, "top", "return x + 1", "return (x+1)")
    edit(package, "top", '"""Doc."""', "")
    edit(package, "aside", "1", "2")
    edit(package, "runtime/rules", "1", "2")
    edit(package, "datasets/far", "1", "2")
    assert fingerprint.code("top", folder=package) == before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("top", "x + 1", "x + 2"),
        ("top", "x + 1", "x - 1"),
        ("low", "y=None", "y=0"),
        ("low", "!r", ""),
        ("last", "-1.5", "1.5"),
        ("studies/inner", "i = 1", "i = 2"),
        ("datasets/__init__", "bundled", "bundled as b"),
        ("datasets/bundled", "1", "2"),
    ],
)
def test_every_imported_module_counts(package, name, old, new):
    before = fingerprint.code("top", folder=package)
    edit(package, name, old, new)
    assert fingerprint.code("top", folder=package) != before


def test_a_module_behind_a_door_counts_where_it_is_named(package):
    before = fingerprint.code("datasets.far", folder=package)
    edit(package, "runtime/rules", "1", "2")
    assert fingerprint.code("datasets.far", folder=package) == before
    edit(package, "datasets/far", "1", "2")
    assert fingerprint.code("datasets.far", folder=package) != before


def test_an_unknown_module_is_refused(package):
    with pytest.raises(ValueError, match="no module topp"):
        fingerprint.code("topp", folder=package)


def test_the_same_in_every_version_of_python(package):
    # Python 3.10 to 3.13 give this one; a change to fingerprint.py may change it, a version not.
    assert fingerprint.code("top", folder=package).startswith("3be8f7f1957c10dd")


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


def test_files_that_a_module_reads_are_of_its_notebooks_and_not_of_its_code(package):
    (package / "low.py").write_text(
        (package / "low.py").read_text() + '\nREADS = ("some/*.csv",)\n'
    )
    cells, data = ["from lib.top import f"], package.parent / "data"
    (data / "some").mkdir(parents=True)
    code, marks = fingerprint.code("top", folder=package), []
    for name, text in (("some/a.csv", "1"), ("some/a.csv", "2"), ("some/b.csv", "1")):
        marks.append(fingerprint.notebook(notebook(*cells), package))
        (data / name).write_text(text)
    marks.append(fingerprint.notebook(notebook(*cells), package))
    assert len(set(marks)) == 4 and fingerprint.code("top", folder=package) == code
    (data / "some/c.json").write_text("3")
    (data / "d.csv").write_text("4")
    assert fingerprint.notebook(notebook(*cells), package) == marks[-1]


# ---- On lib itself ----

PATHS = sorted(fingerprint.HERE.parent.glob("chapters/*.ipynb"))
CHAPTERS = {path: notebooks.read(path) for path in PATHS}


@pytest.fixture
def lib(tmp_path):
    """A copy of lib, to be edited."""
    ignored = shutil.ignore_patterns("__pycache__", "cache", ".*")
    return shutil.copytree(fingerprint.HERE, tmp_path / "lib", ignore=ignored)


def marks(lib):
    """The fingerprints of the chapters, and those of sources of several architectures."""
    return (
        {path.stem: fingerprint.notebook(nb, lib) for path, nb in CHAPTERS.items()},
        {
            arch: fingerprint.code(*pretrained._modules(arch, NATURAL), folder=lib)
            for arch in ("small_resnet", "resnet18", "torchvision:resnet50")
        },
    )


def changed(before, after):
    """Say of which chapters, and of which sources, the fingerprint has changed."""
    pairs = zip(before, after, strict=True)
    return tuple({key for key in one if one[key] != two[key]} for one, two in pairs)


def test_what_a_door_hides_makes_nothing_stale(lib):
    before = marks(lib)
    edit(lib, "datasets/downloads", "is missing or damaged", "is not there")
    edit(lib, "zoo/timm_nets", "raise", "print('edited')\n    raise")
    edit(lib, "studies/parameters", "is no text; write names", "is no text; give names")
    for path in lib.glob("runtime/*.py"):
        path.write_text(path.read_text() + "\nedited = True\n")
    assert changed(before, marks(lib)) == (set(), set())


@pytest.mark.parametrize("name", ["attacks", "training", "networks", "images"])
def test_the_science_of_a_source_makes_all_stale(lib, name):
    before = marks(lib)
    (lib / f"{name}.py").write_text((lib / f"{name}.py").read_text() + "\nedited = True\n")
    assert changed(before, marks(lib)) == tuple(map(set, before))


def test_what_sees_the_sources_makes_chapters_stale_and_no_source_another_one(lib):
    before = marks(lib)
    edit(lib, "figures/plots", "\ndef begin(", "\nedited = True\n\n\ndef begin(")
    chapters, sources = changed(before, marks(lib))
    assert chapters == set(before[0]) and sources == set()


def test_a_network_of_another_library_is_a_source_of_its_code(lib):
    before = marks(lib)
    (lib / "zoo" / "torchvision_nets.py").write_text("edited = True\n")
    assert changed(before, marks(lib)) == (set(), {"torchvision:resnet50"})
