import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.attacks import L2, Linf
from lib.constraint import (
    FROM_SCRATCH,
    MIXED_TEXTURES,
    NATURAL,
    ORDER,
    UNTRAINED,
    Constraint,
    check_shown,
    constraints,
    middle,
)

CONTROLS = [MIXED_TEXTURES, UNTRAINED, FROM_SCRATCH]


@pytest.mark.parametrize(
    ("constraint", "label", "text"),
    [
        (NATURAL, "natural", "natural"),
        (Constraint("l2", 0.25), "ℓ2 0.25", "l2 0.25"),
        (Constraint("l2", 3), "ℓ2 3", "l2 3"),
        (Constraint("linf", 0.0157), "ℓ∞ 4/255", "linf 0.0157"),
        (Constraint("linf", 0.5 / 255), "ℓ∞ 0.5/255", f"linf {0.5 / 255!r}"),
        (Constraint("noise", 0.1), "noise 0.1", "noise 0.1"),
        (Constraint("low-pass", 0.15), "low-pass 0.15", "low-pass 0.15"),
        (Constraint("natural until", 0.6), "natural until 0.6", "natural until 0.6"),
        (UNTRAINED, "untrained", "untrained"),
        (FROM_SCRATCH, "from scratch", "from scratch"),
    ],
)
def test_it_names_itself(constraint, label, text):
    assert str(constraint) == f"{constraint}" == label and constraint.text == text
    assert f"{constraint:>12}" == f"{label:>12}"


@pytest.mark.parametrize("eps", [0.25, 3, 4 / 255, 1 / 3, 1e-5, 8 / 255])
@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_what_it_is_called_is_read_as_the_same(norm, eps):
    constraint = Constraint(norm, eps)
    assert Constraint.parse(constraint.text) == constraint
    assert pickle.loads(pickle.dumps(constraint)) == constraint


def test_controls_are_read_too():
    for constraint in (NATURAL, *CONTROLS):
        assert Constraint.parse(constraint.text) == constraint


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ℓ2 0.5", Constraint("l2", 0.5)),
        ("ℓ∞ 4/255", Constraint("linf", 4 / 255)),
        ("linf 4/255", Constraint("linf", 4 / 255)),
        (" L2  .5 ", Constraint("l2", 0.5)),
        ("l2 5e-1", Constraint("l2", 0.5)),
        ("Natural", NATURAL),
        ("Low-Pass 1/8", Constraint("low-pass", 0.125)),
        ("From Scratch", FROM_SCRATCH),
    ],
)
def test_what_figures_and_people_call_it_is_read_too(text, expected):
    assert Constraint.parse(text) == expected


@pytest.mark.parametrize(
    "text", ["", "l2", "l1 0.5", "l2 0.5 0.5", "linf", "robust", "natural 0.5", "noise", "until 1"]
)
def test_a_name_that_is_none_is_refused(text):
    with pytest.raises(ValueError, match="allowed are natural, l2 EPS, linf EPS, noise") as raised:
        Constraint.parse(text)
    assert repr(text) in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "text",
    ["l2 0", "l2 1.2.3", "l2 -1", "linf inf", "ℓ2 1/0", "linf 4/", "l2 nan", "noise x", "l2 1/2/3",
     "natural until 1.1"],
)  # fmt: skip
def test_a_number_that_is_none_is_refused(text):
    with pytest.raises(ValueError, match=r"(l2|linf|noise|natural until) is .*; allowed is"):
        Constraint.parse(text)


def is_read_or_refused_in_one_line(text):
    """Read a text; what is read is the same when read again."""
    try:
        found = Constraint.parse(text)
    except ValueError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert Constraint.parse(found.text) == found


TEXTS = st.one_of(
    st.text(max_size=20),
    st.tuples(st.sampled_from([*ORDER, "ℓ2", "ℓ∞"]), st.text("0123456789.e-+/ _", max_size=9)).map(
        " ".join
    ),
)


@given(TEXTS)
@settings(max_examples=60, deadline=None)
def test_any_text_is_read_or_refused_in_one_line(text):
    is_read_or_refused_in_one_line(text)


@pytest.mark.long
@given(TEXTS)
@settings(max_examples=5000, deadline=None)
def test_many_texts_are_read_or_refused_in_one_line(text):
    is_read_or_refused_in_one_line(text)


@pytest.mark.parametrize(
    ("norm", "eps"), [("natural", 0.1), ("l2", 0), ("linf", -1), ("untrained", 1), ("l2", None)]
)
def test_an_amount_that_does_not_fit_is_refused(norm, eps):
    with pytest.raises((ValueError, TypeError)):
        Constraint(norm, eps)


def test_its_ball_is_that_of_its_norm():
    assert Constraint("l2", 0.5).ball == L2(0.5) and Constraint("linf", 0.1).ball == Linf(0.1)
    assert all(constraint.ball is None for constraint in (NATURAL, *CONTROLS))


def test_the_order_is_that_of_figures_and_tables():
    l2 = [Constraint("l2", eps) for eps in (0.1, 0.25, 2.5, 10)]  # not that of their texts
    linf = [Constraint("linf", eps) for eps in (0.01, 0.1)]
    others = [Constraint("a network from elsewhere"), Constraint("some file")]
    kinds = [Constraint("noise", 0.1), Constraint("noise", 0.2), Constraint("low-pass", 0.1)]
    expected = [NATURAL, *l2, *linf, *kinds, *CONTROLS, *others]
    backwards = expected[::-1]
    assert sorted(backwards) == expected
    assert NATURAL < l2[0] <= l2[0] < linf[0] < UNTRAINED and not UNTRAINED <= NATURAL


def test_equal_constraints_are_one_key():
    assert len({Constraint("l2", 1), Constraint("l2", 1.0), Constraint("linf", 1.0)}) == 2


def test_the_constraints_of_a_ladder():
    found = constraints([0.5, 0.1], [0.02, 0.01])
    assert [c.text for c in found] == ["natural", "l2 0.1", "l2 0.5", "linf 0.01", "linf 0.02"]
    assert constraints([], []) == [NATURAL]
    more = constraints([0.5], [], ["low-pass 0.1", "ℓ2 0.5", "natural", "noise 0.2", "l2 0.1"])
    assert [c.text for c in more] == [
        "natural", "l2 0.1", "l2 0.5", "noise 0.2", "low-pass 0.1",
    ]  # fmt: skip


def test_those_that_figures_would_call_the_same_are_refused():
    one, near = Constraint("l2", 3), Constraint("l2", 3.0000001)
    check_shown([one, one, NATURAL, Constraint("linf", 3), Constraint("l2", 3.1)])
    said = "^l2 3 and l2 3.0000001 are both shown as ℓ2 3; give only one$"
    for refused in (
        lambda: check_shown([near, Constraint("linf", 3), one]),
        lambda: constraints([3, 3.0000001], []),
        lambda: constraints([3], [], ["l2 3.0000001"]),
    ):
        with pytest.raises(ValueError, match=said):
            refused()


@pytest.mark.parametrize(("radii", "expected"), [([1], 1), ([2, 1], 1), ([3, 1, 2], 2)])
def test_the_middle_of_two_is_the_weaker(radii, expected):
    found = middle([Constraint("l2", radius) for radius in radii])
    assert found == Constraint("l2", expected)
