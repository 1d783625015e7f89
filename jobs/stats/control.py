"""Whether the estimated ages at a cashier's till are shifted, measured on receipts without restricted goods.

A camera that reads ages wrongly, or a clientele of other ages or faces, shifts the ages of all shoppers of a cashier.
Nobody asks for identification when these receipts are paid, so they are a control that honesty can't influence.
"""

from dataclasses import dataclass

import numpy as np

from jobs.stats.ages import Bools, Floats
from jobs.stats.sales import ControlRows, sum_by

AGE_CAP = 60
PSEUDO_RECEIPTS = 50
PRIOR_YEARS = 2.0
"""Standard deviation of shifts, before the receipts are seen. With 600 control receipts, 87 % of a shift is corrected,
with 50 29 %. A correction only of significant shifts left .11 of honest cashiers with 1.4 years at p < .05, this
leaves .08.
"""
OLDER_SHARE = 0.15
"""Of a shift to older ages, the part by which a buyer is older than one of the same estimated age elsewhere: estimates
are drawn to the mean of all shoppers. At a till whose shoppers are 10 years older, .20 of honest cashiers were at
p < .05 without it, .11 with it.
"""
FLAG_Z, FLAG_YEARS = 3.0, 1.0
MIN_SHARE = 0.2
"""Smallest share of shoppers below AGE_CAP by which a shift is divided."""


@dataclass(frozen=True, kw_only=True)
class Control:
    """Shifts of C cashiers."""

    n: Floats  # (C,) control receipts
    shift: Floats  # (C,) years; NaN without control receipts
    z: Floats  # (C,) shift divided by its standard error; NaN without control receipts
    correction: Floats  # (C,) years, at least 0, by which the buyers are taken to be older than estimated
    flag: Bools  # (C,) the shift is large and certain


def control_shift(rows: ControlRows, n_cashiers: int, n_stores: int, n_blocks: int) -> Control:
    """Compare the mean of min(age, AGE_CAP) of each cashier with that of others in the same store and block of hours.

    The reference leaves the cashier out and has PSEUDO_RECEIPTS more receipts, with the mean of the store's others.
    Ages above the cap do not move, so the difference is divided by the share below.

    The correction may excuse a cashier, never accuse: it makes buyers older, and fewer checks are expected of them.
    A shift to younger ages is taken for an error of the camera, and shrunk by its uncertainty.
    """
    store = rows.place // n_blocks

    n, age_sum = sum_by(rows.cashier, rows.n, n_cashiers), sum_by(rows.cashier, rows.age_sum, n_cashiers)
    n_store, sum_store = sum_by(store, rows.n, n_stores), sum_by(store, rows.age_sum, n_stores)
    n_place, sum_place = (sum_by(rows.place, values, n_stores * n_blocks) for values in (rows.n, rows.age_sum))
    total = max(rows.n.sum(), 1)
    chain_mean = rows.age_sum.sum() / total
    others_store = n_store[store] - n[rows.cashier] + PSEUDO_RECEIPTS
    store_mean = (sum_store[store] - age_sum[rows.cashier] + PSEUDO_RECEIPTS * chain_mean) / others_store
    others = n_place[rows.place] - rows.n + PSEUDO_RECEIPTS
    reference = (sum_place[rows.place] - rows.age_sum + PSEUDO_RECEIPTS * store_mean) / others

    known, n_known = n > 0, np.maximum(n, 1)
    share = np.clip(sum_by(rows.cashier, rows.n_under_cap, n_cashiers) / n_known, MIN_SHARE, 1)
    difference = sum_by(rows.cashier, rows.age_sum - rows.n * reference, n_cashiers) / n_known
    variance = max(rows.square_sum.sum() / total - chain_mean**2, 1e-9)
    # By chance of the cashier's receipts, and of those of the reference.
    chance = variance / n_known + sum_by(rows.cashier, rows.n**2 * variance / others, n_cashiers) / n_known**2
    shift, error = difference / share, np.sqrt(chance) / share
    shrunk = shift * PRIOR_YEARS**2 / (PRIOR_YEARS**2 + error**2)
    return Control(
        n=n,
        shift=np.where(known, shift, np.nan),
        z=np.where(known, shift / error, np.nan),
        correction=np.where(known, np.maximum(-shrunk, OLDER_SHARE * shrunk), 0),
        flag=known & (np.abs(shift) > FLAG_Z * error) & (np.abs(shift) > FLAG_YEARS),
    )
