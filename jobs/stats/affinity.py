"""Affinity of age bands for items: corrected for the error of the estimated ages, with intervals.

One call handles one window: departments, their categories, their products. A level is centred on the level above, so a
product with few receipts is like its category.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from jobs.stats import curves, shoppers
from jobs.stats.ages import YEARS, Bools, Floats, Ints, smooth_basis

N_FUNCTIONS = 9
LENGTH = 0.15
STEP_SCALES = (0.05, 1.5)
"""Prior deviation of the step at a legal age: hardly any, or a factor of 4."""

TEMPER = 50_000
"""With more receipts than this, what the model does not explain limits a curve, not chance."""

MIN_VARIANCE_SHARE = 0.02
"""Floor of 1 - p: an item on every receipt would have no variance."""

MAX_LOG = 10.0
"""Largest logarithm of an end of an interval: a cell without receipts has an interval without end."""

Z_80, Z_95 = float(special.ndtri(0.9)), float(special.ndtri(0.975))


@dataclass(frozen=True, kw_only=True)
class Window:
    """All receipts of a window, and the kernel, of S stores and R replicates."""

    counts_by_store: Floats
    """(S, 101) receipts by store and estimated age, at least one."""
    kernel: Floats
    """(101, 101) P(estimated age | true age): row true age, rows sum to 1."""
    replicates: Floats
    """(R, 101, 101) kernels within their uncertainty. With R = 0, intervals leave out the error of the kernel."""

    def __post_init__(self) -> None:
        if self.counts_by_store.sum() <= 0:
            raise ValueError("the window has no receipts; leave it out")


@dataclass(frozen=True, kw_only=True)
class Level:
    """The I items of one level.

    Raises:
        ValueError: an item has no receipts, or its receipts by store do not add up to those by age.
    """

    counts: Floats
    """(I, 101) receipts with each item by estimated age, at least one."""
    by_store: Floats
    """(I, S) the same receipts by store."""
    parent: Ints
    """(I,) row of the item's parent in the level above; ignored at the top."""
    min_age: Ints
    """(I,) legal age, completed years; 0 where there is none."""

    def __post_init__(self) -> None:
        by_age, by_store = self.counts.sum(axis=1), self.by_store.sum(axis=1)
        if (empty := by_age <= 0).any():
            raise ValueError(f"row {empty.argmax()} has no receipts; leave such items out")
        if (differs := ~np.isclose(by_age, by_store)).any():
            row = differs.argmax()
            raise ValueError(f"row {row} has {by_age[row]:g} receipts by age and {by_store[row]:g} by store")


@dataclass(frozen=True, kw_only=True)
class Estimates:
    """Indices of I items and G bands: log(index / 100), so that 0 means as all shoppers."""

    log_index: Floats  # (I, G) posterior mean
    sd: Floats  # (I, G) posterior standard deviation, kernel included
    sign_error: Floats  # (I, G) local false sign rate

    def index(self) -> Floats:
        """Return the index, (I, G), limited as intervals are: a kernel that fits nothing can give any number."""
        return 100 * np.exp(np.clip(self.log_index, -MAX_LOG, MAX_LOG))

    def interval(self, z: float) -> tuple[Floats, Floats]:
        """Return the ends of an interval of the index, 100 exp(log_index -+ z sd), (I, G) each; `z` is Z_80 or Z_95."""
        low, high = (np.clip(self.log_index + sign * z * self.sd, -MAX_LOG, MAX_LOG) for sign in (-1, 1))
        return 100 * np.exp(low), 100 * np.exp(high)


@dataclass(frozen=True, kw_only=True)
class _Fitted:
    """What the level below needs of a level."""

    curve: Floats  # (I, 101) posterior mean of s, including that of the parents
    curve_by_replicate: Floats  # (R, I, 101)
    covariance: Floats  # (I, C, C)
    min_age: Ints


