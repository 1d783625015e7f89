"""Errors of predicted ages and their 95 % intervals. Ages and errors are in years."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

Floats = npt.NDArray[np.float64]
Ages = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Groups = npt.NDArray[np.str_]

Range = tuple[int, int]
"""Lowest and highest age, both included."""

DECADES: dict[str, Range] = {f"{low:02d}-{low + 9:02d}": (low, low + 9) for low in range(0, 90, 10)} | {
    "90-100": (90, 100)
}

BANDS: dict[str, Range] = {
    "under_18": (0, 17),
    "18-29": (18, 29),
    "30-44": (30, 44),
    "45-59": (45, 59),
    "60_plus": (60, 100),
}
"""The default age bands of the nightly jobs."""

N_RESAMPLES = 2000


class Interval(NamedTuple):
    """An estimate with its 95 % interval. All are NaN if there are no values."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Errors of predicted ages, years. The names are those in `model.json`."""

    n: int
    mae_years: float
    mae_low: float
    """Lower end of the 95 % interval of the mean absolute error."""
    mae_high: float
    median_error_years: float
    """Median of the absolute errors."""
    within_5_years: float
    """Share of photos."""
    bias_years: float
    """Mean of predicted minus true age. Positive: the model predicts too old."""
    constant_mae_years: float
    """MAE of a constant guess: the median age of the training part."""


def completed_years(age_years: Ages | Floats) -> Ages:
    """Round estimated ages (N,) to whole years, halves up, as age bands do.

    >>> completed_years(np.array([17.4, 17.5, 24.6])).tolist()
    [17, 18, 25]
    """
    years: Ages = np.floor(np.asarray(age_years) + 0.5).astype(np.int64)
    return years


def decades(ages: Ages | Floats) -> Groups:
    """Return the decade of each age (N,): `00-09`, `10-19`, ... `90-100`.

    >>> decades(np.array([9.4, 9.6, 89.0, 100.0])).tolist()
    ['00-09', '10-19', '80-89', '90-100']
    """
    names: Groups = np.array(list(DECADES))[np.clip(completed_years(ages) // 10, 0, 9)]
    return names


def measure(predicted: Floats, ages: Ages, *, constant: float) -> Metrics:
    """Measure the errors of predicted ages (N,) and of a constant guess against labels (N,).

    >>> metrics = measure(np.array([20.0, 33.0, 40.0]), np.array([20, 30, 46]), constant=35.0)
    >>> metrics.mae_years, metrics.bias_years, metrics.constant_mae_years
    (3.0, -1.0, 10.3333)
    """
    error = predicted - ages
    absolute = np.abs(error)
    mae = mean_interval(absolute)
    return Metrics(
        n=len(ages),
        mae_years=round(mae.estimate, 4),
        mae_low=round(mae.low, 4),
        mae_high=round(mae.high, 4),
        median_error_years=round(float(np.median(absolute)), 4),
        within_5_years=round(float((absolute <= 5).mean()), 4),
        bias_years=round(float(error.mean()), 4),
        constant_mae_years=round(float(np.abs(constant - ages).mean()), 4),
    )


def compare(predicted: Floats, other: Floats, ages: Ages) -> tuple[Interval, str]:
    """Compare two models on the same photos: by how much the MAE of the first is smaller, years, and a verdict.

    Args:
        predicted: (N,) years, of the first model.
        other: (N,) years, of the other model.
        ages: (N,) labels.
    """
    gain = mean_interval(np.abs(other - ages) - np.abs(predicted - ages))
    if gain.low > 0:
        verdict = "better than the other"
    elif gain.high < 0:
        verdict = "worse than the other"
    else:
        verdict = "not shown to differ from the other"
    return gain, f"{verdict}: MAE differs by {-gain.estimate:+.2f} years (95 % {-gain.high:+.2f} to {-gain.low:+.2f})"


def mean_interval(values: Floats) -> Interval:
    """Return the mean of `values` (N,) with its bootstrap interval: percentiles of 2,000 resampled means.

    For a paired comparison, pass the differences: the errors of both models on a photo are then resampled together.
    The interval of a single value is NaN.
    """
    if len(values) == 0:
        return Interval(np.nan, np.nan, np.nan)
    mean = float(values.mean())
    if len(values) == 1:
        return Interval(mean, np.nan, np.nan)
    rng = np.random.default_rng(0)
    result = stats.bootstrap((values,), np.mean, n_resamples=N_RESAMPLES, batch=100, method="percentile", rng=rng)
    return Interval(mean, float(result.confidence_interval.low), float(result.confidence_interval.high))


def bootstrap(n: int, statistics: Callable[[Ages], Floats]) -> list[Interval]:
    """Return K statistics of N photos with their bootstrap intervals, from the same resamples.

    Args:
        n: photos.
        statistics: takes row numbers (N,) and returns K values. An interval is NaN if its statistic is NaN for any
            resample.
    """
    rng = np.random.default_rng(0)
    resampled = [statistics(rng.integers(0, n, n)) for _ in range(N_RESAMPLES)]
    ends = np.percentile(resampled, (2.5, 97.5), axis=0)
    return [Interval(*map(float, interval)) for interval in zip(statistics(np.arange(n)), *ends, strict=True)]


def share_interval(hits: Bools) -> Interval:
    """Return the share of true values among `hits` (N,) with its Wilson interval.

    >>> share, low, high = share_interval(np.array([True, False, False, False]))
    >>> f"{share:.2f} ({low:.2f} to {high:.2f})"
    '0.25 (0.05 to 0.70)'
    """
    if len(hits) == 0:
        return Interval(np.nan, np.nan, np.nan)
    ends = stats.binomtest(int(hits.sum()), len(hits)).proportion_ci(method="wilson")
    return Interval(float(hits.mean()), float(ends.low), float(ends.high))
