"""One table says what a chapter's parameter means and allows; a check holds it against values."""

import re
from pathlib import Path

import pytest
from generated import nested
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.networks import small_network
from lib.runtime import scheduler
from lib.runtime.rules import ParameterError
from lib.studies import parameters
from lib.studies.parameters import TABLE, check
from lib.zoo import shipped

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
    "damping": [1e-4],
    "with_ladder": [True, False],
    "sources": [
        "",
        "natural, l2 0.5",
        "untrained, linf 0.0157, resnet50_l2_eps3",
        "ℓ∞ 4/255, noise 0.1",
    ],
    "checkpoints": [""],
    "rows_file": [""],
    "source_data": ["microcosm", "digits", "photographs"],
    "l2": [[0.1, 0.25]],
    "linf": [[], [0.0157]],
    "more_sources": ["", "noise 0.1, low-pass 0.15", "natural until 0.6,ℓ2 0.5, natural"],
    "device": ["auto", "cpu", "cuda"],
    "cluster": ["", "tcp://10.0.0.1:8786", "tls://node-7.example:1", "tcp://[::1]:8786"],
}
BAD = [
    ("target", "digit", "'digit'"),
    ("target", 3, "no text"),
    ("target", "", "target"),
    ("unfrozen_blocks", -2, "from -1 to 1000; given -2 (int)"),
    ("n_max", 1.5, "given 1.5 (float)"),
    ("n_few", [1], "n_few[0] must be a whole number"),
    ("n_few", [20, 20], "two that look alike"),
    ("lr", 0, "a number from 1e-06 to 100"),
    ("lr_factors", 3, 'as in -y "lr_factors: '),
    ("lr_factors", [0.3, 1, 3], "lr_factors: 1 is lr itself"),
    ("augment", "some", "one of none, crops, paper"),
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
    ("l2", [0.25, 0.2500001], "two that look alike"),
    ("linf", [0.0157, 0.015686], "linf 0.015686 and linf 0.0157 are both shown as ℓ∞ 4/255"),
    ("more_sources", "noise", "constraint is 'noise'; allowed are natural, l2 EPS"),
    ("more_sources", "noise 0", "noise is 0.0; allowed is a number above 0"),
    ("more_sources", "untrained", "'untrained' is not trained; allowed are natural, l2 EPS"),
    ("more_sources", 0.1, "more_sources"),
    ("device", "gpu", "one of auto, cpu, cuda"),
    ("cluster", "localhost:8786", "as in tcp://127.0.0.1:8786, or nothing"),
    ("cluster", "tcp://host", "no address of a Dask scheduler"),
    ("cluster", 8786, "no text"),
]


def kernel(**values):
    """The globals of a kernel in which a parameters cell with these values has run."""
    return {"__annotations__": dict.fromkeys(values, object), "In": [""], "re": re} | values


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, vs in GOOD.items() for v in vs])
def test_a_value_that_is_allowed_is_returned(name, value, monkeypatch):
    monkeypatch.setattr(scheduler, "check", lambda address: None)  # every scheduler answers
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


def test_a_cluster_is_asked_when_it_is_named_and_then_alone(monkeypatch):
    asked = []

    def no_worker(address):
        asked.append(address)
        raise ParameterError(f"cluster: the scheduler {address} has no worker")

    monkeypatch.setattr(scheduler, "check", no_worker)
    check(kernel(cluster=""))
    with pytest.raises(ParameterError, match=r"^cluster: 'here' is no address"):
        check(kernel(cluster="here"))
    with pytest.raises(ParameterError, match=r"^cluster: the scheduler tcp://x:1 has no worker$"):
        check(kernel(cluster="tcp://x:1"))
    assert asked == ["tcp://x:1"]


def test_sources_that_figures_would_call_the_same_are_refused():
    with pytest.raises(ParameterError, match="both shown as ℓ∞ 4/255; give only one"):
        check(kernel(linf=[0.0157, 0.015686]))
    with pytest.raises(ParameterError, match=r"both shown as ℓ2 0\.25"):
        check(kernel(l2=[0.25], more_sources="l2 0.2500001"))


def test_sources_that_come_with_the_book_cannot_be_told_how_to_learn(monkeypatch):
    usual = {"source_data": "photographs", "n_source": 2500, "source_epochs": 6, "attack_steps": 1}
    assert check(kernel(**usual)) == usual
    for name in ("n_source", "source_epochs", "attack_steps"):
        assert check(kernel(**usual | {name: 7, "source_data": "digits"}))[name] == 7
        with pytest.raises(ParameterError, match=f"{name} is 7, but the sources that learned"):
            check(kernel(**usual | {name: 7}))


def test_a_source_that_comes_with_the_book_is_known_by_its_name(tmp_path, monkeypatch):
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    with pytest.raises(ValueError, match=r"comes with the book; .* has none"):
        parameters.a_source("photographs l2 0.5")
    how = {"constraint": "l2", "amount": 0.5, "seed": 4, "arch": "small_resnet", "width": 2}
    shipped.write(small_network("small_resnet", 2, 2), {"parameters": how, "classes": 2})
    parameters.a_source("photographs l2 0.5")
    listed = r"those that do are l2 0\.5 \(seeds 4\)"
    with pytest.raises(ParameterError, match=listed):
        check(kernel(sources="natural, photographs l2 0.25"))
    with pytest.raises(ParameterError, match=r"others are untrained, photographs l2 0\.5, ARCH:"):
        check(kernel(sources="photo l2"))


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


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.dates(),
    st.binary(max_size=4),
    st.text(max_size=30),
    st.sampled_from(
        ["", " ", ",", "1e-3", "0x10", "~", "~nobody/x", "..", "/", "\0", "a\nb", "=", "a=b", "a:b",
         "l2", "l2 0.5=", "natural=:", "small_resnet:x", "torchvision:resnet18:x", "timm:x:y",
         "resnet50:\0", "x" * 5000, "ä" * 300, "\ud800", "noise 1e999", "digits,,faces", "all,all",
         str(Path(__file__)), str(Path(__file__).parent)],
    ),
)  # fmt: skip
VALUES = nested(SCALARS, size=4, leaves=6)
KINDS_OF_VALUES = st.sampled_from([str, int, float, list, bool])


def is_accepted_or_refused_in_one_line(name, value, kind):
    """Hold one value against its rule, as the first cell of a chapter does."""
    try:
        check({"__annotations__": {name: kind}, name: value})
    except ParameterError as error:
        assert len(str(error).splitlines()) == 1 and name in str(error)


@given(st.sampled_from(sorted(TABLE)), VALUES, KINDS_OF_VALUES)
@settings(max_examples=150, deadline=None)
def test_whatever_yaml_holds_is_accepted_or_refused_in_one_line(name, value, kind):
    is_accepted_or_refused_in_one_line(name, value, kind)


@pytest.mark.long
@pytest.mark.parametrize("name", TABLE)
@given(value=VALUES, kind=KINDS_OF_VALUES)
@settings(max_examples=250, deadline=None)
def test_many_values_are_accepted_or_refused_in_one_line(name, value, kind):
    is_accepted_or_refused_in_one_line(name, value, kind)
