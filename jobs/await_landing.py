"""Check that the landing zone has all tables of a business date.

Exit code 0: each landing table has a Parquet file for the date (products: any).
Exit code 75 (EX_TEMPFAIL): a table is missing or not complete, or the storage did not answer. Retry later.
Exit code 2: waiting is useless. The landing zone does not exist, a folder has entries that no job reads, the date is in
the future, or with --warehouse, --model and --age-bands, the night could not run: no warehouse can be written there,
there is no Java, the model can't score, or the age bands leave a gap.

A table has landed when its folder has a Parquet file. Write a date to another folder and rename the folder, or use file
names that start with `_` or `.` until the files are complete. While a name ends in .tmp, .part or ._COPYING_, the table
is not complete.
"""

import datetime as dt
import sys
from dataclasses import dataclass
from pathlib import Path

from jobs.tables.bands import DEFAULT_BANDS, age_bands
from jobs.tables.landing import check_business_date, check_root, landed, open_place, table_folder
from jobs.tables.schemas import LANDING
from model.cli import TRY_AGAIN, InputError, TryAgainError, run

EARLIEST_ZONE = dt.timezone(dt.timedelta(hours=14))
"""The time zone in which a day begins first."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Flags of the program."""

    business_date: dt.date
    """Local day of the stores, YYYY-MM-DD."""
    landing: str
    """Landing zone: a folder or URI (file, s3, s3a, gs, hdfs)."""
    warehouse: str | None = None
    """Warehouse of the night: checked too if given."""
    model: Path | None = None
    """Model folder of the night: checked too if given."""
    age_bands: tuple[str, ...] = DEFAULT_BANDS
    """Age bands of the night: checked too."""


def missing_folders(landing: str, business_date: dt.date) -> list[str]:
    """Return the folders of the landing zone that have not landed, in the order of the contract.

    Raises:
        InputError: the landing zone does not exist, or a folder has entries that no job reads.
    """
    place = open_place(landing, "--landing")
    check_root(place)
    missing = []
    for table in LANDING:
        folder = table_folder(table, business_date)
        files, unfinished = landed(place, folder)
        if unfinished:
            missing.append(f"{folder} (unfinished: {unfinished[0]})")
        elif not files:
            missing.append(folder)
    return missing


def check_night(settings: Settings, now: dt.datetime) -> None:
    """Check what a night needs beside the landing zone.

    Raises:
        InputError: the date, the age bands, the warehouse, Java or the model is wrong.
    """
    age_bands(settings.age_bands)
    check_business_date(settings.business_date)
    if settings.business_date > now.astimezone(EARLIEST_ZONE).date():
        raise InputError(f"--business-date {settings.business_date} is in the future")
    # Imported only where they are needed, because a sensor starts this program every few minutes.
    if settings.warehouse is not None:
        from jobs.tables.faults import explained  # noqa: PLC0415
        from jobs.tables.spark import check_java  # noqa: PLC0415
        from jobs.tables.warehouse import Warehouse  # noqa: PLC0415

        check_java()
        with explained(settings.warehouse):
            warehouse = Warehouse(settings.warehouse)
            warehouse.check_writable()
            warehouse.check_schemas()
    if settings.model is not None:
        from model import predict  # noqa: PLC0415

        predict.check(settings.model)


def main(settings: Settings) -> None:
    """Check everything that waiting does not change; then fail if a table is missing."""
    check_night(settings, dt.datetime.now(dt.UTC))
    try:
        missing = missing_folders(settings.landing, settings.business_date)
    except PermissionError as error:
        raise InputError(f"permission denied: {error}; give the account of the jobs access") from error
    except OSError as error:
        raise TryAgainError(f"--landing {settings.landing}: no answer: {error}") from error
    if missing:
        print(f"not yet in {settings.landing}: {', '.join(missing)}")
        sys.exit(TRY_AGAIN)


if __name__ == "__main__":
    run(main, Settings)
