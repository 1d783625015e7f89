"""Age bands: parsed from their names, then stored in the table `analytics/age_bands`."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from model.cli import InputError

MAX_AGE_YEARS = 120
"""Upper end of the last band, completed years."""

MAX_ESTIMATED_YEARS = 100

DEFAULT_BANDS = ("under_18", "18-29", "30-44", "45-59", "60_plus")
"""The pages of `model.explore` and `model.evaluate` show the same bands: `model/evaluation/metrics.py`."""


class AgeBand(NamedTuple):
    """A band of completed years, both ends included."""

    age_band: str
    from_years: int
    to_years: int


def age_bands(names: Sequence[str]) -> list[AgeBand]:
    """Parse bands from names of three forms: `under_18`, `18-29`, `60_plus`.

    >>> for band in age_bands(["under_18", "18-29", "30_plus"]):
    ...     print(band.age_band, band.from_years, band.to_years)
    under_18 0 17
    18-29 18 29
    30_plus 30 120

    Raises:
        InputError: a name has none of the three forms, or the bands do not tile 0 to 120 in ascending order.
    """
    bands = []
    expected_from = 0
    for name in names:
        form = re.fullmatch(r"under_(\d+)|(\d+)-(\d+)|(\d+)_plus", name)
        if form is None:
            raise InputError(f"age_bands contains {name!r}; write a band as under_18, 18-29 or 60_plus")
        under, low, high, plus = (int(part) if part else None for part in form.groups())
        from_years = low if low is not None else plus if plus is not None else 0
        to_years = high if high is not None else under - 1 if under is not None else MAX_AGE_YEARS
        if from_years != expected_from or to_years < from_years:
            raise InputError(
                f"age_bands is {' '.join(names)}: {name} begins at {from_years}, it must begin at {expected_from} "
                f"and not be empty; bands must tile 0 to {MAX_AGE_YEARS} in ascending order"
            )
        bands.append(AgeBand(name, from_years, to_years))
        expected_from = to_years + 1
    if expected_from != MAX_AGE_YEARS + 1:
        raise InputError(
            f"age_bands is {' '.join(names)}: it ends at {expected_from - 1}, it must end at {MAX_AGE_YEARS} "
            "(write the last band as 60_plus)"
        )
    if bands[-1].from_years > MAX_ESTIMATED_YEARS:
        raise InputError(
            f"age_bands is {' '.join(names)}: {bands[-1].age_band} is empty, because ages are estimated up to "
            f"{MAX_ESTIMATED_YEARS}"
        )
    return bands
