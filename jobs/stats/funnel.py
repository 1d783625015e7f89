"""How far counts of checks may differ between cashiers who differ as usual: spread, limits and tail probabilities.

The effect of a cashier is the log odds of asking for identification, compared with what is expected of the same sales.
Effects of cashiers of a store have the variance tau^2, those of stores tau_store^2. Both are estimated, and the limits
of a funnel plot contain them (Spiegelhalter 2005, "Funnel plots for comparing institutional performance").
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import special

from jobs.stats.ages import Floats, Ints
from jobs.stats.sales import sum_by

WINSOR = 1.645
"""Standardised effects beyond this count as this, so that few extreme cashiers do not widen the limits of all."""

WINSORISED_VARIANCE = 0.831
"""Mean of min(z^2, WINSOR^2) for standard normal z."""

MIN_INFORMATION = 1.0
"""Cashiers with a smaller variance of the number of checks say nothing about the spread."""

LARGEST_SPREAD = 3.0
N_STEPS = 3
_SMALLEST, _NO_STEP = 1e-300, 1e-6
N_NODES = 25
_NODES = np.linspace(-4.8, 4.8, N_NODES)
_WEIGHTS = np.exp(-(_NODES**2) / 2)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()
"""Of a normal distribution. Equal distances suit a distribution that is narrow beside the spread, as with 1,000 sales
and a spread of 0.4: tails between 1e-4 and 0.5 are wrong by at most 1 %, but by 40 % with 15 Gauss-Hermite nodes.
"""


def spread(excess: Callable[[float], tuple[Floats, Floats]]) -> float:
    """Return the standard deviation that explains standardised differences, winsorised; at least 0.

    Paule and Mandel 1982: the spread at which the mean squared standardised difference has its expected value, here
    with winsorised differences (Spiegelhalter 2005).

    Args:
        excess: for a spread, the differences and their variances, both (K,).
    """

    def is_too_small(tau: float) -> bool:
        difference, variance = excess(tau)
        if not difference.size:
            return False
        return bool(np.minimum(difference**2 / variance, WINSOR**2).mean() > WINSORISED_VARIANCE)

    if not is_too_small(0.0):
        return 0.0
    low, high = 0.0, LARGEST_SPREAD
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if is_too_small(middle) else (low, middle)
    return (low + high) / 2


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Spread of effects, and what is known of the store of each of C cashiers from the others there."""

    tau: float
    tau_store: float
    colleagues: Floats
    """(C,) expected effect from the colleagues in the store, log odds; 0 without colleagues."""
    colleagues_variance: Floats
    """(C,) its variance; tau_store^2 without colleagues."""
    store_effect: Floats
    """(S,) effect of each store, shrunk to the chain."""
    store_variance: Floats
    """(S,)"""


