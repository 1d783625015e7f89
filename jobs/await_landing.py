"""Tell whether the landing zone holds everything that a business date needs.

Exit code 0: each landing table has a Parquet file for the date (products: any).
Exit code 75: not yet, or the store did not answer; look again later (the meaning of EX_TEMPFAIL).
Exit code 2: a wrong setting, such as a landing zone that does not exist.

A folder counts as soon as one Parquet file is in it, so whoever lands a date writes its folder elsewhere
and renames it, or writes the files under names that start with `_` or `.` until they are complete.
"""

import datetime as dt
import sys
from dataclasses import dataclass

from pyarrow import fs

from jobs.tables.landing import open_filesystem, parquet_paths, table_folder
from jobs.tables.schemas import LANDING
from model.cli import InputError, run

NOT_YET = 75


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What to look for, and where."""

    business_date: dt.date
    """The store's local day, YYYY-MM-DD."""
    landing: str
    """Landing zone: a local path or a URI (file, s3, s3a, gs, hdfs)."""


def missing_folders(landing: str, business_date: dt.date) -> list[str]:
    """Return the folders of the landing zone that hold no Parquet file yet, in the order of the contract.

    Raises:
        InputError: there is no such landing zone.
    """
    filesystem, root, _ = open_filesystem(landing)
    if filesystem.get_file_info(root).type != fs.FileType.Directory:
        raise InputError(f"--landing {landing}: there is no such folder")
    folders = [table_folder(table, business_date) for table in LANDING]
    return [folder for folder in folders if not parquet_paths(filesystem, f"{root}/{folder}")]


def main(settings: Settings) -> None:
    """Print what is missing, if anything is, and exit accordingly."""
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
