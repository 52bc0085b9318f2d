"""Effects over targets and seeds: against the formulas' own terms, REML, and simulation."""

import numpy as np
import pandas as pd
import pytest

from lib.random_effects import effect


def tidy(y):
    """Make rows of a table of targets by seeds."""
    return pd.DataFrame(
        {"target": f"target {t}", "source_seed": s, "gain": y[t, s]}
        for t, s in np.ndindex(*y.shape)
    )


def drawn(rng, targets, seeds, spread):
    """Draw a table of mean 0 with standard deviations of target, seed and rest."""
    a, b = rng.normal(size=(targets, 1)), rng.normal(size=seeds)
    return spread[0] * a + spread[1] * b + spread[2] * rng.normal(size=(targets, seeds))


def test_it_is_what_restricted_maximum_likelihood_finds():
    from statsmodels.regression.mixed_linear_model import MixedLM

    rows = tidy(3 + drawn(np.random.default_rng(4), 9, 8, (2, 1.5, 1)))
    ours = effect(rows, "gain")
    crossed = {"target": "0 + C(target)", "seed": "0 + C(source_seed)"}
    fitted = MixedLM.from_formula(
        "gain ~ 1", rows.assign(all=1), groups="all", vc_formula=crossed, re_formula="0"
    ).fit(method="lbfgs")
    by_name = dict(zip(fitted.model.exog_vc.names, fitted.vcomp, strict=True))
    assert ours.mean == pytest.approx(fitted.params["Intercept"], abs=1e-6)
    assert ours.spread["target"] == pytest.approx(by_name["target"], rel=0.02)
    assert ours.spread["seed"] == pytest.approx(by_name["seed"], rel=0.02)
    assert ours.spread["rest"] == pytest.approx(fitted.scale, rel=0.02)
    assert ours.se == pytest.approx(fitted.bse["Intercept"], rel=0.02)


def test_targets_alone_are_a_plain_t_interval_over_targets():
    from scipy.stats import ttest_1samp

    y = np.random.default_rng(0).normal(1, 1, size=(7, 1)) + np.zeros((7, 6))
    plain = ttest_1samp(y[:, 0], 0)
    ours = effect(tidy(y), "gain")
    assert ours.p == pytest.approx(plain.pvalue)
    assert ours.interval() == pytest.approx(tuple(plain.confidence_interval()))
    assert ours.df == pytest.approx(6)


def test_subsets_of_a_cell_are_averaged_and_signs_of_seeds_counted():
    rows = tidy(np.array([[1.0, -2.0], [3.0, -4.0]]))
    twice = pd.concat([rows.assign(gain=rows.gain - 1), rows.assign(gain=rows.gain + 1)])
    assert effect(twice, "gain") == effect(rows, "gain")
    found = effect(rows, "gain")  # means of the seeds: 2 and −3, of all: −0.5
    assert (found.same_sign, found.seeds) == (1, 2)
    assert effect(rows.assign(gain=-rows.gain), "gain").same_sign == 1
    assert effect(rows.assign(gain=rows.gain.abs()), "gain").same_sign == 2


@pytest.mark.parametrize("spread", [(1, 1, 1), (3, 0.5, 0.5), (0.1, 2, 0.5), (0.1, 0.1, 1)])
def test_the_intervals_cover_what_they_promise(spread):
    rng, covered, predicted, draws = np.random.default_rng(1), 0, 0, 300
    for _ in range(draws):
        y = drawn(rng, 8, 6, spread)
        ours = effect(tidy(y[:7]), "gain")
        covered += ours.interval()[0] <= 0 <= ours.interval()[1]
        predicted += ours.prediction()[0] <= y[7].mean() <= ours.prediction()[1]
    three_deviations = 3 * (0.95 * 0.05 / draws) ** 0.5
    assert covered / draws > 0.95 - three_deviations
    assert predicted / draws > 0.95 - three_deviations


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (np.zeros((2, 1)), "2 targets and 1 seeds"),
        (np.array([[1.0, 2.0], [np.nan, 3.0]]), "target 1 and source_seed 0"),
    ],
)
def test_what_cannot_be_estimated_is_refused(y, words):
    with pytest.raises(ValueError, match=words):
        effect(tidy(y), "gain")


def test_a_missing_cell_is_refused():
    with pytest.raises(ValueError, match="no number for target target 1"):
        effect(tidy(np.ones((2, 2))).iloc[:-1], "gain")

    nothing = np.ones((3, 4))
    nothing[:, 2] = np.nan
    with pytest.raises(ValueError, match="no number for target target 0 and source_seed 2"):
        effect(tidy(nothing), "gain")
    nothing[:, 2], nothing[1, 3] = 1, np.inf
    with pytest.raises(ValueError, match="no number for target target 1 and source_seed 3"):
        effect(tidy(nothing), "gain")


def test_where_all_cells_agree_only_zero_is_not_rejected():
    assert effect(tidy(np.zeros((2, 3))), "gain").p == 1
    assert effect(tidy(np.ones((2, 3))), "gain").p == 0


def test_no_interval_passes_what_a_difference_of_shares_can_be():
    found = effect(tidy(np.array([[-90.0, 80.0], [95.0, 70.0]])), "gain")
    assert found.interval() == found.prediction() == (-100, 100)
