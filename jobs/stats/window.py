"""All estimates of one window: over-dispersion, ages of the shoppers, indices, and which of them are discoveries."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jobs.stats import affinity, discovery, shoppers
from jobs.stats.ages import Bools, Floats
from jobs.stats.dispersion import dispersion

UNKNOWN_DISPERSION = 2.0
"""Over-dispersion of a chain with one store, where it can't be measured: as if every shopper came twice."""


@dataclass(frozen=True, kw_only=True)
class LevelEstimates:
    """Estimates of I items and G bands."""

    indices: affinity.Estimates
    q_value: Floats
    """(I, G) the larger of the item's false discovery rate and the cell's false sign rate."""
    n_tested: int
    """Items with enough receipts to be published in a band: the family of the false discovery rate."""

    def notable(self) -> Bools:
        """Return which cells differ from all shoppers: q at most 0.05, and a 95 % interval without 100, (I, G)."""
        low, high = self.indices.interval(affinity.Z_95)
        result: Bools = (self.q_value <= discovery.MAX_Q) & ((low > 100) | (high < 100))
        return result


@dataclass(frozen=True, kw_only=True)
class WindowEstimates:
    """Estimates of a window."""

    levels: list[LevelEstimates]
    dispersion: float | None
    """Variance of counts relative to that of independent receipts; None if it could not be measured."""
    share: Floats
    """(G,) share of the receipts whose shopper is truly of each band."""
    reliability: Floats
    """(G,) how much of a difference between the band and the others survives; see `reliability`."""
    kept: Floats
    """(G,) share of the shoppers truly of a band whose estimated age is in it."""


def estimate(
    window: affinity.Window,
    levels: Sequence[affinity.Level],
    age_sums: Sequence[Floats],
    bands: Bools,
    min_receipts: int,
) -> WindowEstimates:
    """Estimate the indices of all levels of a window.

    Args:
        window: all receipts and the error kernel.
        levels: from the top down. The over-dispersion is measured on the second lowest, the categories, because
            products have too few receipts; if there is one level, on that.
        age_sums: for each level (I, S): sum of the estimated ages of the receipts with each item in each store, years.
        bands: (G, 101) which years belong to each band.
        min_receipts: an item with fewer receipts in every band is not tested.
    """
    measured_on = max(len(levels) - 2, 0)
    measured = dispersion(levels[measured_on].by_store, age_sums[measured_on], window.counts_by_store)
    used = UNKNOWN_DISPERSION if measured is None else measured
    model = affinity.AffinityModel(window, used)
    receipts = window.counts_by_store.sum(axis=0)
    estimated = []
    for level, indices in zip(levels, model.estimate(levels, bands), strict=True):
        p_values = discovery.flatness_test(
            level.counts,
            shoppers.expected_counts(level.by_store, window.counts_by_store),
            used * np.maximum(1 - level.counts.sum(axis=1) / receipts.sum(), affinity.MIN_VARIANCE_SHARE),
            discovery.contrasts(receipts),
        )
        is_tested: Bools = np.any(level.counts @ bands.T >= min_receipts, axis=1)
        q_values = np.maximum(discovery.q_values(p_values, is_tested)[:, None], indices.sign_error)
        estimated.append(LevelEstimates(indices=indices, q_value=q_values, n_tested=int(is_tested.sum())))
    return WindowEstimates(
        levels=estimated,
        dispersion=measured,
        share=bands @ model.shoppers,
        reliability=reliability(bands, model.shoppers, window.kernel),
        kept=((bands @ (model.shoppers[:, None] * window.kernel)) * bands).sum(axis=1) / (bands @ model.shoppers),
    )


def reliability(bands: Bools, ages: Floats, kernel: Floats) -> Floats:
    """Return how much of a difference between a band and the others survives the error of the ages, (G,).

    P(true age in band | estimate in band) - P(true age in band | estimate elsewhere): the slope of the naive figures of
    a band against its true ones, as for a misclassified exposure (Kuechenhoff, Mwalili and Lesaffre 2006).

    Args:
        bands: (G, 101) which years belong to each band.
        ages: (101,) share of receipts of each true age.
        kernel: (101, 101) P(estimated age | true age).

    >>> reliability(np.array([np.arange(101) < 30, np.arange(101) >= 30]), np.ones(101) / 101, np.eye(101)).tolist()
    [1.0, 1.0]
    """
    joint = bands @ (ages[:, None] * kernel) @ bands.T  # true band x estimated band
    estimated, right = joint.sum(axis=0), np.diag(joint)
    elsewhere = joint.sum(axis=1) - right
    result: Floats = right / np.maximum(estimated, 1e-12) - elsewhere / np.maximum(1 - estimated, 1e-12)
    return result
