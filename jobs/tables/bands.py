"""What several jobs are told: the date, the two places, the age bands."""

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from model.cli import InputError

MAX_AGE_YEARS = 120
"""Upper end of the last band, completed years."""


@dataclass(frozen=True, kw_only=True)
class DateSettings:
    """Flags that every nightly job takes."""

    business_date: dt.date
    """Local day of the stores, YYYY-MM-DD."""
    landing: str
    """Landing zone: a folder or URI (s3a://, gs://, hdfs://)."""
    warehouse: str
    """Warehouse: a folder or URI; its Delta tables are created when missing."""


@dataclass(frozen=True, kw_only=True)
class BandSettings(DateSettings):
    """Flags of the jobs that deal in age bands."""

    age_bands: tuple[str, ...] = ("under_18", "18-29", "30-44", "45-59", "60_plus")
    """Bands of completed years; they must tile 0 to 120."""

    def __post_init__(self) -> None:
        age_bands(self.age_bands)


class AgeBand(NamedTuple):
    """A band of completed years, both ends included."""

    name: str
    low: int
    high: int


def age_bands(names: Sequence[str]) -> list[AgeBand]:
    """Read bands from their names, which say what they hold: `under_18`, `18-29`, `60_plus`.

    Raises:
        InputError: a name is none of the three forms, or the bands do not tile 0 to 120 in ascending order.
    """
    bands = []
    expected_low = 0
    for name in names:
        form = re.fullmatch(r"under_(\d+)|(\d+)-(\d+)|(\d+)_plus", name)
        if form is None:
            raise InputError(f"age_bands holds {name!r}; a band is written under_18, 18-29 or 60_plus")
        under, low_end, high_end, plus = (int(part) if part else None for part in form.groups())
        low = low_end if low_end is not None else plus if plus is not None else 0
        high = high_end if high_end is not None else under - 1 if under is not None else MAX_AGE_YEARS
        if low != expected_low or high < low:
            raise InputError(
                f"age_bands is {' '.join(names)}: {name} begins at {low}, it must begin at {expected_low} "
                f"and not be empty; bands must tile 0 to {MAX_AGE_YEARS} in ascending order"
            )
        bands.append(AgeBand(name, low, high))
        expected_low = high + 1
    if expected_low != MAX_AGE_YEARS + 1:
        raise InputError(
            f"age_bands is {' '.join(names)}: it ends at {expected_low - 1}, it must end at {MAX_AGE_YEARS} "
            "(the last band is written 60_plus)"
        )
    return bands
