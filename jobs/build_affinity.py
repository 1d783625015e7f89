"""Publish how far the purchases of each age band differ from those of all shoppers. Nothing is published yet."""

from dataclasses import dataclass

from jobs.tables.bands import DEFAULT_BANDS, age_bands
from jobs.tables.night import DateSettings, Night
from model.cli import InputError, run


@dataclass(frozen=True, kw_only=True)
class Settings(DateSettings):
    """Flags of the job."""

    age_bands: tuple[str, ...] = DEFAULT_BANDS
    """Bands of completed years; they must tile 0 to 120."""
    min_receipts: int = 10
    """Smallest number of receipts in a published cell."""

    def __post_init__(self) -> None:
        age_bands(self.age_bands)
        if self.min_receipts < 10:
            raise InputError(
                f"min_receipts is {self.min_receipts}; it must be at least 10, because fewer can identify a person"
            )


def main(settings: Settings) -> None:
    """Run the job."""
    with Night(settings, "build_affinity"):
        pass


if __name__ == "__main__":
    run(main, Settings)
