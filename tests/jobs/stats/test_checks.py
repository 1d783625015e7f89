"""The regression of checks, compared with a direct minimisation, and fifths of places."""

import numpy as np
import pytest
from scipy import optimize, special

from jobs.stats.checks import (
    FIRST_AGE,
    KNOTS,
    LAST_AGE,
    N_FIFTHS,
    RIDGE,
    Circumstances,
    fifths,
    fit,
    fit_log_odds,
    log_odds,
)

N_BLOCKS = 3


def draw_rows(rng, n_rows=300, **columns) -> Circumstances:
    drawn = {
        "age_years": rng.uniform(FIRST_AGE, LAST_AGE, n_rows),
        "block": rng.integers(0, N_BLOCKS, n_rows),
        "is_alcohol": rng.random(n_rows) < 0.7,
        "fifth": rng.integers(0, N_FIFTHS, n_rows),
    }
    return Circumstances(**drawn | columns)


def minimised(design, n, n_checked):
    """Minimise the negative log likelihood plus RIDGE / 2 times the squares of all coefficients but the constant."""

    def loss(beta):
        eta = design @ beta
        return (n * np.logaddexp(0, eta) - n_checked * eta).sum() + RIDGE / 2 * (beta[1:] ** 2).sum()

    def gradient(beta):
        return design.T @ (n / (1 + np.exp(-design @ beta)) - n_checked) + RIDGE * np.r_[0, beta[1:]]

    start = np.zeros(design.shape[1])
    return optimize.minimize(loss, start, jac=gradient, method="BFGS", options={"gtol": 1e-7, "maxiter": 5000}).x


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_fit_minimises_the_penalised_likelihood(seed):
    rng = np.random.default_rng(seed)
    design = np.c_[np.ones(40), rng.normal(size=(40, 4))]
    n = rng.integers(1, 30, 40).astype(float)
    n_checked = rng.binomial(n.astype(int), special.expit(design @ rng.normal(size=5))).astype(float)
    assert fit(design, n, n_checked) == pytest.approx(minimised(design, n, n_checked), abs=1e-5)


def test_fit_of_real_circumstances_minimises_the_penalised_likelihood():
    rng = np.random.default_rng(4)
    rows = draw_rows(rng)
    n = rng.integers(1, 20, 300).astype(float)
    n_checked = rng.binomial(n.astype(int), special.expit((30 - rows.age_years) / 5)).astype(float)
    coefficients, _ = fit_log_odds(rows, n, n_checked, N_BLOCKS)
    half_years = draw_rows(rng, **vars(rows) | {"age_years": np.round(rows.age_years * 2) / 2})
    expected = minimised(half_years.design(N_BLOCKS), n, n_checked)
    assert half_years.design(N_BLOCKS) @ coefficients == pytest.approx(half_years.design(N_BLOCKS) @ expected, abs=1e-4)


def test_the_constant_is_not_shrunk():
    design = np.ones((1, 1))
    assert special.expit(fit(design, np.array([1000.0]), np.array([2.0]))) == pytest.approx([0.002], rel=1e-6)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_all_or_no_sales_checked_has_finite_coefficients(share):
    rng = np.random.default_rng(5)
    rows, n = draw_rows(rng), np.full(300, 4.0)
    coefficients, odds = fit_log_odds(rows, n, share * n, N_BLOCKS)
    assert np.isfinite(coefficients).all()
    assert special.expit(odds) == pytest.approx(share, abs=0.001)


def test_checks_that_depend_on_age_alone_without_exception_have_finite_coefficients():
    rng = np.random.default_rng(6)
    rows, n = draw_rows(rng), np.full(300, 50.0)
    is_young = rows.age_years < 29
    coefficients, odds = fit_log_odds(rows, n, n * is_young, N_BLOCKS)
    assert np.isfinite(coefficients).all()
    far = np.abs(rows.age_years - 29) > 3
    assert (special.expit(odds[far]) > 0.5).tolist() == is_young[far].tolist()


