"""How often cashiers ask for identification, by the age of the buyer and the circumstances of the sale."""

from dataclasses import dataclass

import numpy as np
from scipy import special

from jobs.stats.ages import Bools, Floats, Ints
from jobs.stats.sales import sum_by

FIRST_AGE, LAST_AGE = 14, 60

KNOTS = np.array([14, 17, 20, 23, 26, 29, 32, 36, 41, 48, 60])
"""The log odds are linear in age between these years."""

RIDGE = 0.3
MAX_STEPS = 50
TOLERANCE = 1e-8
N_FIFTHS = 5
PSEUDO_RECEIPTS = 50

_STEPS_PER_YEAR = 2
"""Corrected ages are rounded to half years, so that equal circumstances form few groups."""


def fifths(n: Floats, n_young: Floats) -> Ints:
    """Divide places into fifths of the receipts, by the share of young-looking shoppers; return 0 to 4, (P,).

    Args:
        n: (P,) receipts of a place, a store in a block of hours.
        n_young: (P,) of them young-looking. Shares are shrunk to that of the chain.
    """
    chain_share = n_young.sum() / max(n.sum(), 1)
    order = np.argsort((n_young + PSEUDO_RECEIPTS * chain_share) / (n + PSEUDO_RECEIPTS), kind="stable")
    middle = n[order].cumsum() - n[order] / 2
    result = np.empty(n.size, dtype=np.int64)
    result[order] = np.minimum(N_FIFTHS * middle / max(n.sum(), 1), N_FIFTHS - 1).astype(np.int64)
    return result


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """What the probability of a check depends on, for R rows of sales."""

    age_years: Floats  # (R,) estimated and corrected
    block: Ints  # (R,) block of hours, from 0
    is_alcohol: Bools  # (R,)
    fifth: Ints  # (R,) from `fifths`

    def design(self, n_blocks: int) -> Floats:
        """Return the terms of the regression, (R, P); the first is constant."""
        age = self.age_years[:, None]
        terms = [
            np.ones_like(age),
            np.maximum(age - KNOTS[:-1], 0) / 10,
            self.block[:, None] == np.arange(1, n_blocks),
            self.is_alcohol[:, None],
            self.fifth[:, None] == np.arange(1, N_FIFTHS),
            # Where shoppers are young, somebody who is estimated at 30 is younger than elsewhere.
            (self.fifth[:, None] - 2) * (age - 30) / 10,
        ]
        return np.concatenate(terms, axis=1, dtype=np.float64)


def fit(design: Floats, n: Floats, n_checked: Floats) -> Floats:
    """Fit a logistic regression with a ridge penalty; return the coefficients, (P,).

    Iteratively reweighted least squares. The penalty is RIDGE / 2 times the sum of squares of all coefficients but the
    constant; with thousands of sales it matters only for circumstances with hardly any.

    Args:
        design: (G, P) terms, the first constant.
        n: (G,) sales.
        n_checked: (G,) of them with a check.
    """
    penalty = np.diag(np.r_[1e-9, np.full(design.shape[1] - 1, RIDGE)])
    start = (n_checked.sum() + 0.5) / (n.sum() + 1)
    coefficients: Floats = np.r_[special.logit(start), np.zeros(design.shape[1] - 1)]
    for _ in range(MAX_STEPS):
        p = special.expit(design @ coefficients)
        gradient = design.T @ (n_checked - n * p) - penalty @ coefficients
        hessian = (design * (n * p * (1 - p))[:, None]).T @ design + penalty
        step = np.linalg.solve(hessian, gradient)
        coefficients += step * min(1.0, 5 / max(np.abs(step).max(), TOLERANCE))  # far from the solution, steps are long
        if np.abs(step).max() < TOLERANCE:
            break
    return coefficients


def log_odds(coefficients: Floats, rows: Circumstances, n_blocks: int) -> Floats:
    """Return the log odds of a check for each row, (R,)."""
    keys, group = _groups(rows, n_blocks)
    of_groups: Floats = keys.design(n_blocks) @ coefficients
    return of_groups[group]


def fit_log_odds(rows: Circumstances, n: Floats, n_checked: Floats, n_blocks: int) -> tuple[Floats, Floats]:
    """Fit the sales of all cashiers; return the coefficients, (P,), and the log odds of each row, (R,)."""
    keys, group = _groups(rows, n_blocks)
    design = keys.design(n_blocks)
    coefficients = fit(design, sum_by(group, n, 0), sum_by(group, n_checked, 0))
    return coefficients, (design @ coefficients)[group]


def _groups(rows: Circumstances, n_blocks: int) -> tuple[Circumstances, Ints]:
    """Return the different circumstances, with ages in half years, and the number of those of each row."""
    age = np.clip(rows.age_years, FIRST_AGE, LAST_AGE)
    steps = np.round(age * _STEPS_PER_YEAR).astype(np.int64)
    key = ((steps * n_blocks + rows.block) * 2 + rows.is_alcohol) * N_FIFTHS + rows.fifth
    keys, group = np.unique(key, return_inverse=True)
    circumstances = Circumstances(
        age_years=keys // (n_blocks * 2 * N_FIFTHS) / _STEPS_PER_YEAR,
        block=keys // (2 * N_FIFTHS) % n_blocks,
        is_alcohol=keys // N_FIFTHS % 2 == 1,
        fifth=keys % N_FIFTHS,
    )
    return circumstances, group
