"""True ages of shoppers, estimated from the counts of estimated ages.

Deconvolution by empirical Bayes (Efron 2016): log g = a smooth base + a Gaussian process. Stores are curves relative to
the chain, so a small store resembles the chain.
"""

import numpy as np
from scipy import ndimage

from jobs.stats import curves
from jobs.stats.ages import Floats, smooth_basis

N_FUNCTIONS = 14
LENGTH = 0.15
TEMPER = 20_000
"""With more receipts than this, the error of the kernel limits g, not chance."""

_SCALES: Floats = np.array([0.05, 0.1, 0.2, 0.4, 0.8])
_BASE_YEARS = 6
_STORE_SCALES: Floats = np.array([0, 0.1, 0.2, 0.4, 0.8])


def ages(counts: Floats, kernel: Floats) -> Floats:
    """Estimate the share g of receipts of each true age.

    Counts N are multinomial with probabilities g K, log g = log base + B z: the base is the histogram of estimated
    ages, smoothed by 6 years, and B z a Gaussian process whose scale is a mixture over a grid (see `curves`). The
    likelihood is divided by 1 + sum(N) / TEMPER.

    Args:
        counts: (101,) receipts by estimated age, at least one.
        kernel: (101, 101) P(estimated age | true age), rows true age.

    Returns:
        (101,) shares above 0, sum 1.
    """
    base = ndimage.gaussian_filter1d(counts.astype(float), _BASE_YEARS, mode="constant") + 1e-4 * counts.sum() / 101
    share: Floats = _relative(counts[None], (base / base.sum())[None], kernel, _SCALES)[0]
    return share


def ages_by_store(counts: Floats, chain: Floats, kernel: Floats) -> Floats:
    """Estimate the share of receipts of each true age in S stores.

    As `ages`, but the base of each store is the chain, and the scales of all stores have one distribution.

    Args:
        counts: (S, 101) receipts by estimated age.
        chain: (101,) shares of true ages in the whole chain.
        kernel: (101, 101).

    Returns:
        (S, 101) shares, rows sum to 1. A store without receipts has those of the chain.
    """
    return _relative(counts, np.tile(chain, (len(counts), 1)), kernel, _STORE_SCALES)


def _relative(counts: Floats, base: Floats, kernel: Floats, scales: Floats) -> Floats:
    n_rows, total = len(counts), counts.sum(axis=1)
    basis = smooth_basis(base.mean(axis=0), N_FUNCTIONS, LENGTH, linear=True)
    fitted = curves.fit(
        curves.Problem(
            counts=counts,
            base=base,
            exposure=np.ones_like(counts),
            kernel=kernel,
            basis=basis,
            dispersion=1 + total / TEMPER,
            prior=np.zeros((n_rows, basis.shape[1], basis.shape[1])),
            scale=np.ones(basis.shape[1]),
        ),
        scales,
        np.ones(len(scales)),
    )
    share: Floats = base * np.exp(fitted.mean() @ basis.T)
    share /= share.sum(axis=1, keepdims=True)
    return share


def expected_counts(items_by_store: Floats, counts_by_store: Floats) -> Floats:
    """Return the receipts by age that an item would have if, within each store, age did not matter.

    Stratification of Mantel and Haenszel (1959): E_e = sum_s n_s N_se / N_s. Without it, an item sold only in a shop of
    young customers looks like one that the young prefer.

    >>> counts_by_store = np.zeros((2, 101))
    >>> counts_by_store[0, [20, 30]], counts_by_store[1, [20, 60]] = (30, 10), (20, 20)
    >>> expected_counts(np.array([[8, 0], [4, 2]]), counts_by_store)[:, [20, 30, 60]]
    array([[6., 2., 0.],
           [4., 1., 1.]])

    Args:
        items_by_store: (I, S) n: receipts with each item.
        counts_by_store: (S, 101) N: receipts by age.

    Returns:
        (I, 101) receipts; rows add up to the receipts of the item. Stores with N_s = 0 add nothing.
    """
    share = counts_by_store / np.maximum(counts_by_store.sum(axis=1, keepdims=True), 1)
    expected: Floats = items_by_store @ share
    return expected
