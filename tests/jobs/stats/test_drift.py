"""Comparisons of estimated ages: against slow or other implementations, simulated noise, and changes of known size."""

import numpy as np
import pytest
from scipy import stats

from jobs.stats import drift
from jobs.stats.ages import YEARS


def histograms(rng, shares, n, size):
    return rng.multinomial(n, shares, size=size).astype(float)


def binned(counts, bins):
    return np.array([np.bincount(bins, row) for row in counts])


def test_the_stability_index_is_the_sum_of_its_definition():
    today, reference = np.array([12.0, 0.0, 30.0]), np.array([100.0, 40.0, 60.0])
    expected = 0.0
    for n, m in zip(today, reference, strict=True):
        p, q = (n + 0.5) / 43.5, (m + 0.5) / 201.5
        expected += (p - q) * np.log(p / q)
    assert drift.stability_index(today, reference).square == pytest.approx(expected)


def test_the_wasserstein_distance_is_that_of_scipy(shopper_ages):
    rng = np.random.default_rng(1)
    (today,), (reference,) = histograms(rng, shopper_ages, 300, 1), histograms(rng, shopper_ages[::-1], 5000, 1)
    expected = stats.wasserstein_distance(YEARS, YEARS, today, reference)
    assert np.sqrt(drift.wasserstein(today, reference).square) == pytest.approx(expected)


def test_the_difference_of_means_is_the_square_of_students_t():
    rng = np.random.default_rng(2)
    today, reference = rng.gamma(5, 4, 80), rng.gamma(5, 5, 900)
    found = drift.mean_difference(*(np.array([len(x), x.sum(), (x**2).sum()]) for x in (today, reference)))
    assert found.square / found.expected == pytest.approx(stats.ttest_ind(today, reference).statistic ** 2)


@pytest.mark.parametrize("n", [80, 2000])
@pytest.mark.parametrize("distance", [drift.stability_index, drift.wasserstein])
def test_the_noise_of_two_samples_has_the_stated_mean_and_upper_tail(shopper_ages, distance, n):
    rng = np.random.default_rng(3)
    today, reference = histograms(rng, shopper_ages, n, 1500), histograms(rng, shopper_ages, 6 * n, 1500)
    if distance is drift.stability_index:
        bins = drift.equal_bins(shopper_ages, n)
        today, reference = binned(today, bins), binned(reference, bins)
    found = [distance(*rows) for rows in zip(today, reference, strict=True)]
    assert np.mean([each.square / each.expected for each in found]) == pytest.approx(1, abs=0.06)
    quantile = stats.chi2.isf(0.02, found[0].freedom) / found[0].freedom
    assert np.mean([each.square > quantile * each.expected for each in found]) == pytest.approx(0.02, abs=0.013)


@pytest.mark.parametrize(("k", "day_to_day"), [(2, 0), (7, 0), (28, 0), (7, 4.0), (28, 4.0)])
def test_dates_that_differ_as_usual_are_within_the_limits(shopper_ages, k, day_to_day):
    rng = np.random.default_rng(4)
    beyond = 0
    for _ in range(150):
        shift = rng.normal(0, day_to_day, k + 1)
        rows = np.array([rng.multinomial(800, moved(shopper_ages, years)) for years in shift], float)
        found = drift.compare(rows[0], rows[1:], drift.wasserstein)
        beyond += found.square > found.limit
    assert beyond <= 3


def moved(shares, years):
    """Return the distribution of older shoppers."""
    drawn = np.interp(YEARS - years, YEARS, shares, left=0, right=0)
    return drawn / drawn.sum()


@pytest.mark.parametrize(("n", "years"), [(800, 4), (20_000, 1)])
def test_a_change_is_found_at_its_number_of_photos(shopper_ages, n, years):
    rng = np.random.default_rng(5)
    before = histograms(rng, shopper_ages, n, 7)
    (today,) = histograms(rng, moved(shopper_ages, years), n, 1)
    found = drift.compare(today, before, drift.wasserstein)
    assert found.square > found.limit
    assert np.sqrt(found.square) == pytest.approx(years, abs=0.5 * years)
    bins = drift.equal_bins(before.sum(axis=0), n)
    found = drift.compare(binned([today], bins)[0], binned(before, bins), drift.stability_index)
    assert found.square > found.limit


@pytest.mark.parametrize("changed", [range(6), range(20, 26)])
def test_a_change_is_found_for_a_week_and_after_another_one_has_ended(shopper_ages, changed):
    rng = np.random.default_rng(7)
    years = rng.normal(0, 0.5, 28) + np.where(np.isin(np.arange(28), changed), 8, 0)
    before = np.array([rng.multinomial(2000, moved(shopper_ages, each)) for each in years], float)
    (today,) = histograms(rng, moved(shopper_ages, 8), 2000, 1)
    found = drift.compare(today, before, drift.wasserstein)
    assert found.square > found.limit


def test_a_spread_between_dates_raises_the_limit_by_as_much(shopper_ages):
    rng = np.random.default_rng(6)
    before = np.array([rng.multinomial(5000, moved(shopper_ages, years)) for years in rng.normal(0, 3, 28)], float)
    found = drift.compare(before[0], before[1:], drift.wasserstein)
    # The variance of a mean is 20^2 / 5000 = 0.08 by chance, and 9 by the dates.
    assert 30 < found.spread < 300


def test_ages_that_are_all_the_same_have_no_noise():
    same = np.zeros(101)
    same[30] = 50
    found = drift.compare(same, np.array([same, same]), drift.wasserstein)
    assert 0 == found.square < found.limit
