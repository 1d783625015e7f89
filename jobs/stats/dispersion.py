"""How much larger the variance of counts is than that of independent receipts, because shoppers come again."""

import numpy as np

from jobs.stats.ages import Floats

N_GROUPS = 20
MIN_RECEIPTS = 50
"""Fewest receipts of an item; with fewer, a normal approximation of its mean age is poor."""


def dispersion(
    items_by_store: Floats, age_sums: Floats, counts_by_store: Floats, n_groups: int = N_GROUPS
) -> float | None:
    """Estimate the over-dispersion from how far the mean ages of an item's buyers differ between groups of stores.

    Random groups (Wolter 2007, chapter 2): within a store, the sum of the estimated ages of an item's n receipts minus n
    times the store's mean age is D, with variance n (1 - n / N) v for independent receipts, v the variance of the ages.
    The D of G groups of stores, each with the item's common difference removed, give a chi-square sum of G - 1 degrees
    of freedom. The result is the sum over items divided by the degrees of freedom, at least 1.

    Args:
        items_by_store: (I, S) receipts with each item, for example of each category.
        age_sums: (I, S) sum of the estimated ages of these receipts, years.
        counts_by_store: (S, 101) all receipts by estimated age.
        n_groups: largest number of groups; stores are dealt to them in turn.

    Returns:
        None if there are fewer than two stores, or no item has enough receipts.
    """
    years = np.arange(counts_by_store.shape[1])
    n_stores = len(counts_by_store)
    total = np.maximum(counts_by_store.sum(axis=1), 1)
    mean = counts_by_store @ years / total
    variance = counts_by_store @ years**2 / total - mean**2
    group = np.arange(n_stores) % n_groups == np.arange(min(n_groups, n_stores))[:, None]
    excess = (age_sums - items_by_store * mean) @ group.T
    n = items_by_store @ group.T
    spread = (items_by_store * (1 - items_by_store / total) * variance) @ group.T
    known = spread > 0
    common = excess.sum(axis=1, keepdims=True) / np.maximum(n.sum(axis=1, keepdims=True), 1)
    # Removing an estimated common difference takes one degree of freedom.
    squares = np.where(known, (excess - n * common) ** 2 / np.where(known, spread, 1), 0)
    freedom = known.sum(axis=1) - 1
    used = (n.sum(axis=1) >= MIN_RECEIPTS) & (freedom > 0)
    if not used.any():
        return None
    return float(max(1.0, squares[used].sum() / freedom[used].sum()))