class AffinityModel:
    """The ages of the shoppers of a window, and estimates of its items.

    Attributes:
        shoppers: (101,) share of receipts of each true age; sum 1.

    An item on 20 % of the receipts of shoppers under 30 and on 10 % of the others, without error of the ages. The
    indices of the counts are 171 and 85; the curve is smooth, so it rounds off the jump at 30:

    >>> receipts = 500 * np.exp(-(((YEARS - 40) / 15) ** 2))
    >>> bought = np.where(YEARS < 30, 0.2, 0.1) * receipts
    >>> none = np.zeros(1, dtype=np.int64)
    >>> level = Level(counts=bought[None], by_store=bought.sum(keepdims=True)[None], parent=none, min_age=none)
    >>> window = Window(counts_by_store=receipts[None], kernel=np.eye(101), replicates=np.zeros((0, 101, 101)))
    >>> estimates = AffinityModel(window).estimate([level], np.array([YEARS < 30, YEARS >= 30]))[0]
    >>> (100 * np.exp(estimates.log_index)).round()
    array([[160.,  88.]])
    """

    def __init__(self, window: Window, dispersion: float = 1.0) -> None:
        """Estimate the ages of the shoppers, for the kernel and each replicate.

        Args:
            window: all receipts.
            dispersion: variance of counts relative to that of independent receipts, at least 1.
        """
        self._window, self._dispersion = window, dispersion
        self._counts = window.counts_by_store.sum(axis=0)
        self._kernels = [window.kernel, *window.replicates]
        self._ages = [shoppers.ages(self._counts, kernel) for kernel in self._kernels]
        self.shoppers = self._ages[0]
        self._by_store = [
            shoppers.ages_by_store(window.counts_by_store, self.shoppers, window.kernel) * (ages / self.shoppers)
            for ages in self._ages
        ]
        self._basis = smooth_basis(self.shoppers, N_FUNCTIONS, LENGTH, linear=True)

    def estimate(self, levels: Sequence[Level], bands: Bools) -> list[Estimates]:
        """Estimate the indices of each level.

        With g the ages of the shoppers and s an item's curve (see `curves`), the index of a band b is

            100 * (sum_b g exp(s) / sum_b g) / sum g exp(s)

        Mean and variance of its logarithm are those of the mixture over tau, by the delta method, plus the mean square
        of the change under the replicates of the kernel (Kuechenhoff, Mwalili and Lesaffre 2006). The local false sign
        rate is the posterior probability of the less likely side of 0 (Stephens 2016).

        Args:
            levels: from the top down; the items of a level are centred on their parents in the level above.
            bands: (G, 101) which years belong to each band; at least one year each.

        Returns:
            One for each level, rows in the order of its items.

        Raises:
            ValueError: the parent of an item is not a row of the level above.
        """
        estimates: list[Estimates] = []
        above: _Fitted | None = None
        for level in levels:
            result, above = self._level(level, above, bands)
            estimates.append(result)
        return estimates

    def _level(self, level: Level, above: _Fitted | None, bands: Bools) -> tuple[Estimates, _Fitted]:
        n_items = len(level.counts)
        if above is not None and (wrong_row := (level.parent < 0) | (level.parent >= len(above.curve))).any():
            row = wrong_row.argmax()
            raise ValueError(f"row {row} has parent {level.parent[row]}; the level above has {len(above.curve)} rows")
        n_functions = self._basis.shape[1] + 1
        log_index, sd, wrong = (np.zeros((n_items, len(bands))) for _ in range(3))
        curve = np.zeros((n_items, YEARS.size))
        by_replicate = np.zeros((len(self._window.replicates), n_items, YEARS.size))
        covariance = np.zeros((n_items, n_functions, n_functions))
        for min_age in np.unique(level.min_age):
            rows = np.flatnonzero(level.min_age == min_age)
            problem = self._problem(level, rows, above, 0)
            fitted = _fit(problem, has_step=min_age > 0)
            basis, (best, _) = problem.basis, fitted.best()
            centre, centres = _parents(level.parent[rows], above, len(self._window.replicates))
            others = (self._problem(level, rows, above, number) for number in range(1, len(self._kernels)))
            modes = curves.moved_modes(problem, others, fitted)
            at_best = _log_index(self.shoppers * np.exp(centre + best @ basis.T), self.shoppers, bands)
            kernel_variance = np.zeros((rows.size, len(bands)))
            for ages, c, z in zip(self._ages[1:], centres, modes, strict=True):
                moved = _log_index(ages * np.exp(c + z @ basis.T), ages, bands)
                kernel_variance += (moved - at_best) ** 2 / len(modes)
            log_index[rows], sd[rows], wrong[rows] = self._summary(fitted, centre, basis, bands, kernel_variance)
            curve[rows] = centre + fitted.mean() @ basis.T
            by_replicate[:, rows] = centres + (modes - best + fitted.mean()) @ basis.T
            covariance[rows] = fitted.total_covariance()
        return (
            Estimates(log_index=log_index, sd=sd, sign_error=wrong),
            _Fitted(curve=curve, curve_by_replicate=by_replicate, covariance=covariance, min_age=level.min_age),
        )

    def _problem(self, level: Level, rows: Ints, above: _Fitted | None, number: int) -> curves.Problem:
        """Return the problem of some items of one legal age, for kernel `number` (0: the best one)."""
        counts, by_store = level.counts[rows], level.by_store[rows]
        total = counts.sum(axis=1)
        kernel, share = self._kernels[number], by_store / np.maximum(by_store.sum(axis=1, keepdims=True), 1e-12)
        base = share @ self._by_store[number]
        expected = shoppers.expected_counts(by_store, self._window.counts_by_store)
        exposure = expected / np.maximum(total[:, None] * (base @ kernel), 1e-12)
        min_age = int(level.min_age[rows[0]])
        step = (min_age <= YEARS) & (min_age > 0)
        basis = np.column_stack([self._basis, step - self.shoppers @ step])
        prior = np.zeros((rows.size, basis.shape[1], basis.shape[1]))
        if above is not None:
            parents = level.parent[rows]
            centres = above.curve if number == 0 else above.curve_by_replicate[number - 1]
            base = base * np.exp(centres[parents])
            prior = above.covariance[parents].copy()
            other_step = above.min_age[parents] != min_age
            prior[other_step, -1, :] = prior[other_step, :, -1] = 0
        penetration = total / self._counts.sum()
        independent = np.maximum(1 - penetration, MIN_VARIANCE_SHARE)
        return curves.Problem(
            counts=counts,
            base=base,
            exposure=exposure,
            kernel=kernel,
            basis=basis,
            dispersion=self._dispersion * independent * (1 + total / TEMPER),
            prior=prior,
            scale=np.append(np.ones(basis.shape[1] - 1), 0),
        )

    def _summary(
        self, fitted: curves.Curves, centre: Floats, basis: Floats, bands: Bools, kernel_variance: Floats
    ) -> tuple[Floats, Floats, Floats]:
        """Return posterior mean, standard deviation and local false sign rate of the log indices, (I, G) each."""
        means, variances = [], []
        for mode, covariance in zip(fitted.mode, fitted.covariance, strict=True):
            intensity = self.shoppers * np.exp(centre + mode @ basis.T)
            means.append(_log_index(intensity, self.shoppers, bands))
            in_band = intensity @ (bands.T[:, :, None] * basis[:, None, :]).reshape(YEARS.size, -1)
            in_band = in_band.reshape(len(mode), len(bands), -1) / (intensity @ bands.T)[:, :, None]
            slope = in_band - ((intensity @ basis) / intensity.sum(axis=1, keepdims=True))[:, None, :]
            variances.append(((slope @ covariance) * slope).sum(axis=2) + kernel_variance)
        mean, variance = np.array(means), np.array(variances)
        weight = fitted.weight.T[:, :, None]
        total = (weight * mean).sum(axis=0)
        spread = (weight * (variance + (mean - total) ** 2)).sum(axis=0)
        z = mean / np.sqrt(np.maximum(variance, 1e-12))
        below, above = (weight * special.ndtr(-z)).sum(axis=0), (weight * special.ndtr(z)).sum(axis=0)
        return total, np.sqrt(spread), np.minimum(below, above)


