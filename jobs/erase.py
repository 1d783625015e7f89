"""Erase a person: the rows of some photos and receipts, in every table and on every date.

First pause the DAGs, and remove the same rows from the landing zone, with the photo: this program reads the landing
zone and does not change it, and another run of the date would bring them back. With a receipt, its photos are erased;
with a photo alone, the purchase stays, without an age. Give both: a case names only the receipt.

- Rows that name one of the ids are removed from the restricted tables.
- The date is matched and counted again, so that the counts no longer contain the purchases. `rebuild_windows` then
  publishes its windows again; the DAG of this name does so after the next night.
- If the landing zone no longer has the date, or its ages are older than they are kept, it can't be counted again.
  `--delete-counts` then deletes its counts and what was published for the date.
- The old files are deleted at once: a program that reads one of them at this moment fails and must be run again.
  What killed programs left can name the person too. When it is a day old, `keep_house` deletes it in the warehouse,
  and the next job in TMPDIR, where only a crash of the machine leaves rows.
- `restricted/erasures` records the date, the reason and the number of rows, and no id. Do not name the person in the
  reason; give each request a reason of its own.
- After an interruption, run it again with the same ids and the same reason.

Backups, labelled photos and exported files are not reached.
"""

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from deltalake import DeltaTable

from jobs import count_purchases, match_receipts, watch_ages
from jobs.score_photos import MIN_PHOTOS_OF_MEAN
from jobs.tables import upkeep
from jobs.tables.cases import CASES
from jobs.tables.erasures import (
    PHOTO_AGES,
    QUARANTINE,
    RECEIPT_AGES,
    Ids,
    find,
    record_begin,
    record_end,
    recorded,
    with_photos,
)
from jobs.tables.faults import explained
from jobs.tables.landing import FIRST_DATE, Place, check_root, landed, landing_files, open_place, table_folder
from jobs.tables.landing_views import as_utf8
from jobs.tables.night import with_dependants
from jobs.tables.retention import CASHIER_COUNTS, COUNTS, PUBLISHED, SCREENING, STORES
from jobs.tables.schemas import LANDING, UNDATED, WAREHOUSE, is_restricted
from jobs.tables.warehouse import Warehouse
from model.cli import InputError, run

REPORTS = "analytics/run_quality"
COUNTED = sorted({*COUNTS, *CASHIER_COUNTS, SCREENING, STORES, *PUBLISHED} - {REPORTS})
"""The counts of a date, and what is made from them."""
STEPS = (match_receipts, count_purchases, watch_ages)
"""What a date goes through again."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Flags of the program; those of matching and counting must be those of the nightly run."""

    warehouse: str
    """Warehouse: a folder or URI."""
    landing: str
    """Landing zone: a folder or URI."""
    photo_id: tuple[str, ...] = ()
    """Photos."""
    receipt_id: tuple[str, ...] = ()
    """Receipts; their photos are erased too."""
    reason: str
    """The number of the request, for example. It is stored, and identifies an erasure that is continued."""
    delete_counts: bool = False
    """Delete the counts of a date that can't be counted again."""
    grace_seconds: float = match_receipts.Settings.grace_seconds
    """Largest difference between the clocks of a camera and its till, seconds."""
    time_zone: str
    """Time zone of the stores, an IANA name such as Europe/Madrid; it gives a receipt its local hour."""
    max_line_figure: float = count_purchases.Settings.max_line_figure
    """Largest amount and quantity of a line, positive or negative."""

    def __post_init__(self) -> None:
        if not (self.photo_id or self.receipt_id) or not all((*self.photo_id, *self.receipt_id)):
            raise InputError("give one or more ids: --photo-id P or --receipt-id R")
        if not self.reason.strip():
            raise InputError("--reason is empty; give the number of the request, for example")
        for step in STEPS:  # fails now if a flag is wrong, not when the rows are gone
            self.of(step, FIRST_DATE)

    def of(self, step: Any, business_date: dt.date) -> Any:
        """Return the settings of one step on one date."""
        names = {field.name for field in fields(step.Settings)} - {"business_date"}
        return step.Settings(business_date=business_date, **{name: getattr(self, name) for name in names})


