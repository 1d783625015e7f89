"""All steps of one night in order, without Airflow: score, match, count, check.

Exit code 1 where a check of `sql/checks` returns a row; what was written stays, as under Airflow.
"""

import sys
from dataclasses import dataclass

from jobs import build_affinity, match_receipts, score_photos
from jobs.query import connect, failed_checks
from jobs.tables.landing import landing_files
from jobs.tables.schemas import LANDING
from model.cli import run


@dataclass(frozen=True, kw_only=True)
class Settings(score_photos.Settings, match_receipts.Settings, build_affinity.Settings):
    """Flags of every step."""


def main(settings: Settings) -> None:
    """Run the steps, each as its own program would, then the checks."""
    for table in LANDING:  # a table that the last step needs is missed before the first one writes
        landing_files(settings.landing, table, settings.business_date)
    for step in (score_photos, match_receipts, build_affinity):
        step.main(settings)
    failed = failed_checks(connect(settings.warehouse, restricted=True), settings.business_date)
    for name, offending in failed.items():
        print(f"{name}: {len(offending.rows)} rows; jobs.query {name} --restricted shows them", file=sys.stderr)
    if failed:
        sys.exit(1)
    print(f"nightly: {settings.business_date}, all checks passed")


if __name__ == "__main__":
    run(main, Settings)
