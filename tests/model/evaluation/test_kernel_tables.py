import numpy as np
import pytest

from model import kernel
from model.evaluation.kernel_tables import band_to_band, by_true_age

AGES = np.repeat(np.arange(15, 70), 40)
RANDOM = np.random.default_rng(0)
ESTIMATES = AGES + 2 + RANDOM.normal(0, 5, len(AGES))


def test_measured_and_fitted_errors_agree_on_the_photos_of_the_fit():
    table = by_true_age((AGES, ESTIMATES), AGES, ESTIMATES)
    assert table["from_years"].tolist() == list(range(15, 70, 5))
    assert table["n"].sum() == len(AGES)
    assert np.abs(table["mean_years"] - table["fitted_mean_years"]).max() < 0.8
    assert np.abs(table["spread_years"] / table["fitted_spread_years"] - 1).max() < 0.15


def test_a_shift_at_the_tills_is_a_difference_from_the_fit():
    table = by_true_age((AGES, ESTIMATES), AGES, ESTIMATES + 3)
    assert (table["mean_years"] - table["fitted_mean_years"]).mean() == pytest.approx(3, abs=0.2)


def test_shares_of_bands_agree_with_those_measured():
    table = band_to_band(kernel.fit(AGES, ESTIMATES), AGES, ESTIMATES)
    assert table["band"].tolist() == ["under_18", "18-29", "30-44", "45-59", "60_plus"]
    assert table["n"].tolist() == [120, 480, 600, 600, 400]
    assert table["fitted_stay"].tolist() == pytest.approx(table["stay"].tolist(), abs=0.06)
    to_bands = table[[f"to_{band}" for band in table["band"]]].to_numpy()
    assert to_bands.sum(axis=1) == pytest.approx(1)
    assert np.diag(to_bands) == pytest.approx(table["fitted_stay"])


def test_a_band_without_photos_has_no_row():
    ages, estimates = np.array([40, 41, 42]), np.array([40.0, 140.0, -3.0])
    assert band_to_band(kernel.fit(ages, estimates), ages, estimates)["band"].tolist() == ["30-44"]
