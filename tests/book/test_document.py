"""What papermill makes of a chapter becomes a readable document by nbconvert."""

import nbformat.v4 as v4
import papermill
import pytest
import toy_book

SAYS = """
from IPython.display import Markdown
Markdown(f"The double of {n} is **{2 * n}**.")
"""


@pytest.mark.parametrize("name", ["01_first", "02_second"])  # the second has widgets
def test_a_notebook_of_papermill_becomes_a_document(tmp_path, monkeypatch, name):
    # Imported here: where it is missing this test fails, and the others of the run go on.
    from nbconvert import HTMLExporter

    root, out = tmp_path / "clone", tmp_path / "mine.ipynb"
    toy_book.make(root)
    monkeypatch.setenv("PYTHONPATH", str(root))  # of the kernel, which else finds this lib
    path = root / "chapters" / f"{name}.ipynb"
    toy_book.change(path, lambda nb: nb.cells.append(v4.new_code_cell(SAYS.strip())))
    how = {"kernel_name": "python3", "language": "python", "cwd": root, "progress_bar": False}
    papermill.execute_notebook(path, out, {"n": 4}, **how)
    document, _ = HTMLExporter().from_filename(str(out))
    assert "The double of 4 is <strong>8</strong>." in document
    assert "Traceback" not in document