def estimate_spread(effect: Floats, variance: Floats, store: Ints, n_stores: int = 0) -> Spread:
    """Estimate the spread between cashiers and between stores, and the effects of stores.

    Args:
        effect: (C,) estimated effect of each cashier, log odds; ignored where `variance` is infinite.
        variance: (C,) variance of the estimate by chance, above 0; infinite if nothing is known.
        store: (C,) number of the store.
        n_stores: S, if stores without cashiers follow; otherwise the largest number of a store, plus 1.
    """
    n_stores = max(n_stores, int(store.max(initial=-1)) + 1)
    informative = variance <= 1 / MIN_INFORMATION

    def colleagues(tau: float, tau_store: float) -> tuple[Floats, Floats, Floats, Floats]:
        weight = 1 / (variance + tau**2)
        weighted = np.where(np.isfinite(variance), weight * effect, 0)
        of_store = sum_by(store, weight, n_stores)
        sum_of_store = sum_by(store, weighted, n_stores)
        prior = 1 / max(tau_store, 1e-6) ** 2
        others = of_store[store] - weight
        mean = (sum_of_store[store] - weighted) / (others + prior)
        return mean, 1 / (others + prior), sum_of_store / (of_store + prior), 1 / (of_store + prior)

    def between_stores(tau: float, tau_store: float) -> tuple[Floats, Floats]:
        weight = np.where(informative, 1 / (variance + tau**2), 0)
        of_store = sum_by(store, weight, n_stores)
        known = of_store > 0
        mean = sum_by(store, np.where(informative, weight * effect, 0), n_stores)[known]
        mean /= of_store[known]
        store_weight = 1 / (1 / of_store[known] + tau_store**2)
        centre = (store_weight @ mean) / max(store_weight.sum(), 1e-9)
        return mean - centre, 1 / of_store[known] + tau_store**2

    tau = tau_store = 0.2
    for _ in range(5):
        # In a comparison with estimated colleagues, the variance of their mean counts too.
        def within(candidate: float, tau_store: float = tau_store) -> tuple[Floats, Floats]:
            mean, mean_variance, _, _ = colleagues(candidate, tau_store)
            return (effect - mean)[informative], (variance + candidate**2 + mean_variance)[informative]

        tau = spread(within)
        tau_store = spread(lambda candidate, tau=tau: between_stores(tau, candidate))  # type: ignore[misc]
    mean, mean_variance, store_effect, store_variance = colleagues(tau, tau_store)
    return Spread(
        tau=tau,
        tau_store=tau_store,
        colleagues=mean,
        colleagues_variance=mean_variance,
        store_effect=store_effect,
        store_variance=store_variance,
    )


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """Distribution of the number of checks of each of C cashiers, if they differ as usual.

    A mixture over the effect of the cashier, with N_NODES nodes. For one effect, the number of checks is
    a sum of independent events of different probabilities (Poisson-binomial). It is approximated by the binomial
    distribution of the same mean and variance, whose size is not a whole number.

    Of 100 sales, tails between 1e-4 and 0.5 are 1.00 to 1.23 times as large as the exact ones; 0.99 to 1.6 times of 27
    sales; with a spread of 0.25, up to 1.08 and 1.4 times. Poisson tails below 0.025 would be 4 to 33 times too large,
    with a spread of 0.25 2 to 6 times. A normal distribution with the mean and variance of the mixture would have tails
    up to 2.2 times too large with a spread of 0.25, and 4 times with 0.4.
    """

    size: Floats  # (C, N)
    probability: Floats  # (C, N)

    @classmethod
    def of(cls, sales: Floats, log_odds: Floats, mean: Floats, deviation: Floats) -> "Predicted":
        """Predict.

        Args:
            sales: (C, B) sales of each cashier by bin of the expected log odds; no row is all 0.
            log_odds: (B,) of a check.
            mean: (C,) expected effect.
            deviation: (C,) standard deviation of the effect.
        """
        size, probability = np.empty((2, len(sales), N_NODES))
        for node, place in enumerate(_NODES):
            p = special.expit(log_odds + (mean + deviation * place)[:, None])
            expected = (sales * p).sum(axis=1)
            probability[:, node] = 1 - (sales * p * (1 - p)).sum(axis=1) / expected
            size[:, node] = expected / probability[:, node]
        return cls(size=size, probability=probability)

    def detectable_ratio(self, limit: Floats, power: float) -> Floats:
        """Return the largest ratio of checks that would be seen, (C,); NaN if none would be.

        A cashier who makes this ratio of the checks of others like them is below the limit with the probability
        `power`. Normal approximation with continuity correction.

        Args:
            limit: (C,) number of checks, from `limit`.
            power: for example 0.8.
        """
        mean, within = self.mean, self._variance_within
        between, average = self.variance - within, 1 - within / mean
        low, high = np.zeros_like(limit), np.ones_like(limit)
        for _ in range(20):
            ratio = (low + high) / 2
            variance = ratio * mean * (1 - ratio * average) + ratio**2 * between
            is_seen = ratio * mean + special.ndtri(power) * np.sqrt(variance) <= np.floor(limit) + 0.5
            low, high = np.where(is_seen, ratio, low), np.where(is_seen, high, ratio)
        return np.where(limit > 0, low, np.nan)  # with a limit of 0, not even no check at all is unusual

    @property
    def mean(self) -> Floats:
        """(C,) expected number of checks."""
        expected: Floats = (self.size * self.probability) @ _WEIGHTS
        return expected

    @property
    def variance(self) -> Floats:
        """(C,) variance of the number of checks."""
        between: Floats = (self.size * self.probability - self.mean[:, None]) ** 2 @ _WEIGHTS
        return self._variance_within + between

    @property
    def _variance_within(self) -> Floats:
        """(C,) part of the variance by chance, at a known effect."""
        within: Floats = (self.size * self.probability * (1 - self.probability)) @ _WEIGHTS
        return within

    def tail(self, observed: Floats) -> Floats:
        """Return the mid-p value of so few checks, P(X < observed) + P(X = observed) / 2, (C,)."""
        return (self._cumulative(observed) + self._cumulative(observed - 1)) / 2

    def _cumulative(self, observed: Floats) -> Floats:
        k = observed[:, None]
        inside = (k >= 0) & (k < self.size)
        below = special.betainc(
            np.where(inside, self.size - k, 1), np.where(inside, k + 1, 1), np.where(inside, 1 - self.probability, 0)
        )
        cumulative: Floats = np.where(k < 0, 0, np.where(inside, below, 1)) @ _WEIGHTS
        return np.minimum(cumulative, 1)  # the weights sum to 1 but for rounding

    def limit(self, share: float) -> Floats:
        """Return the number of checks below which a share of such cashiers lies, (C,); between whole numbers.

        Secant steps on the normal quantile of `tail`, which is almost linear in the number of checks.
        """
        wanted, step = float(special.ndtri(share)), np.sqrt(self.variance)
        point: Floats = np.maximum(self.mean + wanted * step, 0)
        error = special.ndtri(np.maximum(self.tail(point), _SMALLEST)) - wanted
        slope = 1 / step
        for _ in range(N_STEPS):
            following = np.maximum(point - error / slope, 0)
            following_error = special.ndtri(np.maximum(self.tail(following), _SMALLEST)) - wanted
            moved = np.abs(following - point) > _NO_STEP
            steeper = (following_error - error) / np.where(moved, following - point, 1)
            slope = np.where(moved & (steeper > 0), steeper, slope)
            point, error = following, following_error
        return point
