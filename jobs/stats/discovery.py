"""Which items and cells differ from all shoppers, and how often such a statement is wrong."""

import numpy as np
from scipy import stats

from jobs.stats.ages import Bools, Floats, smooth_basis

N_CONTRASTS = 4
"""Directions in which an item may differ: linear in age and three smoother waves."""

LENGTH = 0.4
MIN_EIGENVALUE = 1e-10
"""Directions with less variance than this, relative to the mean square of the contrasts, are rounding errors."""

MAX_Q = 0.05


def contrasts(counts: Floats) -> Floats:
    """Return smooth functions of estimated age for `flatness_test`, (101, N_CONTRASTS).

    Few smooth contrasts find a smooth effect of age more often than all differences between years would (variance
    component tests: Lin 1997, Biometrika 84).

    Args:
        counts: (101,) all receipts by estimated age, at least one.
    """
    return smooth_basis(counts, N_CONTRASTS - 1, LENGTH, linear=True)


def flatness_test(counts: Floats, expected: Floats, variance: Floats, functions: Floats) -> Floats:
    """Test for each item that estimated age does not matter; return the p values, (I,).

    Rao's score test (Rao 1948): with U = C'(n - E), V = variance * C'(diag(E) - EE'/N)C and N = sum of n, U'V^-1 U has
    a chi-square distribution with as many degrees of freedom as V has rank. If true age does not matter, estimated age
    does not either, so the test holds for any error of the ages. With contrasts for all ages, and variance 1, it is
    Pearson's test.

    Args:
        counts: (I, 101) n: receipts with each item by estimated age.
        expected: (I, 101) E: the same if age did not matter; rows have the sums of `counts`.
        variance: (I,) variance of a count relative to the multinomial, above 0. It is phi (1 - N / all receipts) for
            over-dispersion phi, because the item's receipts are some of all receipts.
        functions: (101, C) contrasts.

    Returns:
        p values, 0 to 1; 1 for an item without receipts, or if all expected receipts have one age.
    """
    total = counts.sum(axis=1)
    score = (counts - expected) @ functions
    mean = expected @ functions
    products = (functions[:, :, None] * functions[:, None, :]).reshape(len(functions), -1)
    squares = (expected @ products).reshape(len(counts), *mean.shape[1:] * 2)
    spread = squares - mean[:, :, None] * mean[:, None, :] / np.maximum(total, 1)[:, None, None]
    values, vectors = np.linalg.eigh(spread)
    known = values > MIN_EIGENVALUE * np.trace(squares, axis1=1, axis2=2)[:, None]
    along = (score[:, None, :] @ vectors)[:, 0]
    statistic = np.where(known, along**2 / np.where(known, values, 1), 0).sum(axis=1) / variance
    freedom = known.sum(axis=1)
    return np.where(freedom > 0, stats.chi2.sf(statistic, np.maximum(freedom, 1)), 1.0)


def q_values(p_values: Floats, is_tested: Bools) -> Floats:
    """Return the false discovery rates of items (Benjamini and Hochberg 1995), 1 for items that are not tested.

    q_(i) = min over j >= i of p_(j) m / j for the m tested p values in ascending order. If all items with q at most .05
    are called different, at most 5 % of them are expected to be wrong.

    >>> q_values(np.array([0.01, 0.04, 0.03, 0.2]), np.array([True, True, True, False]))
    array([0.03, 0.04, 0.04, 1.  ])

    Args:
        p_values: (I,) 0 to 1.
        is_tested: (I,) the family: items with enough receipts to be published in a band.
    """
    q = np.ones_like(p_values)
    if is_tested.any():
        q[is_tested] = stats.false_discovery_control(p_values[is_tested])
    return q