def check_landing(warehouse: Warehouse, landing: Place, date: dt.date, ids: Ids) -> bool:
    """Return whether a date can be counted again: the landing zone has it, and the ages are not deleted.

    Raises:
        InputError: the landing zone still names one of the ids.
    """
    has_all_tables, named = True, {}
    for table in sorted(LANDING.keys() - UNDATED):
        paths = landed(landing, table_folder(table, date)).files
        if paths:
            landing_files(landing, table, date)  # checks them
            columns = [column for column in ("photo_id", "receipt_id") if column in LANDING[table].names]
            rows = ds.dataset(paths, format="parquet", filesystem=landing.filesystem).to_table(columns=columns)
            rows = pa.table({column: as_utf8(rows[column]) for column in columns})  # as the warehouse has them
            named[table] = pc.sum(ids.within(rows)).as_py()
        has_all_tables &= bool(paths)
    if any(named.values()):
        listed = ", ".join(f"{table} {n_rows}" for table, n_rows in named.items() if n_rows)
        raise InputError(
            f"the landing zone {landing.uri} still names the person on {date} (rows: {listed}); remove these rows and "
            f"the photos first: {', '.join(sorted(ids.photos)) or 'none'}"
        )
    return has_all_tables and warehouse.has_rows(PHOTO_AGES, date)


def remove_rows(warehouse: Warehouse, date: dt.date, ids: Ids) -> None:
    """Remove the rows of a date that name one of the ids, and correct the report of the photos.

    `receipt_ages` is the last one: it tells the photos of a receipt, if this is interrupted.
    """
    for table in LANDING:
        if warehouse.has_rows(QUARANTINE, date, source_table=table):
            warehouse.update(QUARANTINE, date, ids.removed_from, source_table=table)
    names = [name for name, table in WAREHOUSE.items() if is_restricted(name) and name != QUARANTINE]
    for name in sorted(names, key=lambda name: name == RECEIPT_AGES):
        rows = warehouse.rows(name, first=date, last=date)
        if pc.any(ids.within(rows)).as_py():
            warehouse.update(name, date, ids.removed_from)
    if warehouse.has_rows(PHOTO_AGES, date):  # not if its ages are deleted: then the report stays
        counted = counted_photos(warehouse, date)
        warehouse.update(REPORTS, date, lambda report: corrected(report, counted), job="score_photos")


def counted_photos(warehouse: Warehouse, date: dt.date) -> dict[str, float | None]:
    """Return the figures of the photos of a date as `score_photos` reports them."""
    photos = warehouse.rows(PHOTO_AGES, "age_years", "status", first=date, last=date)
    rejected = warehouse.rows(QUARANTINE, "source_table", first=date, last=date)
    n_scored = pc.sum(pc.equal(photos["status"], "scored")).as_py() or 0
    mean = pc.mean(photos["age_years"]).as_py() if n_scored >= MIN_PHOTOS_OF_MEAN else None
    return {
        "rows_used": n_scored,
        "rows_quarantined": pc.sum(pc.equal(rejected["source_table"], "photo_events")).as_py() or 0,
        "mean_age_years": None if mean is None else round(mean, 3),
    }


def corrected(report: pa.Table, counted: dict[str, float | None]) -> pa.Table:
    """Return the report of `score_photos` with other figures; the sum of the rows still adds up."""
    rows = [row | {"value": counted.get(row["measure"], row["value"])} for row in report.to_pylist()]
    values = {row["measure"]: row["value"] for row in rows if row["source_table"] == "photo_events"}
    for row in rows:
        if row["measure"] == "rows_in":
            row["value"] = values["rows_used"] + values["rows_quarantined"] + values["rows_duplicate"]
    return pa.Table.from_pylist(rows, schema=report.schema)


def delete_counts(warehouse: Warehouse, date: dt.date) -> None:
    """Delete the counts of a date and what was published from them; it is then as if it had not been counted.

    `rebuild_windows` publishes the windows of later dates without it.
    """
    for job in with_dependants("count_purchases"):
        warehouse.replace(REPORTS, WAREHOUSE[REPORTS].row_schema.empty_table(), date, job=job)
    for name in COUNTED:
        warehouse.replace(name, WAREHOUSE[name].row_schema.empty_table(), date)


