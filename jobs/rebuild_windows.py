"""Publish and screen the windows again that contain a date whose counts have changed since.

A window of 28 dates contains the 27 dates before its own. When a date is run again, this program brings the later dates
up to date: it runs `build_affinity`, `screen_cashiers` and the checks of `sql/checks` for each date that is out of
date, oldest first. It reads the warehouse only, no landing zone. Run it once after all dates of a backfill.

- A date is out of date if its report says that other counts, another model or other age errors were published than the
  warehouse contains now, or if its publication was interrupted.
- After an interruption, run it again: it continues with the dates that are still out of date.
- The flags of publication and screening, such as the age bands, apply to the rebuilt dates only.

Exit code 1: a check of `sql/checks` returned rows for a rebuilt date. The written tables are kept. The date stays out
of date, so the next run publishes and checks it again.
"""

import datetime as dt
import sys
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

from tqdm import tqdm

from jobs import build_affinity, screen_cashiers
from jobs.query import passes_checks
from jobs.tables.duck import connect
from jobs.tables.faults import explained
from jobs.tables.schemas import WAREHOUSE
from jobs.tables.warehouse import Warehouse
from jobs.tables.windows import Versions, longest_window, read_versions, stale_dates
from model.cli import run


@dataclass(frozen=True, kw_only=True)
class Settings(build_affinity.PublicationSettings, screen_cashiers.ScreeningSettings):
    """Flags of the program."""

    def __post_init__(self) -> None:
        build_affinity.PublicationSettings.__post_init__(self)
        screen_cashiers.ScreeningSettings.__post_init__(self)

    def of(self, step: Any, business_date: dt.date) -> Any:
        """Return the settings of one step on one date."""
        names = {field.name for field in fields(step.Settings)} - {"business_date"}
        return step.Settings(business_date=business_date, **{name: getattr(self, name) for name in names})


def current_versions(warehouse: str, *dates: dt.date) -> dict[dt.date, Versions]:
    """Return the versions of now, of all dates or of those between two; see `read_versions`."""
    with explained(warehouse), connect(warehouse, restricted=True) as connection:
        return read_versions(connection, *dates)


def withdraw_report(warehouse: str, date: dt.date) -> None:
    """Remove the report of a published date, so that the next run publishes and checks it again."""
    rows = WAREHOUSE["analytics/run_quality"].row_schema.empty_table()
    Warehouse(warehouse).replace("analytics/run_quality", rows, date, job="build_affinity")


def main(settings: Settings) -> None:
    """Find the stale dates; publish and check each."""
    versions = current_versions(settings.warehouse)
    uncounted = [date for date, version in versions.items() if not version.counts_hash]
    rebuilt, failed = [], []
    for date in tqdm(stale_dates(versions), "rebuild_windows", unit="date"):
        versions = current_versions(settings.warehouse, *longest_window(date))
        if date not in stale_dates(versions):  # a run has removed its counts or published it since the start
            uncounted += [] if versions[date].counts_hash else [date]
            continue
        for step in (build_affinity, screen_cashiers):
            step.main(settings.of(step, date))
        rebuilt.append(date)
        if not passes_checks(settings.warehouse, date):
            withdraw_report(settings.warehouse, date)
            failed.append(date)
    if uncounted:
        print(f"rebuild_windows: skipped, because they have no counts (run them again): {_listed(uncounted)}")
    print(f"rebuild_windows: rebuilt {_listed(rebuilt)}" if rebuilt else "rebuild_windows: no window is out of date")
    if failed:
        print(f"rebuild_windows: checks failed for {_listed(failed)}", file=sys.stderr)
        sys.exit(1)


def _listed(dates: Iterable[dt.date]) -> str:
    return ", ".join(map(str, dates))


if __name__ == "__main__":
    run(main, Settings)
