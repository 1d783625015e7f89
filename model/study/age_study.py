"""What the ages of a labelled photo set are, in numbers: how many photos of which age, and how far labels may be off.

Ages are completed years, 0 to 100. Nothing is read or drawn here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from model.evaluation.metrics import Ages, Floats, Interval, Range, mean_interval
from model.network import N_AGES
from model.photos.data import HELD_OUT_SHARE

BANDS: dict[str, Range] = {
    "under_18": (0, 17),
    "18-29": (18, 29),
    "30-44": (30, 44),
    "45-59": (45, 59),
    "60_plus": (60, N_AGES - 1),
}
SHARES: dict[str, Range] = {
    "children (under 13)": (0, 12),
    "teenagers (13-19)": (13, 19),
    "over 60": (61, N_AGES - 1),
    "over 80": (81, N_AGES - 1),
}

ERROR_SPREAD_YEARS = 5.0
"""Assumed standard deviation of a model's absolute errors: errors have long tails, so it is near their mean."""


def photos_per_age(ages: Ages) -> Ages:
    """Count the photos (101,) of each age."""
    return np.bincount(ages, minlength=N_AGES).astype(np.int64)


def missing_ages(per_age: Ages) -> list[int]:
    """Return the ages without a photo between the youngest and the oldest."""
    found = np.flatnonzero(per_age)
    return [age for age in range(found[0], found[-1]) if per_age[age] == 0]


def rarest_ages(per_age: Ages, n: int = 50) -> Ages:
    """Return up to `n` of the ages that occur, the rarest first, the younger first among equals."""
    found = np.flatnonzero(per_age)
    return found[np.argsort(per_age[found], kind="stable")][:n]


def quartiles(per_age: Ages) -> Floats:
    """Return least, lower quartile, median, upper quartile and most photos per age, over the ages that occur."""
    return np.percentile(per_age[per_age > 0], [0, 25, 50, 75, 100])


def whipple_index(per_age: Ages) -> float:
    """Return how much ages ending in 0 and 5 are preferred: 100 not at all, 500 always.

    As demographers define it, over the ages 23 to 62; NaN where there is no photo of them.
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
    """Half of the 95 % interval that the mean absolute error would have there; infinite where no photo is held out."""


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
    """How far labels of one picture are apart, over the G pictures that come more than once."""

    gaps_years: Ages  # (G,) highest minus lowest age
    error_years: Interval
    """Mean absolute error of one label: the mean difference of two, divided by the root of 2 as for normal errors.

    Whatever the distribution of independent errors, it lies between half and the whole of that difference. A bias
    that all labels share does not show."""

    @property
    def n_conflicts(self) -> int:
        """Pictures with more than one age."""
        return int((self.gaps_years > 0).sum())


def label_noise(ages: Ages, groups: Ages) -> LabelNoise:
    """Compare the ages (N,) of photos of one group (N,). A picture counts once, however many copies it has."""
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
