"""Cashiers of the sample chain, who differ in how often they ask for a document, and a few planted ones.

- Cashiers change tills from date to date. At the end of a shift some go off duty, and others come on duty at their
  tills. A cashier who stays on duty stays at the till, so nobody is at two tills at once.
- The probability of a check is that of `check_probability`, with a fixed effect of the cashier on its log odds.
- One store has a young clientele (campus). The camera of one till shows faces that are too young. One honest cashier
  works evenings only. These and the planted cashiers are in different stores.
- `minors_unasked` and `marks_without_looking` sell to minors: some buyers of restricted goods are replaced by shoppers
  of 14 to 17 years, who keep the basket.
"""

import datetime as dt
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from jobs.sample.assortment import AGE_SHARE, AGE_YEARS, Floats, Ints
from model.cli import InputError

Bools = npt.NDArray[np.bool_]

KINDS = (
    "honest",
    "evening_only",  # honest
    "asks_a_tenth",  # a tenth of the probability of a check
    "unasked_twice",  # twice the probability that a young-looking buyer is not asked
    "minors_unasked",  # sells to minors, with a tenth of the probability of a check
    "marks_without_looking",  # sells to minors; records checks like honest cashiers, but sees no document
)
EVENING_ONLY, ASKS_A_TENTH, UNASKED_TWICE, MINORS_UNASKED, MARKS_WITHOUT_LOOKING = range(1, len(KINDS))
PLANTED = (ASKS_A_TENTH, UNASKED_TWICE, MINORS_UNASKED, MARKS_WITHOUT_LOOKING)

MINORS_SHARE = {MINORS_UNASKED: 1 / 3, MARKS_WITHOUT_LOOKING: 0.1}
"""Share of the restricted sales of such a cashier whose buyer is a minor."""

YOUNG_LOOKING_BELOW = 30
LARGEST_UNASKED = 0.9
"""Largest probability that `unasked_twice` does not ask a buyer below `YOUNG_LOOKING_BELOW`."""

CAMERA_YEARS = 6
"""The camera of one till shows faces that are this much too young."""

SHIFT_SECONDS = 5 * 3600
N_SHIFTS = 3

CHECKS = pa.schema({"receipt_id": pa.string(), "id_shown": pa.bool_()})
"""Truth about checks: whether the buyer showed a document, for each receipt with restricted products."""

_CAMPUS_SHARE = 0.7  # of the shoppers of the campus store are students
_STUDENTS: Floats = AGE_SHARE * np.exp(-0.5 * ((AGE_YEARS - 21) / 2.5) ** 2)
_CAMPUS: Floats = (1 - _CAMPUS_SHARE) * AGE_SHARE + _CAMPUS_SHARE * _STUDENTS / _STUDENTS.sum()

# Separate random streams; `jobs.sample_chain` uses 1 to 5.
_STAFF, _ROSTER = 6, 7


class Sales(NamedTuple):
    """To whom some receipts are sold, and with which check; arrays of shape (n_receipts,)."""

    age_years: Ints  # of the buyers, after the sales to minors
    checked: Bools  # as recorded
    shown: Bools  # whether a document was shown


