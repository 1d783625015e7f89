"""How long each table is kept, and the deletion of what is due, so that it cannot be recovered from old versions.

Dates are compared with the newest business date of the warehouse that is not in the future, not with the clock, so that
data of a past year expire in the same way.
"""

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from jobs.tables.cases import CASES
from jobs.tables.schemas import WAREHOUSE
from jobs.tables.upkeep import delete_dates, remove_empty_dates, stored_dates
from jobs.tables.warehouse import Warehouse
from model.cli import InputError

AGES = ("restricted/photo_ages", "restricted/receipt_ages")
QUARANTINE = ("restricted/quarantine",)
COUNTS = ("restricted/daily_counts", "restricted/daily_store_counts", "restricted/catalogue", "restricted/age_errors")
CASHIER_COUNTS = ("restricted/cashier_daily_counts", "restricted/age_restricted_sales")
SCREENING, STORES = "restricted/cashier_screening", "restricted/store_screening"
ERASURES = "restricted/erasures"
REPORTS = "analytics/run_quality"
PUBLISHED = tuple(name for name in WAREHOUSE if name.startswith("analytics/"))

MIN_DAYS = 28
"""The longest window; a date must not be deleted while a window of tonight contains it."""

MARKERS: Mapping[str, str] = {COUNTS[0]: "counts_deleted", CASHIER_COUNTS[0]: "cashier_counts_deleted"}
"""What the report of `count_purchases` says of a date whose counts are deleted: no window may contain it any more."""


@dataclass(frozen=True, kw_only=True)
class Retention:
    """Number of business dates that are kept, the newest included."""

    keep_ages_days: int = 35
    """Estimated age of each photo and receipt. A date of the last 28 can be run again without scoring, and a week is
    left for a late backfill."""
    keep_quarantine_days: int = 35
    """Rejected rows, whose keys are ids of photos and receipts: as long as the date can be repaired."""
    keep_counts_days: int = 63
    """Counts by year of age, catalogue and age errors. 28 + 35: the windows of a date that is run again can be
    published again."""
    keep_cashier_counts_days: int = 35
    """Counts by cashier and restricted sales: the longest window of the screening and a week."""
    keep_review_days: int = 90
    """Screening rows of cashiers in review, as long as their cases can be. Cases have a date of their own,
    `delete_after`."""
    keep_not_in_review_days: int = 35
    """Other screening rows of cashiers, so that no suspicion outlives its reason."""
    keep_store_screening_days: int = 180
    """Screening rows of stores, which name no cashier."""
    keep_published_days: int = 400
    """Tables of `analytics`: a date can be compared with that of a year before."""
    keep_erasures_days: int = 1100
    """Records of erasures, which name nobody: three years of evidence that a request was fulfilled."""

    def __post_init__(self) -> None:
        for field in fields(Retention):
            if getattr(self, field.name) < MIN_DAYS:
                raise InputError(
                    f"{field.name} is {getattr(self, field.name)}; it must be at least {MIN_DAYS}, the longest window"
                )
        if self.keep_not_in_review_days > self.keep_review_days:
            raise InputError(
                f"keep_not_in_review_days is {self.keep_not_in_review_days}; "
                f"it must be at most keep_review_days, {self.keep_review_days}"
            )
        if self.keep_published_days < (wanted := self.keep_counts_days + MIN_DAYS):
            raise InputError(
                f"keep_published_days is {self.keep_published_days}; it must be at least {wanted}, which is "
                f"keep_counts_days + {MIN_DAYS}: the reports say from which counts a window was published"
            )

    @property
    def days(self) -> dict[str, int]:
        """By table: the number of dates of which any row is kept. Cases are not included."""
        return {
            **dict.fromkeys(AGES, self.keep_ages_days),
            **dict.fromkeys(QUARANTINE, self.keep_quarantine_days),
            **dict.fromkeys(COUNTS, self.keep_counts_days),
            **dict.fromkeys(CASHIER_COUNTS, self.keep_cashier_counts_days),
            SCREENING: self.keep_review_days,
            STORES: self.keep_store_screening_days,
            ERASURES: self.keep_erasures_days,
            **dict.fromkeys(PUBLISHED, self.keep_published_days),
        }


class Due(NamedTuple):
    """What is due in a table."""

    name: str
    dates: list[dt.date]
    """Dates with rows that are due, ascending."""
    n_rows: int
    n_kept: int
    kept_from: dt.date | None
    """First date of which rows stay."""


