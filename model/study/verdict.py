"""Findings in sentences: where a model trained on a labelled photo set will be weak."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from model.evaluation.metrics import BANDS, DECADES, Ages
from model.photos.data import HELD_OUT_SHARE
from model.study.age_study import AgeRange, LabelNoise, missing_ages, per_range, photos_per_age, whipple_index

WIDE_YEARS = 1.0
"""A mean error with a wider interval (half width) is too uncertain to compare models."""

SPARSE_RATIO = 0.25
"""A band is sparse if it has less than this fraction of the photos per age of the densest band: predictions are pulled
towards other bands."""

ROUGH_WHIPPLE = 125.0
"""From this value on, the United Nations call reported ages rough."""

MIN_REPEATED_PICTURES = 10
"""With fewer, label noise is not estimated."""

FEW_PHOTOS = 100
"""In a group and band: with fewer, about ten are held out."""

N_NAMED = 6


def verdict(
    ages: Ages,
    *,
    noise: LabelNoise | None = None,
    by_attribute: pd.DataFrame | None = None,
) -> list[str]:
    """Return findings, one or a few sentences each.

    Args:
        ages: (N,) labels.
        noise: of pictures that occur more than once; None if there are only labels.
        by_attribute: what `per_attribute` returns; None if there are no attributes.
    """
    bands = per_range(ages, BANDS)
    return [
        *_of_bands(bands, float(np.median(ages))),
        *_of_gaps(missing_ages(photos_per_age(ages))),
        *_of_decades(per_range(ages, DECADES)),
        *_of_heaps(whipple_index(photos_per_age(ages))),
        *(_of_noise(noise) if noise is not None else []),
        *(_of_groups(by_attribute) if by_attribute is not None else []),
    ]


def _of_bands(bands: Sequence[AgeRange], median: float) -> Iterator[str]:
    densest = max(bands, key=lambda band: band.photos_per_age)
    smallest = min(bands, key=lambda band: band.photos)
    weak = False
    for band in sorted(bands, key=lambda band: band.photos_per_age):
        thin = band.error_width_years > WIDE_YEARS
        sparse = band.photos_per_age < SPARSE_RATIO * densest.photos_per_age
        weak |= thin or sparse
        if band.photos == 0:
            yield f"{band.name}: no photo. A model can't learn these ages, and its error there stays unknown."
        elif thin or sparse:
            how = "thin and sparse" if thin and sparse else "thin" if thin else "sparse"
            beside = f", {band.photos_per_age:.0f} per age against {densest.photos_per_age:.0f} in {densest.name}"
            yield (
                f"{band.name} is {how}: {band.photos:,} photos{beside if sparse else ''}. "
                f"Expect these ages to be {_pull(band, median)}."
            )
    if not weak:
        yield f"No band is thin: the smallest, {smallest.name}, has {smallest.photos:,} photos."


def _pull(band: AgeRange, median: float) -> str:
    if band.high < median:
        return f"guessed too old, towards the median of {median:.0f}"
    if band.low > median:
        return f"guessed too young, towards the median of {median:.0f}"
    return "guessed with larger errors, either way"


def _of_gaps(missing: Sequence[int]) -> Iterator[str]:
    if missing:
        yield f"No photo of age {spans(missing)}: a model can only interpolate there."


def _of_decades(decades: Sequence[AgeRange]) -> Iterator[str]:
    wide = [
        f"{decade.name} ({decade.held_out} photos, ±{decade.error_width_years:.1f} years)"
        if decade.held_out
        else f"{decade.name} (none)"
        for decade in decades
        if decade.error_width_years > WIDE_YEARS
    ]
    if wide:
        yield f"{HELD_OUT_SHARE:.0%} held-out photos are too few to measure a mean error at {', '.join(wide)}."
    else:
        widest = max(decades, key=lambda decade: decade.error_width_years)
        yield (
            f"{HELD_OUT_SHARE:.0%} held-out photos are enough for every decade: the widest interval of a mean "
            f"error is ±{widest.error_width_years:.1f} years, at {widest.name}."
        )


def _of_heaps(whipple: float) -> Iterator[str]:
    if whipple >= ROUGH_WHIPPLE:
        yield (
            f"Labels are rounded: ages ending in 0 and 5 occur {whipple / 100:.1f} times as often as they should "
            f"(Whipple's index {whipple:.0f}), so many labels are estimates, a year or two off."
        )


def _of_noise(noise: LabelNoise) -> Iterator[str]:
    n = len(noise.gaps_years)
    error = noise.error_years
    if n < MIN_REPEATED_PICTURES:
        yield f"Label noise is unknown: {n} pictures occur more than once, too few to compare their labels."
    elif noise.n_conflicts == 0:
        yield f"Label noise is unknown: the copies of all {n} repeated pictures have one age, perhaps copied."
    else:
        yield (
            f"Label noise: of {n} pictures that occur more than once, {noise.n_conflicts} have different ages, up to "
            f"{noise.gaps_years.max()} years apart. A label is off by about {error.estimate:.1f} years "
            f"({error.low:.1f} to {error.high:.1f}), so no model can show a mean error below that here."
        )


def _of_groups(by_attribute: pd.DataFrame) -> Iterator[str]:
    cells = sorted(
        (int(group[band]), f"{group['attribute']} {group['value']}, {band}")
        for group in by_attribute.to_dict("records")
        for band in BANDS
    )
    few = [f"{name} ({photos})" for photos, name in cells if photos < FEW_PHOTOS]
    more = f"; and {len(few) - N_NAMED} more" if len(few) > N_NAMED else ""
    if few:
        yield f"Fewer than {FEW_PHOTOS} photos, so larger errors would be missed: {'; '.join(few[:N_NAMED])}{more}."


def spans(ages: Sequence[int]) -> str:
    """Write ascending ages with runs joined; empty without ages.

    >>> spans([3, 7, 8, 9])
    '3, 7-9'
    """
    starts = [age for before, age in pairwise([-2, *ages]) if age != before + 1]
    ends = [age for age, after in pairwise([*ages, -2]) if after != age + 1]
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in zip(starts, ends, strict=True))
