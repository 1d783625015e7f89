import numpy as np
import pytest
from scipy import stats

from model.evaluation.metrics import compare, decades, mean_interval, measure, share_interval


def test_errors_are_as_computed_by_hand():
    metrics = measure(np.array([20.0, 33.0, 40.0, 75.0]), np.array([20, 30, 45, 69]), constant=36.0)
    assert metrics.n == 4
    assert metrics.mae_years == 3.5  # (0 + 3 + 5 + 6) / 4
    assert metrics.median_error_years == 4.0
    assert metrics.bias_years == 1.0  # (0 + 3 - 5 + 6) / 4
    assert metrics.within_5_years == 0.75
    assert metrics.constant_mae_years == 16.0  # (16 + 6 + 9 + 33) / 4
    assert 0 <= metrics.mae_low <= 3.5 <= metrics.mae_high <= 6


def test_a_bootstrap_interval_is_as_wide_as_in_theory():
    values = np.random.default_rng(0).exponential(6, 1600)
    interval = mean_interval(values)
    half = 1.96 * values.std(ddof=1) / 40
    assert interval.estimate == values.mean()
    assert interval.low == pytest.approx(values.mean() - half, abs=0.03)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.03)


def test_one_value_or_none_has_no_interval():
    assert mean_interval(np.array([3.0]))[0] == 3
    assert np.isnan(mean_interval(np.array([3.0]))[1:]).all()
    assert np.isnan(mean_interval(np.array([]))).all()
    assert np.isnan(share_interval(np.array([], bool))).all()


def test_the_interval_of_a_share_is_the_wilson_interval():
    interval = share_interval(np.array([True] * 3 + [False] * 17))
    z, n, p = stats.norm.ppf(0.975), 20, 0.15
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert interval == pytest.approx((p, middle - half, middle + half))


def test_decades_are_ten_years_and_the_last_is_eleven():
    assert decades(np.array([0, 9, 10, 59, 89, 90, 100])).tolist() == [
        "00-09", "00-09", "10-19", "50-59", "80-89", "90-100", "90-100",
    ]  # fmt: skip
    assert decades(np.array([9.4, 9.6, 29.7, 99.9])).tolist() == ["00-09", "10-19", "30-39", "90-100"]


def test_two_models_are_compared_photo_by_photo():
    rng = np.random.default_rng(0)
    ages = rng.integers(1, 90, 500)
    predicted = ages + rng.normal(0, 8, 500)
    closer = ages + (predicted - ages) * 0.97  # on different photos, chance would hide so small a gain
    gain, verdict = compare(closer, predicted, ages)
    assert gain.low > 0
    assert verdict.startswith("better than the other: MAE differs by -0.")
    assert compare(predicted, closer, ages)[1].startswith("worse than the other: MAE differs by +0.")
    assert compare(predicted, predicted + rng.normal(0, 0.1, 500), ages)[1].startswith("not shown to differ")
