"""Tests of flatness, and false discovery rates."""

import numpy as np
import pytest
from scipy import stats

from jobs.stats.ages import YEARS
from jobs.stats.discovery import contrasts, flatness_test, q_values

ALL_CONTRASTS = np.eye(101)[:, :-1]
"""100 linearly independent functions of age: any difference at all."""


def flat(counts: np.ndarray, receipts: np.ndarray) -> np.ndarray:
    """Return the counts (I, 101) that items would have if age did not matter."""
    return counts.sum(axis=1, keepdims=True) * receipts / receipts.sum()


def p_values(counts: np.ndarray, receipts: np.ndarray, variance: float = 1.0) -> np.ndarray:
    return flatness_test(counts, flat(counts, receipts), np.full(len(counts), variance), contrasts(receipts))


def test_with_all_contrasts_it_is_pearsons_test():
    rng = np.random.default_rng(2)
    share = rng.dirichlet(np.full(101, 5.0))
    counts = rng.multinomial(5000, share, size=4).astype(float)
    expected = np.tile(5000 * share, (4, 1))
    p = flatness_test(counts, expected, np.ones(4), ALL_CONTRASTS)
    assert p == pytest.approx(stats.chisquare(counts, expected, axis=1).pvalue)


def test_with_two_groups_of_ages_it_is_pearsons_test_of_a_2_by_2_table():
    rng = np.random.default_rng(3)
    receipts = rng.integers(50, 100, 101).astype(float)
    item = rng.binomial(receipts.astype(int), 0.2).astype(float)
    young = (YEARS < 40).astype(float)
    table = [[item @ young, item @ (1 - young)], [(receipts - item) @ young, (receipts - item) @ (1 - young)]]
    # The item is a part of all receipts: the variance is that of sampling without replacement.
    variance = np.array([1 - item.sum() / receipts.sum()])
    p = flatness_test(item[None], flat(item[None], receipts), variance, young[:, None])
    assert p == pytest.approx(stats.chi2_contingency(table, correction=False).pvalue)


def test_larger_variance_divides_the_statistic(shopper_ages):
    rng = np.random.default_rng(4)
    counts = rng.multinomial(300, shopper_ages, size=3).astype(float)
    single, double = p_values(counts, shopper_ages * 1e6), p_values(counts, shopper_ages * 1e6, variance=2.0)
    assert stats.chi2.isf(double, 4) == pytest.approx(stats.chi2.isf(single, 4) / 2)


@pytest.mark.parametrize("n", [40, 400])
def test_p_values_are_uniform_if_age_does_not_matter(shopper_ages, n):
    counts = np.random.default_rng(n).multinomial(n, shopper_ages, size=500).astype(float)
    p = p_values(counts, shopper_ages * 1e7)
    assert stats.kstest(p, "uniform").pvalue > 0.05
    assert (p < 0.05).mean() == pytest.approx(0.05, abs=0.03)


def test_p_values_are_uniform_for_items_on_many_of_few_receipts(shopper_ages):
    rng = np.random.default_rng(6)
    receipts = np.round(shopper_ages * 2000).astype(int)
    counts = np.stack([rng.multivariate_hypergeometric(receipts, receipts.sum() // 2) for _ in range(500)]).astype(
        float
    )
    assert stats.kstest(p_values(counts, receipts, variance=0.5), "uniform").pvalue > 0.05


@pytest.mark.parametrize("effect", [lambda u: 0.6 * (u > 40), lambda u: 0.6 * np.cos(u / 9)])
def test_a_true_effect_has_a_small_p_value(shopper_ages, effect):
    share = shopper_ages * np.exp(effect(YEARS))
    counts = np.random.default_rng(7).multinomial(1000, share / share.sum(), size=50).astype(float)
    assert (p_values(counts, shopper_ages * 1e6) < 1e-4).mean() > 0.9


def test_receipts_of_two_ages_leave_one_degree_of_freedom():
    receipts = np.zeros(101)
    receipts[[20, 60]] = 500
    counts = np.zeros((1, 101))
    counts[0, [20, 60]] = 30, 50
    assert p_values(counts, receipts) == pytest.approx(stats.chisquare([30, 50]).pvalue)


def test_items_without_receipts_or_without_variance_have_p_1(shopper_ages):
    receipts = np.zeros(101)
    receipts[33] = 100
    counts = np.zeros((2, 101))
    counts[0, 33] = 7
    assert p_values(counts, receipts).tolist() == [1, 1]
    assert p_values(np.zeros((1, 101)), shopper_ages * 100).tolist() == [1]


# Benjamini and Hochberg 1995, section 3.2: at 0.05 the first four are rejected.
PUBLISHED = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459]
PUBLISHED += [0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0000]


def test_the_published_example_of_benjamini_and_hochberg_rejects_four():
    q = q_values(np.array(PUBLISHED), np.ones(15, dtype=bool))
    by_hand = [min(PUBLISHED[j] * 15 / (j + 1) for j in range(i, 15)) for i in range(15)]
    assert q == pytest.approx(by_hand)
    assert (q <= 0.05).tolist() == [True] * 4 + [False] * 11


def test_items_that_are_not_tested_have_q_1_and_do_not_widen_the_family():
    p = np.array([0.01, 0.5, 0.02, 0.001])
    is_tested = np.array([True, False, True, False])
    assert q_values(p, is_tested).tolist() == [0.02, 1, 0.02, 1]
    assert q_values(p, np.zeros(4, dtype=bool)).tolist() == [1, 1, 1, 1]
