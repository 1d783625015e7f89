"""Years of age: bins, warped age and smooth functions."""

import math

import numpy as np
import pytest

from jobs.stats.ages import YEARS, in_bins, smooth_basis, warp


def test_bins_are_sums_of_two_years_and_the_last_year_alone():
    by_year = np.random.default_rng(1).random((2, 3, 101))
    expected = [by_year[..., low : low + 2].sum(axis=-1) for low in range(0, 101, 2)]
    assert in_bins(by_year) == pytest.approx(np.stack(expected, axis=-1))
    assert in_bins(by_year).shape == (2, 3, 51)


def test_warped_age_spans_0_to_1_from_15_to_80_years_and_increases_ever_more_slowly():
    assert warp(np.array([15, 80])) == pytest.approx([0, 1], abs=1e-12)
    assert warp(np.array([40.0])) == pytest.approx(math.log(60 / 35) / math.log(100 / 35))
    steps = np.diff(warp(YEARS))
    assert (steps > 0).all()
    assert (np.diff(steps) < 0).all()


def squared_exponential(length: float) -> np.ndarray:
    """Return the covariance of the curves, written out."""
    u = [(math.log(1 + a / 20) - math.log(1.75)) / (math.log(5) - math.log(1.75)) for a in range(101)]
    return np.array([[math.exp(-((x - y) ** 2) / (2 * length**2)) for y in u] for x in u])


@pytest.mark.parametrize(("length", "n_functions"), [(0.15, 25), (0.4, 12)])
def test_random_combinations_have_the_covariance_of_the_gaussian_process(shopper_ages, length, n_functions):
    basis = smooth_basis(shopper_ages, n_functions, length)
    centring = np.eye(101) - shopper_ages
    expected = centring @ squared_exponential(length) @ centring.T
    assert np.abs(basis @ basis.T - expected)[5:90, 5:90].max() < 0.01


def test_few_functions_explain_nearly_all_of_the_variance_at_the_ages_of_shoppers(shopper_ages):
    basis = smooth_basis(shopper_ages, 9, 0.15)
    centring = np.eye(101) - shopper_ages
    full = shopper_ages @ np.diag(centring @ squared_exponential(0.15) @ centring.T)
    explained = shopper_ages @ (basis**2).sum(axis=1)
    assert 0.97 * full < explained < full * 1.001


def test_functions_have_the_weighted_mean_0_and_the_line_has_variance_1(shopper_ages):
    basis = smooth_basis(shopper_ages * 5000, 6, 0.15, linear=True)
    assert basis.shape == (101, 7)
    assert shopper_ages @ basis == pytest.approx(np.zeros(7), abs=1e-12)
    assert shopper_ages @ basis[:, 0] ** 2 == pytest.approx(1)
    assert np.corrcoef(basis[:, 0], warp(YEARS))[0, 1] == pytest.approx(1)
    assert smooth_basis(shopper_ages, 6, 0.15) == pytest.approx(basis[:, 1:])