def test_a_block_and_a_kind_of_goods_without_sales_have_no_effect():
    rng = np.random.default_rng(7)
    rows = draw_rows(rng, block=rng.integers(0, 2, 300), is_alcohol=np.zeros(300, dtype=bool))
    n = rng.integers(1, 20, 300).astype(float)
    n_checked = rng.binomial(n.astype(int), 0.4).astype(float)
    coefficients, odds = fit_log_odds(rows, n, n_checked, N_BLOCKS)
    n_hinges = len(KNOTS) - 1
    assert coefficients[1 + n_hinges + 1] == pytest.approx(0, abs=1e-9)
    assert coefficients[1 + n_hinges + 2] == pytest.approx(0, abs=1e-9)
    fewer, odds_of_fewer = fit_log_odds(rows, n, n_checked, 2)
    assert fewer.size == coefficients.size - 1
    assert odds == pytest.approx(odds_of_fewer, abs=1e-6)


def test_no_rows_have_no_log_odds():
    rows = draw_rows(np.random.default_rng(8), n_rows=0)
    assert log_odds(np.zeros(19), rows, N_BLOCKS).shape == (0,)


def test_ages_are_rounded_to_half_years_and_clamped():
    rng = np.random.default_rng(9)
    rows, n = draw_rows(rng), np.full(300, 5.0)
    coefficients, _ = fit_log_odds(rows, n, rng.binomial(5, special.expit((30 - rows.age_years) / 5)), N_BLOCKS)

    def of_ages(*ages):
        same = {"block": np.ones(len(ages), dtype=int), "fifth": np.zeros(len(ages), dtype=int)}
        kind = {"age_years": np.array(ages), "is_alcohol": np.ones(len(ages), dtype=bool)}
        return log_odds(coefficients, Circumstances(**same | kind), N_BLOCKS).tolist()

    near = of_ages(19.8, 20.0, 20.2, 20.3, 20.5)
    assert near[0] == near[1] == near[2]
    assert near[3] == near[4] != near[2]
    low = of_ages(10.0, 14.0, 60.0, 75.0)
    assert low[0] == low[1]
    assert low[2] == low[3]


def test_log_odds_of_rows_are_their_terms_times_the_coefficients():
    rng = np.random.default_rng(10)
    rows = draw_rows(rng, age_years=rng.integers(FIRST_AGE, LAST_AGE + 1, 300).astype(float))
    coefficients = rng.normal(size=rows.design(N_BLOCKS).shape[1])
    assert log_odds(coefficients, rows, N_BLOCKS) == pytest.approx(rows.design(N_BLOCKS) @ coefficients)


def test_terms_of_the_regression_by_hand():
    row = Circumstances(
        age_years=np.array([27.0]), block=np.array([2]), is_alcohol=np.array([True]), fifth=np.array([4])
    )
    hinges = [1.3, 1.0, 0.7, 0.4, 0.1, 0, 0, 0, 0, 0]
    expected = [1, *hinges, 0, 1, 1, 0, 0, 0, 1, -0.6]
    assert row.design(N_BLOCKS)[0] == pytest.approx(expected)


def test_expected_checks_sum_to_the_checks_made():
    rng = np.random.default_rng(11)
    rows, n = draw_rows(rng), rng.integers(1, 20, 300).astype(float)
    n_checked = rng.binomial(n.astype(int), 0.3).astype(float)
    _, odds = fit_log_odds(rows, n, n_checked, N_BLOCKS)
    assert n @ special.expit(odds) == pytest.approx(n_checked.sum(), abs=1e-4)


def test_fifths_of_equal_places_follow_the_share_of_young_shoppers():
    n, share = np.full(10, 1e6), np.array([0.5, 0.1, 0.9, 0.3, 0.7, 0.4, 0.2, 0.8, 0.0, 0.6])
    assert fifths(n, n * share).tolist() == [2, 0, 4, 1, 3, 2, 1, 4, 0, 3]


def test_fifths_hold_a_fifth_of_the_receipts_not_of_the_places():
    n = np.array([1000.0] * 4 + [250.0] * 4)
    n_young = n * np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8])
    assert fifths(n, n_young).tolist() == [0, 1, 2, 3, 4, 4, 4, 4]


def test_a_place_of_few_receipts_is_taken_to_be_like_the_chain():
    # 2 of 2 receipts are young, but with 50 more at .3 the share is .33: between .2 and .4.
    n, n_young = np.array([1000.0, 1000.0, 2.0]), np.array([200.0, 400.0, 2.0])
    assert fifths(n, n_young).tolist() == [1, 3, 2]


def test_fifths_without_receipts_are_all_0():
    assert fifths(np.zeros(3), np.zeros(3)).tolist() == [0, 0, 0]
