"""The counter of what chapters are made of, on a notebook that has some of everything."""

import counts
import nbformat.v4 as v4

CELLS = [
    ("n: int = 2  # how many\n\neps: float = 0.5", ["parameters"]),
    ("given = check(globals())", []),
    (
        "from lib import x\n\n# why\nplan = [\n    call(k)\n    for k in (1, 2)\n]\n"
        "rows = run(plan)\ntwo = {'a': 1} | other\nrows.plot();",
        [],
    ),
    ("fig = draw(rows)", ["hide-cell"]),
    (
        "%matplotlib inline\nbest = rows.max()\nword = best.name\nsay(\n    word\n)",
        ["remove-input"],
    ),
    ("for name in rows:\n    quote(name=name)", []),
    ("", []),
]


def test_every_line_is_of_one_kind():
    nb = v4.new_notebook(cells=[v4.new_code_cell(c, metadata={"tags": t}) for c, t in CELLS])
    said = v4.new_output("display_data", {"text/markdown": "Two words, 3 $x y$"})
    nb.cells[4].outputs = [said, v4.new_output("display_data", {"text/plain": "none of these"})]
    text = "# A title\n\nIt is {glue:text}`n:.0f` and $a b$.\n\n```{code}\nnot these\n```\n"
    nb.cells.append(v4.new_markdown_cell(text))
    found = counts.count(nb)
    assert found["kinds"] == {
        "parameters": 2,
        "set-up": 3,  # the check, the import, the hidden cell
        "routing": 6,  # with the comment above
        "sentences": 7,  # best and word are for these alone
        "study": 3,  # the run, the plot, the magic
    }
    assert found["cells"] == [2, 1, 9, 1, 6, 2]
    assert (found["prose"], found["said"], found["glue"]) == (6, 2, 1)
    both = counts.together([found, found])
    assert both["prose"] == 12 and both["kinds"]["study"] == 6 and len(both["cells"]) == 12
    assert counts.line("all", found).split()[:3] == ["all", "21", "2"]
