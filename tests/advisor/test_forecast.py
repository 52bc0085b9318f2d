import numpy as np
import pandas as pd
import pytest
from scipy.optimize import curve_fit
from split_rows import rows_of

from lib.advisor import forecast


def test_a_power_law_is_followed():
    n, where = np.array([20, 40, 80, 160, 375]), [500, 1000]
    for floor, scale, rate in ((0, 0.5, 0.3), (0.1, 0.4, 0.7), (0.3, 0, 1)):
        curve = 1 - floor - scale * (n / n[0]) ** -rate
        true = 1 - floor - scale * (np.array(where) / n[0]) ** -rate
        assert forecast.followed(n, curve[None], where)[0] == pytest.approx(true, abs=1e-3)


def test_the_law_is_fitted_as_scipy_fits_it():
    n, rng = np.array([20.0, 40, 80, 160, 375]), np.random.default_rng(3)

    def error(n, floor, scale, rate):
        return floor + scale * (n / 20) ** -rate

    for _ in range(10):
        curve = 1 - error(n, 0.1, 0.5, 0.6) + rng.normal(0, 0.02, 5)
        bounds = ([0, 0, forecast.RATES[0]], [np.inf, np.inf, forecast.RATES[-1]])
        best, _ = curve_fit(error, n, 1 - curve, p0=(0.1, 0.5, 0.6), bounds=bounds)
        ours = forecast.followed(n, curve[None], n)[0]
        theirs = 1 - error(n, *best)
        # The grid of exponents costs a little; never more than a hundredth of the misfit.
        assert ((ours - curve) ** 2).sum() <= 1.01 * ((theirs - curve) ** 2).sum() + 1e-9


def measured(sizes, splits=20, noise=0.01):
    rng = np.random.default_rng(4)
    parts = []
    for source, (floor, rate) in {"a": (0.1, 0.5), "b": (0.2, 0.4)}.items():
        for n in sizes:
            values = 1 - floor - 0.5 * (n / sizes[0]) ** -rate + rng.normal(0, noise, splits)
            parts.append(rows_of({source: values}, n))
    return pd.concat(parts)


def test_forecasts_hold_the_truth_and_count_the_trial():
    rows = measured([20, 40, 80, 160, 375])
    found = forecast.forecast(rows, 500, test_share=0.25).set_index("constraint")
    for source, (_, rate) in {"a": (0.1, 0.5), "b": (0.2, 0.4)}.items():
        true = 0.5 * (25**-rate - 50**-rate)
        row = found.loc[source]
        assert row["low"] < true < row["high"]
        assert row["mean"] == pytest.approx(true, abs=0.01)
    worst = found["miss"].abs().max()
    assert (found["high"] - found["mean"] >= worst).all()
    means = rows[rows["constraint"] == "a"].groupby("n_train")["clean_accuracy"].mean().to_numpy()
    trial = forecast.followed([20, 40, 80, 160], means[None, :4], [375])[0, 0]
    assert found.loc["a", "miss"] == pytest.approx(trial - means[-1])


def test_where_all_splits_agree_the_gain_is_known_no_better_than_the_images_allow():
    right = pd.concat([rows_of({"a": [1.0] * 4}, n) for n in (4, 8, 16, 32)])
    for now in (50, 400):
        gain = forecast.forecast(right, now, test_share=0.25).iloc[0]
        assert gain["mean"] == gain["miss"] == 0
        # At best one image more, of so many, would have told the two apart.
        assert -gain["low"] == gain["high"] == pytest.approx(1.96 / (now + 2), rel=1e-3)


def test_no_curve_is_followed_from_two_sizes():
    assert (
        forecast.forecast(measured([20, 30]), 40, test_share=0.25)[["mean", "low", "high"]]
        .isna()
        .all(axis=None)
    )
    three = forecast.forecast(measured([20, 40, 60]), 80, test_share=0.25)
    assert three["mean"].notna().all() and three[["low", "high", "miss"]].isna().all(axis=None)