def check_dates(warehouse: Warehouse, settings: Settings, dates: Iterable[dt.date], ids: Ids) -> dict[dt.date, bool]:
    """Return which dates can be counted again; see `check_landing`.

    Raises:
        InputError: the landing zone does not exist. A date can't be counted again, and its counts must not be deleted.
    """
    landing = open_place(settings.landing, "--landing")
    check_root(landing)
    can_count = {date: check_landing(warehouse, landing, date, ids) for date in dates}
    for date, possible in can_count.items():
        is_counted = any(warehouse.has_rows(name, date) for name in COUNTED)
        if is_counted and not possible and not settings.delete_counts:
            raise InputError(
                f"{date} can't be counted again, because {landing.uri} no longer has it or its ages are deleted. "
                "Restore it there without the person, or add --delete-counts: it deletes its counts and publications"
            )
    return can_count


def count_again(settings: Settings, date: dt.date) -> None:
    """Match and count a date, and watch its ages, without the person."""
    for step in STEPS:
        step.main(settings.of(step, date))


def check_ids(warehouse: Warehouse, settings: Settings, named: set[str], *, is_continued: bool) -> None:
    """Check that each id that was given is in a table.

    Raises:
        InputError: one is in no table. If the erasure is continued, it may be erased already: then only a warning.
    """
    unknown = sorted({*settings.photo_id, *settings.receipt_id} - named)
    if unknown and is_continued:
        print(f"erase: no table names {', '.join(unknown)}: erased before, or wrong")
    elif unknown:
        raise InputError(
            f"no table of {warehouse.uri} names {', '.join(unknown)}; correct these ids, or leave them out"
        )


def remove_cases(warehouse: Warehouse, found: Mapping[dt.date, Counter[str]], ids: Ids) -> None:
    """Remove the cases of all dates, before any ages: these tell the receipt of a photo, if this is interrupted."""
    for date, tables in found.items():
        if CASES in tables:
            warehouse.update(CASES, date, ids.removed_from)


def main(settings: Settings) -> None:
    """Find the dates, check the landing zone, erase, count again, delete the old files."""
    warehouse = Warehouse(settings.warehouse)
    with explained(settings.warehouse):
        if not DeltaTable.is_deltatable(warehouse.table_uri(REPORTS)):
            raise InputError(
                f"--warehouse {settings.warehouse} has no table {REPORTS}; correct it, or run a night first"
            )
        warehouse.check_writable()
        warehouse.check_schemas()
        warehouse.create_tables()
        ids = with_photos(warehouse, settings.photo_id, settings.receipt_id)
        found, records = find(warehouse, ids), recorded(warehouse, settings.reason)
        check_ids(warehouse, settings, found.names, is_continued=bool(records.finished or records.interrupted))
        # The date of a case is that of the screening, not of the purchase.
        counted = records.counted | {date for date, tables in found.n_rows.items() if tables.keys() - {CASES}}
        can_count = check_dates(warehouse, settings, sorted(counted), ids)
        dates = sorted(found.n_rows.keys() | records.interrupted)
        n_rows = {date: found.n_rows.get(date, Counter()).total() for date in dates}
        for date in dates:
            record_begin(warehouse, date, settings.reason, n_rows=n_rows[date], is_counted=date in counted)
        remove_cases(warehouse, found.n_rows, ids)
        for date in dates:
            remove_rows(warehouse, date, ids)
            if can_count.get(date):
                count_again(settings, date)
            elif date in can_count:
                delete_counts(warehouse, date)
            print(f"erase: {date}, {n_rows[date]} rows erased", flush=True)
        for name in WAREHOUSE:  # also the reports: a mean age before and after would tell that of the person
            upkeep.vacuum(warehouse, name)
        if again := find(warehouse, ids).n_rows:
            listed = ", ".join(sorted({name for tables in again.values() for name in tables}))
            raise InputError(
                f"another job wrote the person again at the same time ({listed}); pause the DAGs, remove the person "
                f"from the landing zone, and run again, with the photos too: {', '.join(sorted(ids.photos)) or 'none'}"
            )
        for date in dates:  # only now: an erasure whose old files are still there is continued
            record_end(warehouse, date, settings.reason)
        if young := upkeep.young_files(warehouse):
            print(f"erase: {len(young)} files of running or killed programs may name the person; tomorrow, run:")
            print(f"  python -m jobs.keep_house --warehouse {settings.warehouse} --delete")
    print("erase: done; unpause the DAGs and publish the windows again: airflow dags trigger rebuild_windows")


if __name__ == "__main__":
    run(main, Settings)
