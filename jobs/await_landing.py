"""Check that the landing zone has all tables of a business date.

Exit code 0: each landing table has a Parquet file for the date (products: any).
Exit code 75 (EX_TEMPFAIL): a table is missing, or the storage did not answer. Retry later.
Exit code 2: wrong configuration, for example a landing zone that does not exist.

A table has landed when its folder has a Parquet file. Write a date to another folder and rename the folder, or use file
names that start with `_` or `.` until the files are complete.
"""

import datetime as dt
import sys
from dataclasses import dataclass

from pyarrow import fs

from jobs.tables.landing import open_place, parquet_paths, table_folder
from jobs.tables.schemas import LANDING
from model.cli import InputError, run

NOT_YET = 75


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Flags of the program."""

    business_date: dt.date
    """Local day of the stores, YYYY-MM-DD."""
    landing: str
    """Landing zone: a folder or URI (file, s3, s3a, gs, hdfs)."""


def missing_folders(landing: str, business_date: dt.date) -> list[str]:
    """Return the folders of the landing zone without a Parquet file, in the order of the contract.

    Raises:
        InputError: the landing zone does not exist.
    """
    place = open_place(landing)
    if place.filesystem.get_file_info(place.path).type != fs.FileType.Directory:
        raise InputError(f"--landing {landing}: the folder does not exist")
    folders = [table_folder(table, business_date) for table in LANDING]
    return [folder for folder in folders if not parquet_paths(place.filesystem, f"{place.path}/{folder}")]


def main(settings: Settings) -> None:
    """Print the missing folders and exit."""
    try:
        missing = missing_folders(settings.landing, settings.business_date)
    except PermissionError as error:
        raise InputError(f"--landing {settings.landing}: {error}") from error
    except OSError as error:
        print(f"--landing {settings.landing}: no answer: {error}", file=sys.stderr)
        sys.exit(NOT_YET)
    if missing:
        print(f"not yet in {settings.landing}: {', '.join(missing)}")
        sys.exit(NOT_YET)


if __name__ == "__main__":
    run(main, Settings)
