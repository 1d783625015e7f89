"""Whether a cashier sells restricted goods to more young faces than others. Sums of probabilities, not of persons."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from jobs.stats.ages import Floats, Ints
from jobs.stats.funnel import spread
from jobs.stats.sales import SalesRows, sum_by

PSEUDO_SALES = 50
MIN_EXPECTED = 0.02
"""Sum of probabilities; cashiers with less say nothing about the spread."""


@dataclass(frozen=True, kw_only=True)
class Young:
    """For each of C cashiers."""

    observed: Floats  # (C,) sum of P(under 18)
    expected: Floats  # (C,) the same, from the sales of others in the same store and block of hours
    p_value: Floats  # (C,) of so much or more; 1 without sales
    tau: float  # standard deviation of the cashiers' rates, relative to the expected ones


def young_faces(sales: SalesRows, p_under_18: Floats, n_cashiers: int, n_blocks: int) -> Young:
    """Compare the sum of P(under 18) of each cashier with that expected from others in the same place.

    The rate of the others is shrunk to that of the store, and this to the chain's, by PSEUDO_SALES each. The sum is
    compared with a gamma distribution whose variance is that of a sum of independent probabilities, of the spread
    between cashiers, and of the expectation.

    Args:
        sales: R rows.
        p_under_18: (R,) probability of each sale, for the corrected age.
        n_cashiers: C.
        n_blocks: blocks of hours.
    """
    n_places = int(sales.place.max(initial=0)) + n_blocks
    keys, row = np.unique(sales.cashier * n_places + sales.place, return_inverse=True)
    cashier, place = keys // n_places, keys % n_places
    n, sums = sum_by(row, sales.n, keys.size), sum_by(row, sales.n * p_under_18, keys.size)
    store, itself = place // n_blocks, np.arange(keys.size)

    def others(group: Ints, own: Ints, values: Floats) -> Floats:
        """Return the sum over a group, without the row's own part of it."""
        return sum_by(group, values, 0)[group] - sum_by(own, values, 0)[own]

    chain_rate = sums.sum() / max(n.sum(), 1)
    of_store = others(store, cashier, sums) + PSEUDO_SALES * chain_rate
    store_rate = of_store / (others(store, cashier, n) + PSEUDO_SALES)
    reference = others(place, itself, n) + PSEUDO_SALES
    rate = (others(place, itself, sums) + PSEUDO_SALES * store_rate) / reference

    observed, expected = sum_by(cashier, sums, n_cashiers), sum_by(cashier, n * rate, n_cashiers)
    # The variance of a sum of independent random weights is their mean square over their mean, times its mean.
    weight = (sales.n @ p_under_18**2) / max(sums.sum(), 1e-9)
    chance = weight * (expected + sum_by(cashier, n**2 * rate / reference, n_cashiers))
    known = expected > MIN_EXPECTED
    tau = spread(lambda candidate: ((observed - expected)[known], (chance + (candidate * expected) ** 2)[known]))
    variance, mean = np.maximum(chance + (tau * expected) ** 2, 1e-12), np.maximum(expected, 1e-9)
    p_value = np.where(expected > 0, stats.gamma.sf(observed, mean**2 / variance, scale=variance / mean), 1)
    return Young(observed=observed, expected=expected, p_value=p_value, tau=tau)
