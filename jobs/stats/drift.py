"""Did the estimated ages change, and is the change larger than chance?

A comparison takes additive rows: one of the date, and one of each earlier date. Its limit is the sum of two parts:
chance at these numbers of photos, and the usual differences between dates (weekdays, several photos of one shopper),
which the earlier dates show, each against the others. So limits are calibrated from the chain itself.

Sources: population stability index: Lewis 1994, "An Introduction to Credit Scoring"; its distribution under no change:
Yurdakul 2018, "Statistical Properties of Population Stability Index", Western Michigan University; Wasserstein distance
of two samples: del Barrio, Gine and Matran 1999, Annals of Probability 27.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from jobs.stats.ages import Floats, Ints

FALSE_ALARM = 0.002
"""Probability that a measure of a night is beyond its limit by chance: once in 500 nights."""

ENOUGH_DATES = 14
"""Fewest earlier dates of which a quarter is left out."""

MAX_BINS, PHOTOS_PER_BIN = 10, 20


@dataclass(frozen=True, kw_only=True)
class Distance:
    """How far the row of a date is from a reference, and what chance alone would give."""

    square: float
    """Square of the difference, or another measure that grows like it, such as the population stability index."""
    expected: float
    """Its mean if both rows are random samples of one population."""
    freedom: float
    """Degrees of freedom: square / expected is about chi2(freedom) / freedom."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A date against earlier dates."""

    square: float
    limit: float
    """`square` is beyond it with a probability of about `FALSE_ALARM` if nothing changed."""
    spread: float
    """How much more the earlier dates differ than random samples would: a ratio of squares, at least 1."""


