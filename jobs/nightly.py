"""Run all steps of one night without Airflow: score, match, count, publish, check.

Exit code 1: a check of `sql/checks` returned rows. The written tables are kept, as under Airflow.
"""

import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from jobs import build_affinity, count_purchases, match_receipts, score_photos
from jobs.query import failed_checks
from jobs.tables.duck import connect
from jobs.tables.landing import landing_files, open_place
from jobs.tables.night import LandingSettings
from jobs.tables.schemas import LANDING
from model.cli import run

STEPS = (score_photos, match_receipts, count_purchases, build_affinity)


@dataclass(frozen=True, kw_only=True)
class Settings(LandingSettings):
    """Flags of all steps."""

    model: Path
    """Model folder."""
    kernel_photos: Path | None = None
    """Labelled set of photos from the chain's own tills. Default: the photos that the model held out."""
    grace_seconds: float = match_receipts.Settings.grace_seconds
    """Largest difference between the clocks of a camera and its till, seconds."""
    age_bands: tuple[str, ...] = build_affinity.Settings.age_bands
    """Bands of completed years; they must tile 0 to 120."""
    min_receipts: int = build_affinity.Settings.min_receipts
    """Smallest number of receipts in a published cell."""

    def __post_init__(self) -> None:
        for step in STEPS:  # a wrong flag must fail before the first step
            self.of(step)

    def of(self, step: Any) -> Any:
        """Return the settings of one step."""
        return step.Settings(**{field.name: getattr(self, field.name) for field in fields(step.Settings)})


def main(settings: Settings) -> None:
    """Run the steps, then the checks."""
    landing = open_place(settings.landing)
    for table in LANDING:  # a missing table must fail before the first step writes
        landing_files(landing, table, settings.business_date)
    for step in STEPS:
        step.main(settings.of(step))
    with connect(settings.warehouse, restricted=True) as connection:
        failed = failed_checks(connection, settings.business_date)
    for name, answer in failed.items():
        print(f"{name}: {len(answer.rows)} rows", file=sys.stderr)
    if failed:
        flags = f"--restricted --param business_date={settings.business_date} --warehouse {settings.warehouse}"
        print(f"to see the rows: python -m jobs.query checks {flags}", file=sys.stderr)
        sys.exit(1)
    print(f"nightly: {settings.business_date}, all checks passed")


if __name__ == "__main__":
    run(main, Settings)
