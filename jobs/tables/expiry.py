"""Delete what is due in the tables about cashiers, so that it cannot be recovered from old versions.

Dates are compared with the newest business date of the warehouse, not with the clock, so that test data of another year
expire in the same way.
"""

import datetime as dt

import pyarrow as pa
import pyarrow.compute as pc

from jobs.tables.cases import CASES
from jobs.tables.warehouse import Warehouse

COUNTS, SALES = "restricted/cashier_daily_counts", "restricted/age_restricted_sales"
SCREENING, STORES = "restricted/cashier_screening", "restricted/store_screening"

KEEP_DAYS = {COUNTS: 35, SALES: 35, SCREENING: 90, STORES: 180}
"""Number of dates that are kept, the newest included. Cases have their own date, `delete_after`."""

KEEP_NOT_IN_REVIEW_DAYS = 35
"""Rows of cashier_screening in review are kept as long as their cases can be; others are deleted after this number of
dates, so that no suspicion outlives its reason."""


def expire(warehouse: Warehouse) -> None:
    """Delete the rows that are due, and the files of all replaced and deleted rows; the tables must exist.

    - Whole dates are deleted, or a date is rewritten. Deleting by id would leave the id in the log of the table.
    - Files are removed by `Warehouse.vacuum`.

    Raises:
        RuntimeError: another writer, such as an import of answers, changed the same date at the same time. The rows
            that are still due are deleted in the next run.
    """
    newest = warehouse.newest_date()
    if newest is None:
        return
    for name, days in KEEP_DAYS.items():
        warehouse.delete(name, newest - dt.timedelta(days))
    _rewrite_screening(warehouse, newest)
    _rewrite_cases(warehouse, newest)
    for name in (*KEEP_DAYS, CASES):
        warehouse.vacuum(name)


def _rewrite_screening(warehouse: Warehouse, newest: dt.date) -> None:
    last = newest - dt.timedelta(KEEP_NOT_IN_REVIEW_DAYS)
    statuses = warehouse.rows(SCREENING, "business_date", "status", last=last)
    for date in _dates(statuses.filter(pc.invert(_is_in_review(statuses)))):
        warehouse.update(SCREENING, date, lambda rows: rows.filter(_is_in_review(rows)))


def _is_in_review(rows: pa.Table) -> pa.ChunkedArray:
    return pc.equal(rows["status"], "review")


def _rewrite_cases(warehouse: Warehouse, newest: dt.date) -> None:
    cases = warehouse.rows(CASES, "business_date", "delete_after")
    for date in _dates(cases.filter(pc.less(cases["delete_after"], newest))):
        warehouse.update(CASES, date, lambda rows: rows.filter(pc.greater_equal(rows["delete_after"], newest)))


def _dates(rows: pa.Table) -> list[dt.date]:
    return sorted(rows["business_date"].unique().to_pylist())
