"""Errors of predicted ages, and how sure one may be of them. Ages and errors are in years."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

Floats = npt.NDArray[np.float64]
Ages = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

Range = tuple[int, int]
"""Lowest and highest age, both included."""

DECADES: dict[str, Range] = {f"{low:02d}-{low + 9:02d}": (low, low + 9) for low in range(0, 90, 10)} | {
    "90-100": (90, 100)
}

N_RESAMPLES = 2000


class Interval(NamedTuple):
    """An estimate with its 95 % interval; all NaN where there is nothing to estimate it from."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Errors of predicted ages, years; the names are those in `model.json`."""

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
    """Mean of predicted minus true: positive where the model makes people older."""
    constant_mae_years: float
    """MAE of answering the median age of the training part for everybody."""


def measure(predicted: Floats, true: Ages, *, constant: float) -> Metrics:
    """Compare predicted ages (N,) with true ages (N,), and a constant guess with them."""
    error = predicted - true
    size = np.abs(error)
    mae = mean_interval(size)
    return Metrics(
        n=len(true),
        mae_years=round(mae.estimate, 4),
        mae_low=round(mae.low, 4),
        mae_high=round(mae.high, 4),
        median_error_years=round(float(np.median(size)), 4),
        within_5_years=round(float((size <= 5).mean()), 4),
        bias_years=round(float(error.mean()), 4),
        constant_mae_years=round(float(np.abs(constant - true).mean()), 4),
    )


def mean_interval(values: Floats) -> Interval:
    """Return the mean of `values` (N,) with its bootstrap interval: percentiles of 2,000 resampled means.

    Of paired differences it is the paired comparison: both models' errors on a photo are drawn together.
    One value has no spread: its interval is NaN.
    """
    if len(values) == 0:
        return Interval(np.nan, np.nan, np.nan)
    return bootstrap(values, np.mean)


def bootstrap(sample: npt.NDArray[Any], statistic: Callable[..., Any]) -> Interval:
    """Return a statistic of `sample` (N,), such as row numbers, with its bootstrap interval.

    Where the statistic is NaN for some of the resamples, so is the interval.
    """
    estimate = float(statistic(sample))
    if len(sample) == 1:
        return Interval(estimate, np.nan, np.nan)
    rng = np.random.default_rng(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)  # NaN is said by NaN
        found = stats.bootstrap((sample,), statistic, n_resamples=N_RESAMPLES, batch=100, method="percentile", rng=rng)
    return Interval(estimate, float(found.confidence_interval.low), float(found.confidence_interval.high))


def share_interval(hits: Bools) -> Interval:
    """Return the share of true values among `hits` (N,) with its Wilson interval."""
    if len(hits) == 0:
        return Interval(np.nan, np.nan, np.nan)
    found = stats.binomtest(int(hits.sum()), len(hits)).proportion_ci(method="wilson")
    return Interval(float(hits.mean()), float(found.low), float(found.high))
