"""What CONTRIBUTING says of a new data set, tried on a copy of the tree."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from reading_sets import pixels

from lib import datasets
from lib.book import notebooks
from lib.datasets import bundled, further
from lib.runtime import fingerprint

ROOT = Path(__file__).resolve().parents[2]
CHAPTER = notebooks.read(ROOT / "chapters" / "02_low_data_transfer.ipynb")


@pytest.mark.parametrize("name", [*bundled.SETS, *further.SETS])
def test_a_set_inside_a_library_is_as_load_promises(name):
    train, test = datasets.pair(name)
    assert train.classes == test.classes and len(train.y.unique()) == len(train.classes)
    assert not set(pixels(train)) & set(pixels(test))
    assert datasets.load(name).x.equal(train.x)
    assert datasets.load(name, "test", size=16).x.shape == (len(test), 3, 16, 16)


def mark(folder):
    """The fingerprint of a chapter that loads all sets that come with the book."""
    return fingerprint.notebook(CHAPTER, folder)


@pytest.fixture(scope="module")
def before():
    return mark(ROOT / "lib")


@pytest.fixture
def copy(tmp_path):
    """A copy of lib, to be edited, beside the data that chapters read."""
    (tmp_path / "data").symlink_to(ROOT / "data")
    return shutil.copytree(ROOT / "lib", tmp_path / "lib", ignore=shutil.ignore_patterns("__py*"))


ADDED = '''
def halves(split, size):
    """Light and dark squares."""
    import torch
    y = torch.arange(40) % 2
    x = (100 * y + torch.arange(40) + (50 if split == "test" else 0)).byte()
    return Images(x[:, None, None, None].repeat(1, 3, size, size), y, ("dark", "light"))


SETS["halves"] = halves
'''


def add(copy):
    with (copy / "datasets" / "further.py").open("a") as file:
        file.write(ADDED)


def test_a_new_set_makes_nothing_stale(copy, before):
    add(copy)
    known = copy / "datasets" / "torchvision_sets.py"
    known.write_text(known.read_text().replace('"cifar10": Known(', '"cifar": Known('))
    assert mark(copy) == before


@pytest.mark.long
def test_a_new_set_is_one_edit_of_lib(copy):
    add(copy)
    code = "from lib import datasets; print(*map(len, datasets.pair('Halves')), datasets.NAMES[4])"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=copy.parent, capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == ["40", "40", "halves"]


def test_how_the_default_sets_are_made_counts(copy, before):
    file = copy / "datasets" / "bundled.py"
    assert re.search(r"/ 16 \* 255", file.read_text())
    file.write_text(file.read_text().replace("/ 16 * 255", "/ 15 * 255"))
    assert mark(copy) != before
