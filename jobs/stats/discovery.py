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

    Args:
        counts: (101,) all receipts by estimated age.
    """
    return smooth_basis(counts, N_CONTRASTS - 1, LENGTH, linear=True)


def flatness_test(counts: Floats, expected: Floats, variance: Floats, functions: Floats) -> Floats:
    """Test for each item that estimated age does not matter; return the p values, (I,).

    Rao's score test: U = C'(n - E), V = variance * C'(diag(E) - EE'/n)C, and U'V^-1 U has a chi-square distribution. If
    true age does not matter, estimated age does not either, so the test holds for any error of the ages.

    Args:
        counts: (I, 101) n: receipts with each item by estimated age.
        expected: (I, 101) E: the same if age did not matter; rows have the sums of `counts`.
        variance: (I,) variance of a count relative to the multinomial.
        functions: (101, C) contrasts.

    Returns:
        1 for an item without receipts or without variance.
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

    Args:
        p_values: (I,).
        is_tested: (I,) the family: items with enough receipts to be published in a band.
    """
    q = np.ones_like(p_values)
    if is_tested.any():
        q[is_tested] = stats.false_discovery_control(p_values[is_tested])
    return q
