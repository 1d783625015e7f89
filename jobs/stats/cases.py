"""Which receipts a reviewer sees about a cashier, and whether the cashier asked less often than colleagues.

The reviewer sees receipts of the cashier mixed with like receipts of colleagues, and does not know which is which.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

N_CASHIER = 20
N_COLLEAGUES = 40
N_ATTENTION_CHECKS = 10
"""Older-looking buyers: a reviewer who judges them to look under 25 does not look carefully."""

MIN_CASHIER, MIN_COLLEAGUES = 5, 10
"""Fewest receipts that are compared. If none of 5 and 8 of 10 were asked, p is .007; with fewer, hardly any difference
could be told from chance.
"""

YOUNG_BELOW_YEARS = 27
OLDER_FROM_YEARS = 40
SIGNIFICANCE = 0.05

CASHIER, COLLEAGUE, ATTENTION_CHECK = "cashier", "colleague", "attention_check"

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class Batch(NamedTuple):
    """The receipts of a batch, in the order in which the reviewer sees them."""

    receipts: Ints
    """Positions of the receipts, each at most once."""
    roles: list[str]
    """Role of each receipt."""


def draw_batch(of_cashier: Bools, hours: Ints, age_years: Floats, rng: np.random.Generator) -> Batch:
    """Draw the receipts of a batch, at random.

    - 20 receipts of the cashier with a young-looking buyer, whether the cashier asked for a document or not.
    - 40 like them of colleagues, at the same hours; where an hour has too few, of other hours.
    - 10 older-looking buyers of any cashier, as attention checks.

    Args:
        of_cashier: whether a receipt is the cashier's, of shape (n,). The receipts are those of one store with
            age-restricted goods.
        hours: hour of the day, of shape (n,).
        age_years: estimated age after correction for camera and clientele, of shape (n,).
        rng: source of randomness; an unpredictable one, otherwise the order gives away the roles.

    Returns:
        The batch. It is smaller if there are fewer receipts, and empty if there are too few to compare: then it is
        better to draw later.
    """
    young = age_years < YOUNG_BELOW_YEARS
    of_role = {CASHIER: _sample(np.flatnonzero(young & of_cashier), N_CASHIER, rng)}
    if of_role[CASHIER].size < MIN_CASHIER or (young & ~of_cashier).sum() < MIN_COLLEAGUES:
        return Batch(np.array([], dtype=np.int64), [])
    of_role[COLLEAGUE] = _like(hours[of_role[CASHIER]], np.flatnonzero(young & ~of_cashier), hours, rng)
    of_role[ATTENTION_CHECK] = _sample(np.flatnonzero(age_years >= OLDER_FROM_YEARS), N_ATTENTION_CHECKS, rng)
    receipts = np.concatenate(list(of_role.values()))
    roles = np.repeat(list(of_role), [drawn.size for drawn in of_role.values()])
    order = rng.permutation(receipts.size)
    return Batch(receipts[order], roles[order].tolist())


def _like(cashier_hours: Ints, candidates: Ints, hours: Ints, rng: np.random.Generator) -> Ints:
    """Draw candidates with hours like those of the cashier; replace missing ones by candidates of other hours."""
    wanted_hours = np.resize(rng.permutation(cashier_hours), N_COLLEAGUES)
    matched = [
        _sample(candidates[hours[candidates] == hour], int(count), rng)
        for hour, count in zip(*np.unique(wanted_hours, return_counts=True), strict=True)
    ]
    drawn = np.concatenate(matched)
    return np.concatenate([drawn, _sample(np.setdiff1d(candidates, drawn), N_COLLEAGUES - drawn.size, rng)])


def _sample(candidates: Ints, n: int, rng: np.random.Generator) -> Ints:
    return rng.choice(candidates, min(n, candidates.size), replace=False)


def p_asked_less_often(asked: tuple[int, int], of: tuple[int, int]) -> float:
    """Return the p value of Fisher's exact test that the cashier asked less often than colleagues, one-sided.

    >>> round(p_asked_less_often(asked=(0, 30), of=(20, 40)), 9)
    7e-09
    >>> p_asked_less_often(asked=(0, 0), of=(20, 0))
    1.0

    Args:
        asked: sales at which a document was shown, of the cashier and of colleagues.
        of: all sales, of the cashier and of colleagues.
    """
    table = [[asked[0], of[0] - asked[0]], [asked[1], of[1] - asked[1]]]
    return float(stats.fisher_exact(table, alternative="less").pvalue)
