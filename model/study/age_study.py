"""Statistics of the ages in a labelled photo set: photos per age, range and group, and label noise.

Ages are completed years, 0 to 100. Pure functions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from model.config import N_AGES
from model.evaluation.metrics import BANDS, Ages, Floats, Interval, Range, mean_interval
from model.photos.data import HELD_OUT_SHARE

SHARES: dict[str, Range] = {
    "children (under 13)": (0, 12),
    "teenagers (13-19)": (13, 19),
    "over 60": (61, N_AGES - 1),
    "over 80": (81, N_AGES - 1),
}

ERROR_SPREAD_YEARS = 5.0
"""Assumed standard deviation of a model's absolute errors. Errors have long tails, so it is close to their mean."""


def photos_per_age(ages: Ages) -> Ages:
    """Count the photos of each age: (101,)."""
    return np.bincount(ages, minlength=N_AGES).astype(np.int64)


def missing_ages(per_age: Ages) -> list[int]:
    """Return the ages without a photo between the youngest and the oldest.

    >>> missing_ages(photos_per_age(np.array([20, 22, 25])))
    [21, 23, 24]
    """
    occurring = np.flatnonzero(per_age)
    return [age for age in range(occurring[0], occurring[-1]) if per_age[age] == 0]


def rarest_ages(per_age: Ages, n: int = 50) -> Ages:
    """Return up to `n` of the ages that occur, the rarest first; of equally rare ages the younger first."""
    occurring = np.flatnonzero(per_age)
    return occurring[np.argsort(per_age[occurring], kind="stable")][:n]


def quartiles(per_age: Ages) -> Floats:
    """Return least, lower quartile, median, upper quartile and most photos per age, over the ages that occur."""
    return np.percentile(per_age[per_age > 0], [0, 25, 50, 75, 100])


def whipple_index(per_age: Ages) -> float:
    """Return Whipple's index of the preference for ages that end in 0 and 5: 100 is none, 500 means no other ages.

    It covers the ages 23 to 62, and is NaN without photos of these ages.

    >>> whipple_index(photos_per_age(np.array([25, 30, 60, 61])))
    375.0
    """
    adults = per_age[23:63]
    return float(500 * adults[2::5].sum() / adults.sum()) if adults.sum() else np.nan


class AgeRange(NamedTuple):
    """Photos of a range of ages."""

    name: str
    low: int
    high: int
    photos: int
    percent: float
    """Of all photos."""
    photos_per_age: float
    held_out: int
    """Photos in `HELD_OUT_SHARE` of them."""
    error_width_years: float
    """Half width of the 95 % interval that the mean absolute error would have; infinite if no photo is held out."""


def per_range(ages: Ages, ranges: Mapping[str, Range]) -> list[AgeRange]:
    """Count the photos with `ages` (N,) in each range."""
    counted = []
    for name, (low, high) in ranges.items():
        photos = int(((ages >= low) & (ages <= high)).sum())
        held_out = round(photos * HELD_OUT_SHARE)
        counted.append(
            AgeRange(
                name=name,
                low=low,
                high=high,
                photos=photos,
                percent=100 * photos / len(ages),
                photos_per_age=photos / (high - low + 1),
                held_out=held_out,
                error_width_years=1.96 * ERROR_SPREAD_YEARS / held_out**0.5 if held_out else np.inf,
            )
        )
    return counted


def per_attribute(ages: Ages, attributes: Mapping[str, npt.NDArray[np.str_]]) -> pd.DataFrame:
    """Count photos by each value of each attribute (N,): `attribute`, `value`, `photos`, `median_age`, the bands."""
    return pd.DataFrame(
        [
            {"attribute": name, "value": str(value), "photos": len(of_value), "median_age": float(np.median(of_value))}
            | {band.name: band.photos for band in per_range(of_value, BANDS)}
            for name, values in attributes.items()
            for value in np.unique(values)
            for of_value in [ages[values == value]]
        ]
    )


@dataclass(frozen=True, kw_only=True)
class LabelNoise:
    """Differences between the labels of one picture, over the G pictures that occur more than once."""

    gaps_years: Ages  # (G,) highest minus lowest age
    error_years: Interval
    """Mean absolute error of one label: the mean difference of two, divided by the root of 2 as for normal errors.

    For any distribution of independent errors it is between half of that difference and all of it. A bias that all
    labels share is not included."""

    @property
    def n_conflicts(self) -> int:
        """Pictures with more than one age."""
        return int((self.gaps_years > 0).sum())


def label_noise(ages: Ages, groups: Ages) -> LabelNoise:
    """Compare the ages (N,) within each group (N,) of copies. Each picture counts once, whatever its number of copies.

    >>> noise = label_noise(np.array([30, 34, 50, 50, 70]), np.array([0, 0, 1, 1, 2]))
    >>> noise.gaps_years.tolist(), noise.n_conflicts, round(noise.error_years.estimate, 3)
    ([4, 0], 1, 1.414)
    """
    order = np.lexsort((ages, groups))
    starts = np.flatnonzero(np.diff(groups[order])) + 1
    together = [members for members in np.split(ages[order], starts) if len(members) > 1]
    gaps = np.array([members[-1] - members[0] for members in together], np.int64)
    differences = np.array([_mean_difference(members) for members in together])
    return LabelNoise(gaps_years=gaps, error_years=mean_interval(differences / np.sqrt(2)))


def _mean_difference(ascending: Ages) -> float:
    """Return the mean absolute difference over all pairs, in one pass: a placeholder may have thousands of copies."""
    n = len(ascending)
    return float(((2 * np.arange(n) - n + 1) * ascending).sum() / (n * (n - 1) / 2))
