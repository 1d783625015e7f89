"""The model of the age errors: P(estimated year | true age), fitted to pairs of a true and an estimated age.

The mean and the standard deviation of the error depend on the true age. The shape of the standardised errors is that of
photos of similar true age: children's errors are skewed to one side, those of old people to the other. Smoothing the
errors themselves over neighbouring ages would add the change of the mean within the bandwidth to the spread.

Sources: local polynomials: Fan and Gijbels 1996, "Local Polynomial Modelling and Its Applications"; standard deviation
from squared residuals: Fan and Yao 1998, Biometrika 85; distribution of the residuals around a local mean: Hyndman,
Bashtannyk and Grunwald 1996, Journal of Computational and Graphical Statistics 5; rescaling of a smoothed distribution:
Jones 1991, Statistics and Probability Letters 12; bootstrap of pairs: Efron 1979, Annals of Statistics 7. NumPy
only: the nightly jobs import this without torch.
"""

import hashlib
import math

import numpy as np
import numpy.typing as npt

from model.config import N_AGES

__all__ = ["MIN_PAIRS", "N_AGES", "Floats", "band_shares", "fit", "moments", "replicates", "version"]

Floats = npt.NDArray[np.float64]
Ages = npt.NDArray[np.int64]

MIN_PAIRS = 200
"""Fewest pairs from which published figures are corrected. With 200 photos of the tills, corrected indices
have 0.6 of the error of uncorrected ones, and the worst of 100 draws is better than the worst without correction; with
100 photos it is not (`make bench-kernel`)."""

BANDWIDTH_YEARS = 5.0
"""Photos are weighted by a normal kernel of this width around the true age, years. Mean log likelihood of photos of 13
years and more in tenfold cross-validation, 1,653 photos of a model with an error of 8 years: -3.28; one shape for all
ages: -3.44 (bandwidth 6); the errors of neighbouring ages, smoothed: -3.31."""

PRIOR_PAIRS = 1.0
"""Weight, as a number of pairs, of a slope of 0 and of the overall variance. It keeps ages with few pairs stable."""

SHAPE_SMOOTHING = 0.2
"""The distribution of the standardised errors is smoothed by a normal kernel of this width, standard deviations."""

DOMAIN = (1.0, 99.0)
"""Percentiles of the true ages between which the local lines are used; beyond, mean and spread stay constant."""

TRANSFER_SHIFT_YEARS = 1.0
TRANSFER_LOG_SCALE = 0.1
"""Standard deviations of the shift and of the logarithm of the scale by which the errors at a till may differ from
those on labelled photos."""

_SCORES = np.linspace(-8, 8, 801)  # of the standardised errors, where their distribution is tabulated
_YEARS = np.arange(N_AGES)

_STEP = _SCORES[1] - _SCORES[0]
_NORMAL = np.array(
    [math.erfc(-n * _STEP / SHAPE_SMOOTHING / math.sqrt(2)) / 2 for n in range(1 - len(_SCORES), len(_SCORES))]
)
_SMOOTHED = np.array([_NORMAL[len(_SCORES) - 1 - n :][: len(_SCORES)] for n in range(len(_SCORES))])  # (801, 801)
"""Row n: the distribution of a score `_SCORES[n]`, smoothed."""


def fit(true_years: Ages, estimated_years: Floats) -> Floats:
    """Fit the error kernel: K[a, e] = P(estimated completed year e | true age a).

    With mean m(a) and standard deviation s(a) of the error as in `moments`, and F_a the distribution of the
    standardised errors (error - m) / s of the pairs, weighted by their true age as in `moments`, smoothed by a normal
    kernel, and rescaled to mean 0 and variance 1:

        K[a, e] = F_a((e + 0.5 - a - m(a)) / s(a)) - F_a((e - 0.5 - a - m(a)) / s(a))

    because an estimate y counts as year floor(y + 0.5). What is below 0 or above 100 counts as 0 or 100.

    Args:
        true_years: (N,) true ages, completed years 0 to 100; N at least 1.
        estimated_years: (N,) estimates, years.

    Returns:
        (101, 101): row true age, column estimated year; each row sums to 1.

    >>> kernel = fit(np.repeat([20, 30, 40], 100), np.repeat([22.0, 32.0, 42.0], 100))
    >>> kernel.shape, kernel[30].argmax(), round(kernel[30, 32], 3)
    ((101, 101), np.int64(32), np.float64(1.0))
    """
    pairs = _Pairs(true_years, estimated_years)
    return pairs.kernel(np.ones(len(true_years)))


def moments(true_years: Ages, estimated_years: Floats) -> tuple[Floats, Floats]:
    """Return mean and standard deviation of the error (estimate - true age) by true age, years: (101,) and (101,).

    Mean m(a): the local line through the errors, weights exp(-(x - a)^2 / (2 h^2)) for a pair of true age x, h =
    `BANDWIDTH_YEARS`. Variance: the local line through the squared residuals, each divided by one minus its leverage,
    and at least a quarter of their local average. Ages outside `DOMAIN` have the values of its ends.

    Args:
        true_years: (N,) true ages, completed years 0 to 100; N at least 1.
        estimated_years: (N,) estimates, years.
    """
    return _Pairs(true_years, estimated_years).moments(np.ones(len(true_years)))


