import pickle

import pytest

from lib.attacks import L2, Linf
from lib.constraint import (
    FROM_SCRATCH,
    MIXED_TEXTURES,
    NATURAL,
    UNTRAINED,
    Constraint,
    constraints,
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
    "text",
    ["", "Natural", "l2", "l2 0", "l2 1.2.3", "l2 -1", "l1 0.5", "linf inf", "l2 0.5 0.5", "linf"],
)
def test_anything_else_is_refused(text):
    with pytest.raises(ValueError, match="allowed are natural, l2 EPS and linf EPS") as raised:
        Constraint.parse(text)
    assert repr(text) in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("norm", "eps"), [("natural", 0.1), ("l2", 0), ("linf", -1), ("untrained", 1), ("l2", None)]
)
def test_a_radius_that_does_not_fit_is_refused(norm, eps):
    with pytest.raises((ValueError, TypeError)):
        Constraint(norm, eps)


def test_its_ball_is_that_of_its_norm():
    assert Constraint("l2", 0.5).ball == L2(0.5) and Constraint("linf", 0.1).ball == Linf(0.1)
    assert all(constraint.ball is None for constraint in (NATURAL, *CONTROLS))


def test_the_order_is_that_of_figures_and_tables():
    l2 = [Constraint("l2", eps) for eps in (0.1, 0.25, 2.5, 10)]  # not that of their texts
    linf = [Constraint("linf", eps) for eps in (0.01, 0.1)]
    others = [Constraint("a network from elsewhere"), Constraint("some file")]
    expected = [NATURAL, *l2, *linf, *CONTROLS, *others]
    backwards = expected[::-1]
    assert sorted(backwards) == expected
    assert NATURAL < l2[0] <= l2[0] < linf[0] < UNTRAINED and not UNTRAINED <= NATURAL


def test_equal_constraints_are_one_key():
    assert len({Constraint("l2", 1), Constraint("l2", 1.0), Constraint("linf", 1.0)}) == 2


def test_the_constraints_of_a_ladder():
    found = constraints([0.5, 0.1], [0.02, 0.01])
    assert [c.text for c in found] == ["natural", "l2 0.1", "l2 0.5", "linf 0.01", "linf 0.02"]
    assert constraints([], []) == [NATURAL]
