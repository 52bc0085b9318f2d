import re

import pytest
from IPython.core.interactiveshell import InteractiveShell

from lib.runtime import rules
from lib.runtime.rules import ParameterError, check


def dataset(name, value):
    if value not in ("digits", "faces"):
        raise ValueError(f"there is no data set {value!r}")


RULES = {
    "unfrozen_blocks": rules.integer(-1, 16),
    "eps": rules.number(0, 16),
    "seeds": rules.integers(0, 10**6),
    "ladder": rules.numbers(0, 4),
    "device": rules.one_of("auto", "cpu", "cuda"),
    "fast": rules.flag,
    "note": rules.text,
    "target": dataset,
    "targets": rules.each(dataset),
}
DEFAULTS = {
    "unfrozen_blocks": 0,
    "eps": 0.5,
    "seeds": [0, 1],
    "ladder": [0, 0.25],
    "device": "auto",
    "fast": False,
    "note": "none",
    "target": "digits",
    "targets": ["digits", "faces"],
}


def fresh(**changes):
    kernel = {"In": [""], "Out": {}, "_": "", "__name__": "__main__", "_i1": "x", "re": re}
    return kernel | {"check": check, "Path": type, "quit": object()} | DEFAULTS | changes


def test_defaults_pass_and_are_returned():
    assert check(fresh(), RULES) == DEFAULTS


@pytest.mark.parametrize(
    ("name", "value"),
    [("eps", 16), ("unfrozen_blocks", -1), ("seeds", (3,)), ("ladder", [4]), ("fast", True)],
)
def test_allowed(name, value):
    check(fresh(**{name: value}), RULES)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("unfrozen_blocks", 17, "a whole number from -1 to 16; given 17 (int)"),
        ("unfrozen_blocks", 1.0, "given 1.0 (float)"),
        ("unfrozen_blocks", True, "given True (bool)"),
        ("unfrozen_blocks", "1", "given '1' (str)"),
        ("unfrozen_blocks", 10**400, "given 1000"),
        ("eps", float("nan"), "a number from 0 to 16; given nan (float)"),
        ("eps", float("inf"), "given inf (float)"),
        ("eps", False, "given False (bool)"),
        ("eps", None, "given None (NoneType)"),
        ("seeds", 0, 'as in -y "seeds: [0, 1]"'),
        ("seeds", [], "neither empty nor with two that look alike"),
        ("seeds", [1, 1], "neither empty nor with two that look alike"),
        ("seeds", [0, "1"], "seeds[1] must be a whole number from 0 to 1000000; given '1' (str)"),
        ("ladder", "[0.25]", 'as in -y "ladder: [0.25, 0.5]"'),
        ("ladder", [5.0], "ladder[0] must be a number from 0 to 4"),
        ("device", "gpu", "one of auto, cpu, cuda; given 'gpu' (str)"),
        ("fast", "False", "True or False; given 'False' (str)"),
        ("fast", 0, "True or False; given 0 (int)"),
        ("note", " ", "text, not empty"),
        ("target", "digit", "target: there is no data set 'digit'"),
        ("targets", ["digits", "cats"], "targets: there is no data set 'cats'"),
    ],
)
def test_refused_in_one_line(name, value, message):
    with pytest.raises(ParameterError, match=re.escape(message)) as caught:
        check(fresh(**{name: value}), RULES)
    assert str(caught.value).startswith(name)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


def annotated(**values):
    """A fresh kernel of which the parameters cell is annotated."""
    kinds = {name: type(value) for name, value in DEFAULTS.items()}
    return fresh(**values) | {"__annotations__": kinds}


def test_text_that_papermill_made_a_number_of_is_text_again():
    rules_of_text = RULES | {"target": rules.text}
    kernel = annotated(target=2024)
    assert check(kernel, rules_of_text)["target"] == "2024" == kernel["target"]
    assert check(annotated(unfrozen_blocks=5), RULES)["unfrozen_blocks"] == 5


@pytest.mark.parametrize("name", ["007", "+7", "0_7"])
def test_a_number_that_may_be_the_name_of_two_is_refused(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rules_of_text = RULES | {"target": rules.text}
    (tmp_path / "7").mkdir()
    assert check(annotated(target=7), rules_of_text)["target"] == "7"
    (tmp_path / name).mkdir()
    with pytest.raises(ParameterError, match=f"text, as {re.escape(name)} may have been meant"):
        check(annotated(target=7), rules_of_text)
    assert check(annotated(target="7"), rules_of_text)["target"] == "7"


@pytest.mark.parametrize("value", [1e-3, True, None, ["a"]])
def test_what_is_lost_of_a_text_is_said(value):
    with pytest.raises(ParameterError) as caught:
        check(annotated(target=value), RULES)
    assert str(caught.value).startswith("target must be text (text goes by papermill's -r target")
    assert f"given {value!r}" in str(caught.value)


def test_a_number_whose_text_names_nothing_may_have_lost_its_zeros():
    with pytest.raises(ParameterError, match=r"no data set '7'; a number was given, .*-r target"):
        check(annotated(target=7), RULES)
    with pytest.raises(ParameterError, match=r"no data set 'seven'$"):
        check(annotated(target="seven"), RULES)


@pytest.mark.parametrize("value", ["1e-3", "-1E+2"])
def test_a_number_that_yaml_takes_for_text(value):
    with pytest.raises(ParameterError, match=r"a number from 0 to 16 \(1e-3 is 1.0e-3 in YAML\)"):
        check(fresh(eps=value), RULES)


@pytest.mark.parametrize("value", [[0.25, 0.2500001], [1, 1.0], [0.1, 0.3, 0.1]])
def test_two_that_figures_show_alike_are_refused(value):
    with pytest.raises(ParameterError, match="nor with two that look alike"):
        check(fresh(ladder=value), RULES)
    check(fresh(ladder=[0.25, 0.25001]), RULES)


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(ParameterError) as caught:
        check(fresh(unfrozen_block=1), RULES)
    assert str(caught.value) == (
        "unfrozen_block is not a parameter of this chapter; did you mean unfrozen_blocks? "
        f"Parameters: {', '.join(RULES)}"
    )


def test_run_again_by_hand_it_leaves_the_chapters_own_variables_alone():
    kernel = fresh()
    check(kernel, RULES)
    kernel.update(rows=[1, 2], mean=0.5)
    check(kernel, RULES)
    with pytest.raises(ParameterError, match="eps must be"):
        check(kernel | {"eps": -1}, RULES)


def test_ipython_shows_one_line(capsys):
    shell = InteractiveShell()
    shell.user_ns["check"] = check
    shell.run_cell("eps_ = 1; check(globals(), {})")
    shown = capsys.readouterr()
    assert (shown.out + shown.err).strip() == (
        "ParameterError: eps_ is not a parameter of this chapter. Parameters: "
    ).strip()


@pytest.mark.parametrize("error", [OSError("no such file"), ValueError("no such set")])
def test_what_reading_the_data_finds_is_one_line_too(error):
    with pytest.raises(ParameterError, match="no such"), rules.checking():
        raise error
    with pytest.raises(KeyError), rules.checking():
        raise KeyError("a fault of the code")


def test_the_parameters_are_the_annotated_names():
    """As in a kernel, where all cells share one namespace."""
    kernel = {}
    exec("n: int = 2\neps: list = [0.5]\nother = 3", kernel)
    assert rules.annotated(kernel) == {"n": int, "eps": list}
    assert rules.annotated({}) == {}


def test_names_with_commas():
    assert rules.listed("a,  b c ,") == ["a", "b c"] and rules.listed("") == []
