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

    Random groups (Wolter 2007, "Introduction to Variance Estimation", chapter 2). In store s, the sum of the estimated
    ages of an item's n_s receipts, minus n_s times the mean age of the store's N_s receipts, is D_s. For independent
    receipts its variance is V_s = n_s (1 - n_s / N_s) v_s, where v_s is the variance of ages in the store. Sums over
    the stores of a group g are D_g, n_g and V_g. A preference for an age shifts each D_g by c n_g, c = sum D / sum n.
    Then

        phi = sum over items and groups of (D_g - c n_g)^2 / V_g  /  sum over items of (groups with V_g > 0, less 1)

    and at least 1. phi = k if each receipt occurs k times. It is too large, so that intervals are too wide, if items
    have strong preferences and the ages of the stores differ much: c then differs between groups.

    Args:
        items_by_store: (I, S) receipts with each item, for example of each category.
        age_sums: (I, S) sum of the estimated ages of these receipts, years.
        counts_by_store: (S, 101) all receipts by estimated age.
        n_groups: largest number of groups; stores are dealt to them in turn.

    Returns:
        phi, without unit. None if there are fewer than two groups, or if no item has MIN_RECEIPTS receipts.
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
