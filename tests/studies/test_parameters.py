"""One table says what a chapter's parameter means and allows; a check holds it against values."""

import re

import pytest

from lib.networks import small_network
from lib.runtime.rules import ParameterError
from lib.studies import parameters
from lib.studies.parameters import TABLE, check

GOOD = {
    "target": ["digits", "all", "digits, faces"],
    "unfrozen_blocks": [-1, 0, 3],
    "n_max": [0, 800],
    "n_few": [[20, 80]],
    "lr": [0.1, 1],
    "lr_factors": [[], [0.1, 10]],
    "augment": ["none", "paper"],
    "depths": [[0, 1, -1]],
    "kept_l2": [[0.25]],
    "conflicts": ["drawn", "phase"],
    "mapping": [""],
    "doses": [[], [0.0, 0.1]],
    "damping": [1e-4],
    "with_ladder": [True, False],
    "sources": ["", "natural, l2 0.5", "untrained, linf 0.0157, resnet50_l2_eps3"],
    "checkpoints": [""],
    "rows_file": [""],
    "source_data": ["microcosm", "digits"],
    "l2": [[0.1, 0.25]],
    "linf": [[], [0.0157]],
    "device": ["auto", "cpu", "cuda"],
}
BAD = [
    ("target", "digit", "'digit'"),
    ("target", 3, "no text"),
    ("target", "", "target"),
    ("unfrozen_blocks", -2, "from -1 to 1000; given -2 (int)"),
    ("n_max", 1.5, "given 1.5 (float)"),
    ("n_few", [1], "n_few[0] must be a whole number"),
    ("n_few", [20, 20], "duplicates"),
    ("lr", 0, "a number from 1e-06 to 100"),
    ("lr_factors", 3, 'as in -y "lr_factors: '),
    ("augment", "some", "one of none, paper"),
    ("conflicts", " ", "text, not empty"),
    ("mapping", "no/file.csv", "there is no file 'no/file.csv'"),
    ("damping", float("nan"), "given nan"),
    ("with_ladder", "False", "True or False"),
    ("sources", "robust", "there is no source 'robust'"),
    ("sources", ["natural"], "no text"),
    ("checkpoints", "resnet50", "checkpoints"),
    ("rows_file", "no/folder/rows.jsonl", "cannot take rows"),
    ("rows_file", "rows.csv", "name a .jsonl file"),
    ("rows_file", None, "no text"),
    ("source_data", "no/such/folder", "source_data"),
    ("l2", [], "neither empty"),
    ("l2", [0.5, "1"], "l2[1] must be a number"),
    ("linf", [2], "from 0.0001 to 1"),
    ("device", "gpu", "one of auto, cpu, cuda"),
]


def kernel(**values):
    """The globals of a kernel in which a parameters cell with these values has run."""
    return {"__annotations__": dict.fromkeys(values, object), "In": [""], "re": re} | values


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, vs in GOOD.items() for v in vs])
def test_a_value_that_is_allowed_is_returned(name, value):
    assert check(kernel(**{name: value})) == {name: value}


@pytest.mark.parametrize(("name", "value", "message"), BAD)
def test_a_value_that_is_refused_is_one_line(name, value, message):
    with pytest.raises(ParameterError, match=re.escape(message)) as caught:
        check(kernel(**{name: value}))
    assert "\n" not in str(caught.value) and name in str(caught.value)


def test_rows_are_kept_in_a_file_of_rows_alone(tmp_path):
    file = tmp_path / "rows.jsonl"
    check(kernel(rows_file=str(file)))
    file.write_text("notes of mine\n")
    with pytest.raises(ParameterError, match=r"rows_file: .* holds no rows of this book"):
        check(kernel(rows_file=str(file)))


def test_a_misspelt_name_and_one_that_no_table_knows():
    names = kernel(target="digits", epochs=3)
    assert check(names) == {"target": "digits", "epochs": 3}
    with pytest.raises(ParameterError, match=r"^targte is not .* did you mean target\?"):
        check(kernel(target="digits", epochs=3) | {"targte": "faces"})
    with pytest.raises(ParameterError, match="eps is not among the parameters"):
        check(kernel(eps=0.5))


def test_no_more_blocks_are_unfrozen_than_the_sources_have():
    blocks = len(small_network("small_resnet", 2).blocks)
    for name, value in (("unfrozen_blocks", blocks), ("depths", [0, blocks])):
        assert check(kernel(checkpoints="", **{name: value}))[name] == value
        more = blocks + 1 if name == "unfrozen_blocks" else [blocks + 1]
        with pytest.raises(ParameterError, match=f"from -1 to {blocks}"):
            check(kernel(checkpoints="", **{name: more}))


def test_run_again_by_hand_the_chapters_own_variables_are_left_alone():
    names = kernel(epochs=3)
    check(names)
    names.update(accuracy=0.5)
    assert check(names) == {"epochs": 3}


@pytest.mark.parametrize("name", TABLE)
def test_every_parameter_is_explained_and_guarded(name):
    rule, meaning = TABLE[name]
    assert meaning and "=" not in meaning and "\n" not in meaning  # papermill loses such a line
    for value in (object(), b"bytes", -1e9, "\0")[: 3 if name == "conflicts" else None]:
        with pytest.raises((ValueError, OSError)):
            rule(name, value)


def test_a_file_of_a_source_is_named_as_missing(tmp_path):
    with pytest.raises(ValueError, match=r"missing\.pt"):
        parameters.a_source(f"resnet50:{tmp_path}/missing.pt")