@dataclass(frozen=True, kw_only=True)
class Staff:
    """The cashiers of the chain, C in each of S stores."""

    seed: int
    kind: Ints  # (S, C) number in `KINDS`
    effect: Floats  # (S, C) log odds
    is_self: Bools  # (T,) tills of a store
    campus: int  # number of the store
    camera: int  # number of the store; the camera is at its first till

    @property
    def per_store(self) -> int:
        """Number of cashiers of a store."""
        return int(self.kind.shape[1])

    def roster(self, date: dt.date, store: int) -> Ints:
        """Return the cashier of each shift and till of a store, shape (N_SHIFTS, T); -1 at self-checkouts."""
        rng = np.random.default_rng([self.seed, _ROSTER, date.toordinal(), store])
        kind, staffed = self.kind[store], np.flatnonzero(~self.is_self)
        cashiers = rng.permutation(np.flatnonzero(kind != EVENING_ONLY))
        on_duty, off_duty = cashiers[: staffed.size], cashiers[staffed.size :]
        roster = np.full((N_SHIFTS, self.is_self.size), -1)
        roster[0, staffed] = on_duty
        for shift in range(1, N_SHIFTS):
            if shift == N_SHIFTS - 1:
                off_duty = np.concatenate([np.flatnonzero(kind == EVENING_ONLY), off_duty])
            arriving, resting = off_duty[: staffed.size], off_duty[staffed.size :]
            places = rng.choice(staffed.size, arriving.size, replace=False)
            off_duty = np.concatenate([resting, on_duty[places]])
            on_duty[places] = arriving
            roster[shift, staffed] = on_duty
        return roster

    def clientele(self, rng: np.random.Generator, store: Ints, age_years: Ints) -> Ints:
        """Return the ages of the shoppers: new ones in the campus store, the given ones elsewhere."""
        return np.where(store == self.campus, rng.choice(AGE_YEARS, store.size, p=_CAMPUS), age_years)

    def on_duty(self, date: dt.date, store: Ints, till: Ints, seconds: Ints) -> Ints:
        """Return the cashier of each receipt, a number within the store; -1 at self-checkouts.

        Args:
            date: business date.
            store: number of the store.
            till: number of the till within the store.
            seconds: time of opening after the stores open.
        """
        stores, place = np.unique(store, return_inverse=True)
        rosters = np.stack([self.roster(date, int(number)) for number in stores])
        numbers: Ints = rosters[place, np.minimum(seconds // SHIFT_SECONDS, N_SHIFTS - 1), till]
        return numbers

    def sell(self, rng: np.random.Generator, store: Ints, number: Ints, age_years: Ints, restricted: Bools) -> Sales:
        """Draw to whom each receipt is sold, and with which check.

        Args:
            rng: random numbers of the date.
            store: number of the store.
            number: cashier, from `on_duty`.
            age_years: true ages of the shoppers.
            restricted: whether a receipt has restricted products.
        """
        kind = np.where(number < 0, 0, self.kind[store, number])
        effect = np.where(number < 0, 0, self.effect[store, number])
        minors_share = np.array([MINORS_SHARE.get(of_kind, 0.0) for of_kind in range(len(KINDS))])
        is_minor = restricted & (rng.random(store.size) < minors_share[kind])
        age_years = np.where(is_minor, rng.integers(14, 18, store.size), age_years)
        checked = rng.random(store.size) < _check_probability_of(kind, effect, age_years)
        return Sales(age_years, checked, shown=checked & (kind != MARKS_WITHOUT_LOOKING))


def check_probability(age_years: Ints) -> Floats:
    """Return the probability that a buyer of restricted products is asked for a document."""
    probability: Floats = 0.02 + 0.95 / (1 + np.exp((age_years - 30) / 4))
    return probability


def _check_probability_of(kind: Ints, effect: Floats, age_years: Ints) -> Floats:
    average = check_probability(age_years)
    effect = np.where(kind == MARKS_WITHOUT_LOOKING, np.abs(effect), effect)  # never conspicuous by few checks
    probability = 1 / (1 + (1 - average) / average * np.exp(-effect))
    unasked_twice = 1 - np.minimum(LARGEST_UNASKED, 2 * (1 - probability))
    probability = np.where(
        (kind == UNASKED_TWICE) & (age_years < YOUNG_LOOKING_BELOW),
        np.minimum(probability, unasked_twice),
        probability,
    )
    return np.where((kind == ASKS_A_TENTH) | (kind == MINORS_UNASKED), probability / 10, probability)


def plan_staff(seed: int, is_self: Bools, n_cashiers: int, check_spread: float, n_planted: int) -> Staff:
    """Return the cashiers of the chain.

    Args:
        seed: seed of the chain.
        is_self: (S, T) whether a till of a store is a self-checkout, equal for all stores.
        n_cashiers: cashiers of each store.
        check_spread: standard deviation of the log odds between cashiers.
        n_planted: cashiers of each planted kind.

    Raises:
        InputError: there are too few cashiers or stores.
    """
    n_stores, n_staffed = is_self.shape[0], int((~is_self[0]).sum())
    if n_cashiers <= n_staffed:
        raise InputError(
            f"--cashiers-per-store is {n_cashiers}; it must be 0 or more than the {n_staffed} staffed tills of a store"
        )
    special = [EVENING_ONLY, *np.repeat(PLANTED, n_planted).tolist()]
    if n_stores < len(special) + 2:
        raise InputError(
            f"--stores is {n_stores}; with --planted {n_planted} it must be at least {len(special) + 2}, because the "
            "campus store, the store of the wrong camera, the evening cashier and each planted cashier are in "
            "different stores"
        )
    rng = np.random.default_rng([seed, _STAFF])
    campus, camera, *stores = rng.permutation(n_stores)[: len(special) + 2].tolist()
    kind = np.zeros((n_stores, n_cashiers), dtype=np.int64)
    kind[stores, rng.integers(n_cashiers, size=len(special))] = special
    effect = rng.normal(0, 1, (n_stores, n_cashiers)) * check_spread
    return Staff(seed=seed, kind=kind, effect=effect, is_self=is_self[0], campus=campus, camera=camera)