def replicates(true_years: Ages, estimated_years: Floats, n: int = 20, seed: int = 0, *, transfer: bool) -> Floats:
    """Refit the kernel to bootstraps of the pairs: how uncertain the kernel is.

    Args:
        true_years: (N,) true ages, completed years 0 to 100; N at least 1.
        estimated_years: (N,) estimates, years.
        n: number of bootstraps.
        seed: of the random numbers.
        transfer: whether the pairs come from other photos than those of the tills. Then the errors of each bootstrap
            become c * error + d with log c ~ N(0, 0.1^2) and d ~ N(0, 1 year^2).

    Returns:
        (n, 101, 101), each as `fit`.
    """
    random = np.random.default_rng(seed)
    pairs = _Pairs(true_years, estimated_years)
    kernels = np.empty((n, N_AGES, N_AGES))
    for number in range(n):
        drawn = random.integers(len(true_years), size=len(true_years))
        scale, shift = np.exp(TRANSFER_LOG_SCALE * random.normal()), TRANSFER_SHIFT_YEARS * random.normal()
        counts = np.bincount(drawn, minlength=len(true_years)).astype(float)
        kernels[number] = pairs.kernel(counts, scale=scale, shift=shift) if transfer else pairs.kernel(counts)
    return kernels


def version(true_years: Ages, estimated_years: Floats) -> str:
    """Return 12 hexadecimal digits that identify a set of pairs, whatever their order.

    >>> version(np.array([20, 30]), np.array([21.5, 28.0])) == version(np.array([30, 20]), np.array([28.0, 21.5]))
    True
    """
    order = np.lexsort((estimated_years, true_years))
    content = np.stack([np.asarray(true_years, "<f8")[order], np.asarray(estimated_years, "<f8")[order]])
    return hashlib.sha256(content.tobytes()).hexdigest()[:12]


def band_shares(kernel: Floats, weight_of_age: Floats, limits: list[tuple[int, int]]) -> Floats:
    """Return P(estimated in band j | true in band i), (B, B): the shares of a band's people by band of the estimate.

    It is sum over a in i of w(a) * sum over e in j of K[a, e], divided by sum over a in i of w(a). A band without
    weight has a row of nan.

    Args:
        kernel: (101, 101) as `fit`.
        weight_of_age: (101,) number or share of the people of each true age.
        limits: first and last year of the B bands, completed years.

    >>> band_shares(np.eye(101), np.ones(101), [(0, 17), (18, 120)]).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    members = np.array([(low <= _YEARS) & (high >= _YEARS) for low, high in limits], float)  # (B, 101)
    weights = members * weight_of_age
    with np.errstate(invalid="ignore"):
        shares: Floats = weights @ kernel @ members.T / weights.sum(axis=1, keepdims=True)
    return shares


class _Pairs:
    """Pairs prepared for repeated fits, each with its own number of times that a pair counts: (N,) `counts`."""

    def __init__(self, true_years: Ages, estimated_years: Floats) -> None:
        self._age = np.asarray(true_years, np.int64)
        self._error = np.asarray(estimated_years, float) - self._age
        centre = np.clip(_YEARS, *np.percentile(self._age, DOMAIN))
        self._distance = _YEARS - centre[:, None]  # (101 centres, 101 ages)
        self._weight = np.exp(-0.5 * (self._distance / BANDWIDTH_YEARS) ** 2)

    def moments(self, counts: Floats) -> tuple[Floats, Floats]:
        n, total, squares = (
            np.bincount(self._age, counts * self._error**power, minlength=N_AGES).astype(float) for power in range(3)
        )
        weight, slope = self._weight, self._weight * self._distance
        sum_0, sum_1 = weight @ n, slope @ n
        # The prior adds pairs at one bandwidth on both sides, which say that the slope is 0.
        sum_2 = (slope * self._distance) @ n + PRIOR_PAIRS * BANDWIDTH_YEARS**2
        determinant = sum_0 * sum_2 - sum_1**2

        def line(values: Floats) -> Floats:
            at_centre: Floats = (sum_2 * (weight @ values) - sum_1 * (slope @ values)) / determinant
            return at_centre

        mean, leverage = line(total), np.minimum(sum_2 / determinant, 0.5)
        residuals = np.maximum(squares - 2 * mean * total + n * mean**2, 0) / (1 - leverage)
        overall = residuals.sum() / n.sum()
        average = (weight @ residuals + PRIOR_PAIRS * overall) / (sum_0 + PRIOR_PAIRS)
        variance = (sum_0 * line(residuals) + PRIOR_PAIRS * overall) / (sum_0 + PRIOR_PAIRS)
        return mean, np.sqrt(np.maximum(variance, average / 4)) + 1e-6

    def kernel(self, counts: Floats, *, scale: float = 1, shift: float = 0) -> Floats:
        """Return the kernel (101, 101) of the errors, multiplied by `scale` and shifted by `shift` years."""
        mean, spread = self.moments(counts)
        score = (self._error - mean[self._age]) / spread[self._age]
        column = np.clip(np.rint((score - _SCORES[0]) / _STEP), 0, len(_SCORES) - 1).astype(np.int64)
        n_scores = np.bincount(self._age * len(_SCORES) + column, counts, minlength=N_AGES * len(_SCORES))
        weighted = self._weight @ n_scores.reshape(N_AGES, len(_SCORES))
        share = weighted / weighted.sum(axis=1, keepdims=True)  # (101 ages, 801 scores)
        centre = share @ _SCORES
        # Smoothing adds the square of its width to the variance.
        deviation = np.sqrt(np.maximum(share @ _SCORES**2 - centre**2, 0) + SHAPE_SMOOTHING**2)
        cumulative = share @ _SMOOTHED
        edges = (_YEARS[:-1] + 0.5 - (_YEARS + scale * mean + shift)[:, None]) / (scale * spread)[:, None]  # (101, 100)
        places = centre[:, None] + deviation[:, None] * edges
        below = np.array(
            [np.interp(place, _SCORES, row, left=0, right=1) for place, row in zip(places, cumulative, strict=True)]
        )
        return np.maximum(np.diff(below, prepend=0, append=1), 0)  # rounding may leave -1e-16
