import pandas as pd
import pytest

from lib.constraint import MIXED_TEXTURES, NATURAL, Constraint
from lib.studies import radii


def test_every_rung_is_attacked_at_its_own_radius():
    found = radii.with_own(l2=[0.5, 3, 0.3], linf=[])
    assert found["l2"] == [0, 0.125, 0.25, 0.3, 0.5, 1, 2, 3]
    assert found["linf"] == pytest.approx([k / 255 for k in (0, 1, 2, 4, 8, 16)])
    for eps in found["l2"][1:]:
        assert radii.with_own(l2=[eps])["l2"] == sorted({0, *radii.DOUBLING["l2"], eps})


def test_the_radius_of_a_rung_takes_the_place_of_one_that_is_next_to_it():
    found = radii.with_own(linf=[0.0157])["linf"]  # 4/255, rounded
    assert found == [0, 1 / 255, 2 / 255, 0.0157, 8 / 255, 16 / 255]
    assert [f"{255 * eps:.3g}" for eps in found] == ["0", "1", "2", "4", "8", "16"]


def test_other_norms_are_unknown():
    with pytest.raises(KeyError, match="l1"):
        radii.with_own(l1=[1])


def test_of_each_robust_source_the_attack_that_it_was_trained_against_is_kept():
    sources = NATURAL, MIXED_TEXTURES, Constraint("l2", 0.25), Constraint("linf", 0.25)
    rows = [(c, norm, eps) for c in sources for norm in ("l2", "linf") for eps in (0, 0.25, 0.5)]
    found = radii.at_own(pd.DataFrame(rows, columns=["constraint", "norm", "attack_eps"]))
    kept = list(found.itertuples(index=False, name=None))
    assert kept == [(sources[2], "l2", 0.25), (sources[3], "linf", 0.25)]
    assert radii.at_own(found[:0]).empty
