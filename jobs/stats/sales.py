"""Sums of receipts by cashier, place and circumstances. A place is a store in a block of hours."""

from dataclasses import dataclass

import numpy as np

from jobs.stats.ages import Bools, Floats, Ints


def sum_by(group: Ints, values: Floats, n_groups: int) -> Floats:
    """Sum values by the number of their group, (n_groups,).

    >>> sum_by(np.array([0, 2, 2]), np.array([1.0, 2.0, 3.0]), 3)
    array([1., 0., 5.])
    """
    return np.bincount(group, weights=values, minlength=n_groups).astype(np.float64, copy=False)


@dataclass(frozen=True, kw_only=True)
class SalesRows:
    """R rows of sales of restricted goods with a photo and a known check, by cashier and circumstances."""

    cashier: Ints  # (R,); at self-checkouts the number of the store
    place: Ints  # (R,) number of store times number of blocks, plus number of block
    is_alcohol: Bools  # (R,)
    age_year: Ints  # (R,) estimated, 14 to 60
    n: Floats  # (R,) sales
    n_checked: Floats  # (R,)
    p_under_18_sum: Floats  # (R,)


@dataclass(frozen=True, kw_only=True)
class ControlRows:
    """Q rows of receipts without restricted goods, by cashier and place. A place is a store in a block of hours."""

    cashier: Ints  # (Q,)
    place: Ints  # (Q,) number of store times number of blocks, plus number of block
    n: Floats  # (Q,) receipts with a photo
    age_sum: Floats  # (Q,) of min(age, AGE_CAP), years
    square_sum: Floats  # (Q,) of its square
    n_under_27: Floats  # (Q,)
    n_under_cap: Floats  # (Q,)