def _parents(parent: Ints, above: _Fitted | None, n_replicates: int) -> tuple[Floats, Floats]:
    """Return the curves that items are centred on, (I, 101), and the same for each replicate, (R, I, 101)."""
    if above is None:
        return np.zeros((parent.size, YEARS.size)), np.zeros((n_replicates, parent.size, YEARS.size))
    return above.curve[parent], above.curve_by_replicate[:, parent]


def _log_index(intensity: Floats, ages: Floats, bands: Bools) -> Floats:
    """Return log(index / 100) of each item and band, (I, G), from intensities (I, 101) of ages (101,)."""
    share = (intensity @ bands.T) / intensity.sum(axis=1, keepdims=True)
    log_index: Floats = np.log(np.maximum(share, 1e-300) / (bands @ ages))
    return log_index


def _fit(problem: curves.Problem, *, has_step: bool) -> curves.Curves:
    """Fit curves; items with a legal age take the deviation of the step that explains them better."""
    if not has_step:
        return curves.fit(problem)
    fits = []
    for deviation in STEP_SCALES:
        prior = problem.prior.copy()
        prior[:, -1, -1] += deviation**2
        fits.append(curves.fit(replace(problem, prior=prior)))
    scales = len(curves.SCALES)
    weight = curves.mixture(
        np.concatenate([fit.evidence for fit in fits], axis=1), np.tile(curves.PRIOR_WEIGHTS, 2) / 2
    )
    best = np.array([weight[:, :scales].sum(axis=1), weight[:, scales:].sum(axis=1)]).argmax(axis=0)
    items = np.arange(best.size)
    return curves.Curves(
        mode=np.stack([fit.mode for fit in fits])[best, :, items].swapaxes(0, 1),
        covariance=np.stack([fit.covariance for fit in fits])[best, :, items].swapaxes(0, 1),
        weight=np.stack([fit.weight for fit in fits])[best, items],
        evidence=np.stack([fit.evidence for fit in fits])[best, items],
    )
