import pytest
import yaml

from lib.runtime import yamls


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", 7),
        ("1_000", 1000),
        ("0x1F", 31),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e-3", 1e-3),
        ("1.5e3", 1500.0),
        ("e3", "e3"),
        ("1e3x", "1e3x"),
        ("-2.E+3", -2e3),
        (".5e1", 5.0),
        ("1:30", "1:30"),
        ("-1:1:1.5", "-1:1:1.5"),
        ("1:" * 200 + "1.5", "1:" * 200 + "1.5"),
        ("2024-01-02", "2024-01-02"),
        ("<<", "<<"),
        ("no", False),
        ("~", None),
        ("[1, [2, x]]", [1, [2, "x"]]),
        ("{a: {b: {c: 1}}}", {"a": {"b": {"c": 1}}}),
        ("[a, &b 1]", ["a", 1]),
    ],
)
def test_what_yaml_means(text, value):
    found = yaml.load(text, yamls.Loader)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[&a 1, *a]", r"^\*a is an alias; write out what it stands for$"),
        ("&a [*a]", r"^\*a is an alias"),
        ("{a: &a {b: 1}, <<: *a}", r"^\*a is an alias"),
        ("[[[[1]]]]", "^it is nested more than 4 levels deep$"),
        ("{a: {b: {c: [1]}}}", "^it is nested more than 4 levels deep$"),
        ("[" * 5000, "^it is nested more than 4 levels deep$"),
    ],
)
def test_what_might_have_no_end_is_refused(text, said):
    with pytest.raises(ValueError, match=said):
        yaml.load(text, yamls.Loader)


@pytest.mark.parametrize(
    "text", ["!!timestamp x", "!!bool x", "!!int x", "!!float " + "1:" * 200 + "1.5", "[", "!!x 1"]
)
def test_whatever_pyyaml_stumbles_over_is_among_the_errors(text):
    with pytest.raises(yamls.ERRORS):
        yaml.load(text, yamls.Loader)


def test_a_long_number_that_is_none_is_read_at_once():
    # So long that a look at every pair of its digits would not end before the test is stopped.
    assert isinstance(yaml.load("1" * 1_000_000 + "x", yamls.Loader), str)
