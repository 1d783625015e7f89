"""Checks made and expected, by hand and compared with a loop."""

import numpy as np
import pytest
from scipy import special

from jobs.stats.tally import N_BINS, Tally


def tally(unit, n, n_checked, p, n_units=3) -> Tally:
    columns = (np.array(values, dtype=float) for values in (n, n_checked, special.logit(p)))
    return Tally.of(np.array(unit), n_units, *columns)


def test_sales_count_if_a_check_is_probable_enough():
    counted = tally([0, 0, 0, 1], [10, 20, 40, 5], [9, 8, 7, 0], [0.9, 0.21, 0.19, 0.5])
    assert counted.made.tolist() == [17, 0, 0]
    assert counted.expected == pytest.approx([10 * 0.9 + 20 * 0.21, 2.5, 0])
    assert counted.information == pytest.approx([10 * 0.09 + 20 * 0.21 * 0.79, 1.25, 0])
    assert counted.sales.sum(axis=1).tolist() == [30, 5, 0]


def test_bins_keep_the_expected_checks_of_all_sales():
    rng = np.random.default_rng(1)
    p, n = rng.uniform(0.01, 0.99, 500), rng.integers(1, 9, 500)
    unit = rng.integers(0, 3, 500)
    counted = tally(unit, n, n // 2, p)
    assert counted.sales.shape == (3, N_BINS)
    assert (counted.sales @ special.expit(counted.bins)).sum() == pytest.approx((n * p)[p >= 0.2].sum())
    assert counted.sales @ special.expit(counted.bins) == pytest.approx(counted.expected, rel=0.01)


def test_the_effect_is_one_newton_step_to_the_most_likely_one():
    counted = tally([0, 1], [1000, 1000], [480, 300], [0.5, 0.5])
    assert counted.effect[:2] == pytest.approx([-20 / 250, -200 / 250])
    assert counted.variance[:2] == pytest.approx([1 / 250, 1 / 250])
    # Near 0 it is the log odds ratio.
    assert counted.effect[0] == pytest.approx(special.logit(0.48), rel=0.01)


def test_a_unit_without_sales_has_no_effect_and_an_infinite_variance():
    counted = tally([0], [4], [1], [0.5])
    assert counted.effect[1:].tolist() == [0, 0]
    assert counted.variance[1:].tolist() == [np.inf, np.inf]
    assert np.isnan(counted.ratio(np.zeros(3))).tolist() == [False, True, True]


def test_the_ratio_of_an_effect_by_hand():
    counted = tally([0, 0], [10, 30], [5, 5], [0.8, 0.4], n_units=1)
    with_effect = 10 * special.expit(special.logit(0.8) - 1) + 30 * special.expit(special.logit(0.4) - 1)
    assert counted.ratio(np.array([-1.0])) == pytest.approx([with_effect / (8 + 12)])
    assert counted.ratio(np.zeros(1)) == pytest.approx([1])


def test_no_sales_at_all():
    counted = tally(np.zeros(0, dtype=int), [], [], np.zeros(0))
    assert counted.made.tolist() == counted.expected.tolist() == [0, 0, 0]
    assert np.isfinite(counted.bins).all()
