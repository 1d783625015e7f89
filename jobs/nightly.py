"""Run the steps of one or more nights without Airflow: score, match, count, publish, screen, watch, check.

The dates are run oldest first. A date that fails stops the run. At the end, the published windows of other dates that
contain one of them are rebuilt, once for all dates; see `rebuild_windows`.

Exit code 1: a check of `sql/checks` returned rows. The written tables are kept, as under Airflow.
"""

import datetime as dt
import sys
from dataclasses import dataclass, fields
from pathlib import Path

from jobs import (
    build_affinity,
    count_purchases,
    match_receipts,
    rebuild_windows,
    score_photos,
    screen_cashiers,
    watch_ages,
)
from jobs.query import passes_checks
from jobs.tables.landing import landing_files, open_place
from jobs.tables.schemas import LANDING
from model.cli import InputError, run

STEPS = (score_photos, match_receipts, count_purchases, build_affinity, screen_cashiers, watch_ages)


@dataclass(frozen=True, kw_only=True)
class Settings(rebuild_windows.Settings):
    """Flags of all steps."""

    business_date: tuple[dt.date, ...]
    """One or more local days of the stores, YYYY-MM-DD."""
    landing: str
    """Landing zone: a folder or URI (s3://, gs://, hdfs://)."""
    model: Path
    """Model folder."""
    kernel_photos: Path | None = None
    """Labelled set of photos from the chain's own tills. Default: the photos that the model held out."""
    grace_seconds: float = match_receipts.Settings.grace_seconds
    """Largest difference between the clocks of a camera and its till, seconds."""
    time_zone: str = count_purchases.Settings.time_zone
    """Time zone of the stores, an IANA name such as Europe/Madrid; it gives a receipt its local hour."""
    max_line_figure: float = count_purchases.Settings.max_line_figure
    """Largest quantity or amount of a line, returns included; an amount is in the currency of the store."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.business_date:
            raise InputError("business_date has no date; wanted one or more, such as 2026-11-09")
        for step in STEPS:  # a wrong flag must fail before the first step
            self.of(step, self.business_date[0])


def main(settings: Settings) -> None:
    """Run the steps and the checks of each date, then rebuild the windows of the other dates."""
    dates = sorted(set(settings.business_date))
    landing = open_place(settings.landing, "--landing")
    for date in dates:
        for table in LANDING:  # a missing table must fail before the first step writes
            landing_files(landing, table, date)
    for date in dates:
        for step in STEPS:
            step.main(settings.of(step, date))
        if not passes_checks(settings.warehouse, date):
            sys.exit(1)
        print(f"nightly: {date}, all checks passed")
    flags = {field.name: getattr(settings, field.name) for field in fields(rebuild_windows.Settings)}
    rebuild_windows.main(rebuild_windows.Settings(**flags))


if __name__ == "__main__":
    run(main, Settings)
