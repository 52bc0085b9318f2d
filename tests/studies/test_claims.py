"""The claims as fixed, and the verdicts on what was measured."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.multitest import multipletests

from lib.random_effects import effect
from lib.studies import claims


def measured(mean, spread):
    """Return the effect of a table of seven targets and six seeds."""
    noise = np.random.default_rng(0).normal(size=(7, 6))
    y = mean + spread * (noise - noise.mean())
    cells = [{"target": t, "source_seed": s, "gain": y[t, s]} for t, s in np.ndindex(7, 6)]
    return effect(pd.DataFrame(cells), "gain")


def test_every_claim_is_whole():
    assert len(claims.claims()) == 7
    for claim in claims.claims():
        assert claim.expected in claims.VERDICTS
        assert claim.smallest_effect > 0
        assert claim.paper.endswith(".") and claims.rules()["claims"][claim.name]["contrast"]
    assert set(claims.rules()["verdicts"]) == set(claims.VERDICTS)


@pytest.mark.parametrize(
    ("mean", "spread", "word"),
    [(5, 1, "higher"), (-5, 1, "lower"), (0.2, 0.5, "equivalent"), (1, 30, "undecided")],
)
def test_the_four_verdicts(mean, spread, word):
    judged = claims.judge({"better": measured(mean, spread)})
    assert judged.verdict.tolist() == [word]


def test_a_sure_but_small_effect_is_equivalent():
    judged = claims.judge({"better": measured(1, 0.1)})
    assert judged.p[0] < 0.05
    assert judged.verdict[0] == "equivalent"


def test_holm_is_the_usual_one():
    p = np.random.default_rng(0).uniform(0, 0.1, size=7)
    ours = claims.holm({str(i): v for i, v in enumerate(p)}, of=7)
    expected = multipletests(p, method="holm")[1]
    assert [ours[str(i)] for i in range(7)] == pytest.approx(list(expected))


def test_measuring_another_claim_takes_no_verdict_back():
    means = zip(claims.claims(), (5, 3, 8, 6, 4, 7, 2), strict=True)
    effects = [(claim.name, measured(mean, 10)) for claim, mean in means]
    judged = [claims.judge(dict(effects[:known])) for known in range(1, 8)]
    for before, after in pairwise(judged):
        assert (after.p[: len(before)] <= before.p).all()
        assert after.low[: len(before)].equals(before.low)


@pytest.mark.parametrize(("p", "word"), [(0.049, "higher"), (0.051, "undecided")])
def test_0_is_rejected_at_the_level_of_the_file(p, word):
    assert claims.rules()["statistics"]["level"] == 0.95
    assert claims.verdict(9, -1, 19, p, 2) == word


def test_where_nothing_was_measured_nothing_is_judged():
    assert claims.judge({}).empty and list(claims.judge({})) == claims.JUDGED
