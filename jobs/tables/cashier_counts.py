"""The counts of restricted sales of a window as arrays, and arrays as rows of a warehouse table."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

import sql
from jobs.tables.schemas import WAREHOUSE

Columns = dict[str, Any]
"""Arrays of one length by name."""


class CashierCounts(NamedTuple):
    """The sums of a window. Rows name a cashier by number, and a place: number of the store * n_blocks + block."""

    stores: pa.Table
    """From `sql/screening/stores.sql`."""
    cashiers: pa.Table
    """From `sql/screening/cashiers.sql`."""
    n_blocks: int
    sales: Columns
    """At staffed tills, from `sql/screening/sales.sql`."""
    self_checkout: Columns
    """The same at self-checkouts; `cashier` is the number of the store."""
    control: Columns
    """From `sql/screening/control.sql`."""

    @property
    def obstacle(self) -> str | None:
        """Why nobody can be screened: `no_restricted_sales` or `no_control`; or None."""
        if not self.sales["n"].sum():
            return "no_restricted_sales"
        return None if self.control["n"].sum() else "no_control"


def read_counts(
    connection: duckdb.DuckDBPyConnection, dates: Sequence[dt.date], block_starts: Sequence[int]
) -> CashierCounts:
    """Sum the counts of some dates.

    Args:
        connection: to the warehouse, with the restricted zone.
        dates: dates with counts.
        block_starts: local hours at which the blocks of hours begin, ascending.
    """

    def read(name: str, **parameters: object) -> pa.Table:
        return connection.sql(sql.load(f"screening/{name}"), params=parameters).to_arrow_table()

    of_dates = {"dates": list(dates)}
    stores = read("stores", **of_dates)
    connection.register("stores", stores)
    cashiers = read("cashiers", **of_dates)
    connection.register("cashiers", cashiers)
    sales, control = (read(name, **of_dates, block_starts=list(block_starts)) for name in ("sales", "control"))
    for name in ("stores", "cashiers"):
        connection.unregister(name)
    n_blocks = len(block_starts)
    staffed, self_checkout = (
        _columns(sales.filter(pc.equal(sales["is_self"], is_self)).drop("is_self"), n_blocks)
        for is_self in (False, True)
    )
    return CashierCounts(stores, cashiers, n_blocks, staffed, self_checkout, _columns(control, n_blocks))


def _columns(rows: pa.Table, n_blocks: int) -> Columns:
    columns = {name: rows[name].to_numpy() for name in rows.column_names}
    place = columns.pop("store") * n_blocks + columns.pop("block")
    return {**columns, "place": place}


def table_of(name: str, columns: Columns, constants: Mapping[str, object]) -> pa.Table:
    """Return the rows of a warehouse table that have restricted sales, without the columns of its partition.

    Args:
        name: name of the table.
        columns: one array for each column; NaN becomes null.
        constants: columns with one value.
    """
    schema = WAREHOUSE[name].row_schema
    n_rows = len(next(iter(columns.values())))
    arrays = []
    for field in schema:
        if field.name in constants:
            arrays.append(pa.repeat(pa.scalar(constants[field.name], field.type), n_rows))
        else:
            column = columns[field.name]
            is_arrow = isinstance(column, pa.Array | pa.ChunkedArray)
            arrays.append((column if is_arrow else pa.array(column, from_pandas=True)).cast(field.type))
    rows = pa.table(arrays, schema=schema)
    return rows.filter(pc.greater(rows["n_restricted"], 0))
