"""Review cases: receipts that are drawn for a cashier in review, and rows of `restricted/cashier_cases`."""

import datetime as dt
import secrets
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

import sql
from jobs.tables.schemas import WAREHOUSE

CASES = "restricted/cashier_cases"
KEEP_DAYS = 90
"""An unanswered case is deleted after this number of days."""
KEEP_ANSWERED_DAYS = 30

UNITS = pa.schema([("store_id", pa.string()), ("cashier_id", pa.string()), ("age_shift_years", pa.float64())])
"""Correction of the estimated ages of a cashier's receipts: the corrected age is the age less the shift."""


class Drawn(Protocol):
    """Receipts of a batch, as `jobs.stats.cases.draw_batch` returns them."""

    @property
    def receipts(self) -> npt.NDArray[np.int64]:
        """Positions of the receipts, in the order in which they are shown."""

    @property
    def roles(self) -> list[str]:
        """Role of each receipt."""


Draw = Callable[[npt.NDArray[np.bool_], npt.NDArray[np.int64], npt.NDArray[np.float64]], Drawn]


def draw_cases(  # noqa: PLR0913 - each is a table or a setting of its own
    connection: duckdb.DuckDBPyConnection,
    business_date: dt.date,
    *,
    dates: Sequence[dt.date],
    as_of: dt.date,
    in_review: Sequence[tuple[str, str]],
    units: pa.Table,
    existing: pa.Table,
    draw: Draw,
) -> pa.Table:
    """Return the review cases of a date: those that exist, with their answers, and new ones.

    A cashier in review gets a new batch unless another batch of the same cashier, of any date, is not due for
    deletion. A second run of a date therefore changes nothing. Use it with `Warehouse.update`, so that no answer is
    lost that a reviewer gives at the same time.

    Args:
        connection: to the warehouse, with the restricted tables; `units` is registered on it.
        business_date: date of the screening.
        dates: dates of its longest window, all scored by one model.
        as_of: newest business date of the warehouse. Batches that are due before it count as deleted.
        in_review: (store_id, cashier_id) of the cashiers in review, in any window.
        units: age corrections of all cashiers of their stores, with the columns of `UNITS`.
        existing: the cases of the date, with the columns of `row_schema`.
        draw: draws a batch: (whether of the cashier, hour, corrected age) -> positions and roles. It must be
            unpredictable: `partial(jobs.stats.cases.draw_batch, rng=np.random.default_rng())`.
    """
    delete_after = business_date + dt.timedelta(days=KEEP_DAYS)
    if delete_after < as_of:
        return existing
    connection.register("units", units.select(UNITS.names).cast(UNITS))
    open_batches = connection.sql(sql.load("screening/open_batches"), params={"as_of": as_of}).fetchall()
    reviewed = {*open_batches, *_cashiers(existing)}
    to_draw = sorted({*in_review} - reviewed)
    if not to_draw:
        return existing
    batches = [existing]
    parameters = {"store_ids": sorted({store_id for store_id, _ in to_draw}), "dates": list(dates)}
    # One statement for all stores: the table of sales is large, and the stores in review are few.
    of_stores = connection.sql(sql.load("screening/sales_of_stores"), params=parameters).to_arrow_table()
    for store_id, cashier_id in to_draw:
        sales = of_stores.filter(pc.equal(of_stores["store_id"], store_id))
        of_cashier = pc.fill_null(pc.equal(sales["cashier_id"], cashier_id), fill_value=False)
        ages = [sales[name].to_numpy() for name in ("hour", "age_years")]
        drawn = draw(of_cashier.to_numpy(), ages[0].astype(np.int64), ages[1])
        batches.append(_batch(sales.take(pa.array(drawn.receipts)), drawn.roles, cashier_id, delete_after))
    return pa.concat_tables(batches)


def _cashiers(cases: pa.Table) -> set[tuple[Any, Any]]:
    of_cashier = cases.filter(pc.equal(cases["role"], "cashier"))
    return set(zip(of_cashier["store_id"].to_pylist(), of_cashier["cashier_id"].to_pylist(), strict=True))


def _batch(sales: pa.Table, roles: Sequence[str], cashier_id: str, delete_after: dt.date) -> pa.Table:
    batch_id = f"batch-{secrets.token_hex(8)}"
    rows = [
        {
            **sale,
            "case_id": f"case-{secrets.token_hex(8)}",  # a spreadsheet would take 12e5 for a number
            "batch_id": batch_id,
            "shown_order": number,
            "role": role,
            "cashier_id": cashier_id if role == "cashier" else None,
            "delete_after": delete_after,
        }
        for number, (sale, role) in enumerate(zip(sales.to_pylist(), roles, strict=True), start=1)
    ]
    # Columns that the schema lacks, such as the age, are dropped.
    return pa.Table.from_pylist(rows, schema=WAREHOUSE[CASES].row_schema)


def answered_delete_after(delete_after: dt.date, newest: dt.date, decided_on: dt.date) -> dt.date:
    """Return the last date on which an answered case is kept.

    >>> answered_delete_after(dt.date(2027, 2, 7), newest=dt.date(2026, 11, 19), decided_on=dt.date(2026, 11, 20))
    datetime.date(2026, 12, 20)

    Args:
        delete_after: the date without the answer.
        newest: newest business date of the warehouse. In test data it may be later than the decision.
        decided_on: date of the answer.
    """
    return min(delete_after, max(decided_on, newest) + dt.timedelta(days=KEEP_ANSWERED_DAYS))
