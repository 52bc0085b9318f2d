import pytest
import toy_book

from lib.book import __main__ as book


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A toy clone, on which the command line works; the folder is the one it lies in."""
    root = tmp_path / "a {clone}"  # papermill takes braces in a path for parameters
    toy_book.make(root)
    monkeypatch.setattr(book, "ROOT", root)
    monkeypatch.chdir(tmp_path)
    return root
