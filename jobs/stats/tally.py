"""Checks made and expected, summed over the sales that count."""

from dataclasses import dataclass

import numpy as np
from scipy import special

from jobs.stats.ages import Floats, Ints
from jobs.stats.sales import sum_by

MIN_PROBABILITY = 0.2
"""Sales count if a check is at least so probable. Whether a buyer of 45 years is asked says nothing of integrity, and
cashiers differ in it. Twice as many unasked young buyers among 1,000 sales were at p < .002 in .74 of simulations with
0.1, .79 with 0.2 or 0.3; a tenth of the checks in 50 sales in .64, .56 and .45.
"""
N_BINS = 15
"""Of the log odds of a check, by which the sales of a cashier are counted."""


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Sales that count, of C units: cashiers, or stores. B bins of the log odds of a check."""

    made: Floats  # (C,) checks
    expected: Floats  # (C,)
    information: Floats  # (C,) variance of the number of checks by chance
    sales: Floats  # (C, B)
    bins: Floats  # (B,) log odds

    @classmethod
    def of(cls, unit: Ints, n_units: int, n: Floats, n_checked: Floats, log_odds: Floats) -> "Tally":
        """Count the sales whose check is at least so probable as MIN_PROBABILITY."""
        p = special.expit(log_odds)
        counts = p >= MIN_PROBABILITY
        n, n_checked = n * counts, n_checked * counts

        ends = np.linspace(MIN_PROBABILITY, 1, N_BINS + 1)
        number = np.clip(np.searchsorted(ends, p, side="right") - 1, 0, N_BINS - 1)
        in_bin = sum_by(number, n, N_BINS)
        # The mean of the sales in the bin; its middle if there are none.
        mean = sum_by(number, n * p, N_BINS) / np.maximum(in_bin, 1e-9)
        mean = np.where(in_bin > 0, mean, (ends[1:] + ends[:-1]) / 2)
        sales = sum_by(unit * N_BINS + number, n, n_units * N_BINS)
        return cls(
            made=sum_by(unit, n_checked, n_units),
            expected=sum_by(unit, n * p, n_units),
            information=sum_by(unit, n * p * (1 - p), n_units),
            sales=sales.reshape(n_units, N_BINS),
            bins=special.logit(np.clip(mean, MIN_PROBABILITY, 1 - 1e-6)),
        )

    @property
    def effect(self) -> Floats:
        """(C,) log odds ratio of made and expected checks, one step of Newton's method; 0 without sales."""
        return (self.made - self.expected) / np.maximum(self.information, 1e-12)

    @property
    def variance(self) -> Floats:
        """(C,) of `effect` by chance; infinite without sales."""
        with np.errstate(divide="ignore"):
            return 1 / self.information

    def ratio(self, effect: Floats) -> Floats:
        """Return checks with an effect, (C,) log odds, divided by the expected checks; NaN without sales."""
        with np.errstate(invalid="ignore"):
            with_effect = (self.sales * special.expit(self.bins + effect[:, None])).sum(axis=1)
            without: Floats = with_effect / (self.sales @ special.expit(self.bins))
        return without