def due(warehouse: Warehouse, retention: Retention, newest: dt.date) -> Iterator[Due]:
    """Return for each table what is due."""
    for name, days in retention.days.items():
        stored = stored_dates(warehouse, name)
        last = newest - dt.timedelta(days)
        gone = {date: counts.n_rows for date, counts in stored.items() if date <= last}
        if name == SCREENING and stored:
            gone |= _n_due(_due_screening(warehouse, retention, newest))
        n_due = sum(gone.values())
        yield Due(
            name,
            sorted(gone),
            n_due,
            sum(counts.n_rows for counts in stored.values()) - n_due,
            min((date for date, counts in stored.items() if counts.n_rows > gone.get(date, 0)), default=None),
        )
    stored = stored_dates(warehouse, CASES)
    gone = _n_due(_due_cases(warehouse, newest)) if stored else {}
    kept = {date: counts.n_rows - gone.get(date, 0) for date, counts in stored.items()}
    yield Due(
        CASES,
        sorted(gone),
        sum(gone.values()),
        sum(kept.values()),
        min((d for d, n in kept.items() if n), default=None),
    )


def expire(warehouse: Warehouse, retention: Retention, newest: dt.date) -> None:
    """Delete the rows that are due; the tables must exist. The files stay until `upkeep.vacuum`.

    Whole dates are deleted, or a date is rewritten. Deleting by id would leave the id in the log of the table.

    Raises:
        TryAgainError: another writer, such as an import of answers, changed the same date at the same time. The next
            run deletes the rows that are still due.
    """
    for name, days in retention.days.items():
        last = newest - dt.timedelta(days)
        if name in MARKERS:
            mark_deleted(warehouse, MARKERS[name], last)
        delete_dates(warehouse, name, last)
    for date in _n_due(_due_screening(warehouse, retention, newest)):
        warehouse.update(SCREENING, date, lambda rows: rows.filter(pc.invert(_is_not_in_review(rows))))
    for date in _n_due(_due_cases(warehouse, newest)):
        warehouse.update(CASES, date, lambda rows: rows.filter(pc.greater_equal(rows["delete_after"], newest)))


def remove_empty_folders(warehouse: Warehouse, retention: Retention, newest: dt.date) -> None:
    """Remove the folders of deleted dates, after their files."""
    for name, days in retention.days.items():
        remove_empty_dates(warehouse.place, name, newest - dt.timedelta(days))


def mark_deleted(warehouse: Warehouse, marker: str, last: dt.date) -> None:
    """Add a marker to the reports of `count_purchases` up to `last`, before the counts are deleted.

    A new count removes it. A report whose counts were deleted before it was written gets it in the next run.
    """
    reports = warehouse.rows(REPORTS, "business_date", "job", "measure", last=last)
    counted = reports.filter(pc.equal(reports["job"], "count_purchases"))
    marked_dates = counted.filter(pc.equal(counted["measure"], marker))["business_date"].to_pylist()
    line = pa.Table.from_pylist(
        [{"source_table": "", "measure": marker, "text": "yes"}], schema=WAREHOUSE[REPORTS].row_schema
    )

    def marked(report: pa.Table) -> pa.Table:
        # Without a report the date is not counted, and a marker must not look like one.
        return pa.concat_tables([report, line]) if len(report) else report

    for date in sorted(set(counted["business_date"].to_pylist()) - set(marked_dates)):
        warehouse.update(REPORTS, date, marked, job="count_purchases")


def _due_screening(warehouse: Warehouse, retention: Retention, newest: dt.date) -> pa.Table:
    first = newest - dt.timedelta(retention.keep_review_days - 1)  # earlier dates are deleted as a whole
    last = newest - dt.timedelta(retention.keep_not_in_review_days)
    rows = warehouse.rows(SCREENING, "business_date", "status", first=first, last=last)
    return rows.filter(_is_not_in_review(rows))


def _is_not_in_review(rows: pa.Table) -> pa.ChunkedArray:
    return pc.not_equal(pc.fill_null(rows["status"], ""), "review")


def _due_cases(warehouse: Warehouse, newest: dt.date) -> pa.Table:
    rows = warehouse.rows(CASES, "business_date", "delete_after")
    return rows.filter(pc.less(rows["delete_after"], newest))


def _n_due(rows: pa.Table) -> dict[dt.date, int]:
    counts = rows.group_by("business_date").aggregate([([], "count_all")])
    return dict(sorted(zip(counts["business_date"].to_pylist(), counts["count_all"].to_pylist(), strict=True)))