def compare(today: Floats, before: Floats, distance: Callable[[Floats, Floats], Distance]) -> Comparison:
    """Compare a date with the sum of the earlier dates, without the quarter of them that differs most.

    So a change counts neither as usual nor as a usual difference until it has lasted for a week of the four, nor after
    its end if it lasted no longer. With fewer than `ENOUGH_DATES` dates all count, because three quarters of them would
    tell too little.

    With q_i = square / expected of a kept date i against the other kept dates, f degrees of freedom, and c(f) the mean
    of the lower h / k of chi2(f) / f for h of k dates kept, the spread is 1 + max(0, mean q - c(f)) / c(1), and the
    limit is expected times the larger one of

        spread * F^-1(1 - p; f, d f)    and    chi2^-1(1 - p; f) / f + (spread - 1) F^-1(1 - p; 1, d),

    p = FALSE_ALARM, d = h - 1. The first holds if dates differ in everything by the same factor more than samples. In
    the second, the usual differences have one degree of freedom, as if dates only differed in how old their shoppers
    are.

    Args:
        today: (M,) additive row of the date.
        before: (k, M) rows of the earlier dates, k at least 2: nothing is known of the spread of one.
        distance: of two rows.
    """
    n_dates = len(before)
    n_kept = n_dates - (n_dates // 4 if n_dates >= ENOUGH_DATES else 0)
    kept = before[np.argsort(ratios(before, distance), kind="stable")[:n_kept]]
    found = distance(today, kept.sum(axis=0))
    usual, in_one_way = (mean_of_lower(n_kept / n_dates, freedom) for freedom in (found.freedom, 1))
    spread = 1 + max(0.0, float(ratios(kept, distance).mean()) - usual) / in_one_way
    alike = spread * stats.f.isf(FALSE_ALARM, found.freedom, (n_kept - 1) * found.freedom)
    by_chance = stats.chi2.isf(FALSE_ALARM, found.freedom) / found.freedom
    one_way = by_chance + (spread - 1) * stats.f.isf(FALSE_ALARM, 1, n_kept - 1)
    return Comparison(square=found.square, limit=float(found.expected * max(alike, one_way)), spread=spread)


def ratios(rows: Floats, distance: Callable[[Floats, Floats], Distance]) -> Floats:
    """Return square / expected of each row against the sum of the others, (k,)."""
    found = [distance(row, rows.sum(axis=0) - row) for row in rows]
    return np.array([each.square / each.expected for each in found])


def mean_of_lower(share: float, freedom: float) -> float:
    """Return the mean of chi2(freedom) / freedom below its quantile of `share`.

    >>> mean_of_lower(1, 3), round(mean_of_lower(0.75, 1), 3)
    (1.0, 0.369)
    """
    return float(stats.chi2.cdf(stats.chi2.ppf(share, freedom), freedom + 2) / share)


def equal_bins(reference: Floats, n: float) -> Ints:
    """Return for each of Y years its bin, (Y,): bins that contain about the same share of the reference.

    Args:
        reference: (Y,) counts.
        n: number of photos to compare with it: of them each bin contains about `PHOTOS_PER_BIN` or more.

    >>> equal_bins(np.ones(12), 80)
    array([0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3])
    """
    n_bins = int(np.clip(n // PHOTOS_PER_BIN, 2, MAX_BINS))
    cumulative = np.cumsum(reference) / reference.sum()
    middle = cumulative - 0.5 * reference / reference.sum()
    raw = np.minimum((middle * n_bins).astype(np.int64), n_bins - 1)
    return np.unique(raw, return_inverse=True)[1].astype(np.int64)


def stability_index(today: Floats, reference: Floats) -> Distance:
    """Return the population stability index of two rows of counts in B bins.

        PSI = sum_b (p_b - q_b) ln(p_b / q_b),    p_b = (n_b + 1/2) / sum(n + 1/2),  q_b likewise.

    Two random samples of n and m have about PSI ~ (1/n + 1/m) chi2(B - 1). The usual limits of 0.1 and 0.25 do not
    depend on n: a date of 80 photos in ten bins exceeds 0.1 nearly always.

    >>> round(stability_index(np.array([30.0, 50, 20]), np.array([300.0, 500, 200])).square, 4)
    0.0
    """
    p, q = ((row + 0.5) / (row + 0.5).sum() for row in (today, reference))
    freedom = max(len(today) - 1, 1)
    expected = (1 / today.sum() + 1 / reference.sum()) * freedom
    return Distance(square=float(((p - q) * np.log(p / q)).sum()), expected=float(expected), freedom=freedom)


def wasserstein(today: Floats, reference: Floats) -> Distance:
    """Return the square of the Wasserstein distance of two histograms by year of age, years^2.

        W = integral |F(x) - G(x)| dx

    is the mean number of years by which ages must be moved to turn one histogram into the other. For two random
    samples, F - G is about sqrt(1/n + 1/m) times a Brownian bridge in H, the distribution of both together. With
    s(x)^2 = H(x) (1 - H(x)) and r(x, y) the correlation of the bridge at x and y, W has mean and variance

        sqrt(2/pi) sqrt(1/n + 1/m) integral s(x) dx,
        (2/pi) (1/n + 1/m) double integral s(x) s(y) (sqrt(1 - r^2) + r arcsin(r) - 1) dx dy,

    the moments of absolute values of normal variables. The degrees of freedom are those of integral (F - G)^2 dx, a sum
    of squares with the covariance c of the bridge: tr(c)^2 / tr(c^2) (Satterthwaite 1946, Biometrics Bulletin 2).
    """
    n, m = today.sum(), reference.sum()
    difference = np.abs(np.cumsum(today) / n - np.cumsum(reference) / m)[:-1]
    below = (np.cumsum(today + reference) / (n + m))[:-1]
    at = below[(below > 0) & (below < 1)]
    if not at.size:  # all ages in one year: any difference is beyond the limit
        return Distance(square=float(difference.sum() ** 2), expected=1e-12, freedom=1)
    covariance = np.minimum.outer(at, at) * (1 - np.maximum.outer(at, at))
    deviation = np.sqrt(np.diag(covariance))
    products = np.outer(deviation, deviation)
    correlation = np.minimum(covariance / products, 1)
    moment = np.sqrt(1 - correlation**2) + correlation * np.arcsin(correlation)  # E |X Y| pi / (2 s(x) s(y))
    expected = 2 / np.pi * (1 / n + 1 / m) * (products * moment).sum()  # mean^2 + variance
    freedom = np.trace(covariance) ** 2 / (covariance**2).sum()
    return Distance(square=float(difference.sum() ** 2), expected=float(expected), freedom=float(freedom))


def mean_difference(today: Floats, reference: Floats) -> Distance:
    """Return the squared difference of two means.

    Args:
        today: (3,) number of values, their sum, and the sum of their squares.
        reference: (3,) likewise. The variance is that of both together, around their own means.
    """
    (n, total, _), (m, reference_total, _) = today, reference
    residuals = today[2] - total**2 / n + reference[2] - reference_total**2 / m
    variance = max(residuals, 0) / max(n + m - 2, 1)
    expected = max(variance * (1 / n + 1 / m), 1e-12)
    return Distance(square=float((total / n - reference_total / m) ** 2), expected=float(expected), freedom=1)
