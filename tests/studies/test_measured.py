"""Tables that were measured elsewhere, and the chapters that show them."""

import nbformat.v4 as v4
import pytest

from lib.runtime import fingerprint


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("photographs_heads", True),
        ("resnet18_heads", True),
        ("my-own_depths", True),
        ("provenance", False),
        ("evidence", False),
    ],
)
def test_every_table_makes_stale_what_reads_tables_and_no_table_of_runs_does(
    tmp_path, name, counts
):
    (tmp_path / "lib").symlink_to(fingerprint.HERE)
    (tmp_path / "data" / "results").mkdir(parents=True)
    nb = v4.new_notebook(cells=[v4.new_code_cell("from lib.studies import measured")])
    marks = [fingerprint.notebook(nb, tmp_path / "lib")]
    for text in ("a\n1\n", "a\n2\n"):
        (tmp_path / "data" / "results" / f"{name}.csv").write_text(text)
        marks.append(fingerprint.notebook(nb, tmp_path / "lib"))
    assert len(set(marks)) == (3 if counts else 1)
