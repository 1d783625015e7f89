"""Delete what is kept no longer, and tidy the files of the warehouse.

- Rows that are older than the flags allow are deleted, in every table. `restricted/cashier_cases` has its own date,
  `delete_after`. Dates are compared with the newest business date of the warehouse.
- The files of replaced and deleted rows are deleted at once, so that nobody can read old versions: a program that reads
  one of these files at this moment fails and must be run again (exit code 75). Run this when no night is running.
- What interrupted programs left in the warehouse is deleted when it is a day old.
- Checkpoints are written, and logs before them are deleted after 30 days.
- Files under `restricted/` that other users could open are closed.

Without `--delete` nothing is changed: the program shows what it would delete, and what stays.
"""

import datetime as dt
from dataclasses import dataclass, fields

from tabulate import tabulate
from tqdm import tqdm
from tyro.conf import FlagCreatePairsOff

from jobs.tables import upkeep
from jobs.tables.faults import explained
from jobs.tables.night import WarehouseSettings
from jobs.tables.retention import ERASURES, Retention, due, expire, remove_empty_folders
from jobs.tables.schemas import WAREHOUSE
from jobs.tables.warehouse import Warehouse
from model.cli import InputError, run


@dataclass(frozen=True, kw_only=True)
class Settings(Retention, WarehouseSettings):
    """Flags of the program."""

    delete: FlagCreatePairsOff[bool] = False
    """Delete. Without this flag, show what would be deleted."""


def newest_date(warehouse: Warehouse, today: dt.date) -> dt.date:
    """Return the newest business date that is not in the future: a night with a wrong year must not expire all others.

    Raises:
        InputError: there is none.
    """
    newest = warehouse.newest_date()
    if newest is None:
        raise InputError(
            f"--warehouse {warehouse.uri} has no reports of a night up to {today} in analytics/run_quality"
        )
    if (last := warehouse.newest_date(dt.date.max)) != newest:
        print(f"warning: {last} is in the future; this date and others after {today} were ignored")
    return newest


def show(warehouse: Warehouse, retention: Retention, newest: dt.date) -> None:
    """Print what is due and what stays."""
    days = retention.days
    rows = [
        (each.name, days.get(each.name, "delete_after"), len(each.dates), each.n_rows, each.n_kept, each.kept_from)
        for each in due(warehouse, retention, newest)
    ]
    print(f"keep_house: newest business date {newest}")
    print(tabulate(rows, ["table", "dates kept", "dates due", "rows due", "rows that stay", "from"]))
    print(f"files of replaced rows: {sum(len(upkeep.dead_files(warehouse, name)) for name in WAREHOUSE)}")
    print("\n".join(["left by interrupted programs:", *(upkeep.leftovers(warehouse.place) or ["nothing"])]))
    if young := upkeep.young_files(warehouse):
        print("\n".join(["of running or interrupted programs, kept until they are a day old:", *young]))


def clean(warehouse: Warehouse, retention: Retention, newest: dt.date) -> None:
    """Delete what is due and dead files, shorten logs, remove leftovers and close the restricted zone."""
    expire(warehouse, retention, newest)
    for name in tqdm(WAREHOUSE, "keep_house", unit="table", delay=5):
        upkeep.vacuum(warehouse, name)
        upkeep.shorten_log(warehouse, name)
    upkeep.remove_leftovers(warehouse.place)
    upkeep.close_restricted(warehouse.place)
    remove_empty_folders(warehouse, retention, newest)


def unfinished_erasures(warehouse: Warehouse) -> list[str]:
    """Return the dates of which an erasure was interrupted."""
    if not upkeep.stored_dates(warehouse, ERASURES):
        return []
    rows = warehouse.rows(ERASURES, "business_date", "finished_at").to_pylist()
    return sorted({str(row["business_date"]) for row in rows if row["finished_at"] is None})


def main(settings: Settings) -> None:
    """Show what is due; with `delete`, delete it and tidy up."""
    with explained(settings.warehouse):
        warehouse = Warehouse(settings.warehouse)
        warehouse.check_schemas()
        newest = newest_date(warehouse, dt.datetime.now(dt.UTC).date())
        retention = Retention(**{field.name: getattr(settings, field.name) for field in fields(Retention)})
        if settings.delete:
            warehouse.check_writable()
            warehouse.create_tables()
        show(warehouse, retention, newest)
        if settings.delete:
            before = upkeep.size(warehouse.place)
            clean(warehouse, retention, newest)
            after = upkeep.size(warehouse.place)
            print(f"keep_house: {before[0]} files of {before[1]:,} bytes before, {after[0]} of {after[1]:,} after")
        else:
            print("nothing was changed; add --delete to delete it")
        if dates := unfinished_erasures(warehouse):
            print(f"warning: an erasure of {', '.join(dates)} was interrupted; run it again with the same ids")


if __name__ == "__main__":
    run(main, Settings)
