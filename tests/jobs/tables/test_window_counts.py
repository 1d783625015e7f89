"""The sums of a window for the screening: which sales are of the same cashier."""

import datetime as dt

import duckdb
import pyarrow as pa

from jobs.tables.cashier_counts import CashierCounts, read_counts
from jobs.tables.cashier_schemas import CASHIERS

DAY = dt.date(2026, 11, 9)


def read(*changed) -> CashierCounts:
    """Sum rows of `restricted/cashier_daily_counts` in two blocks of hours, from 6 and from 16."""
    schema = CASHIERS["restricted/cashier_daily_counts"]
    row = dict.fromkeys(schema.names, 0) | {"business_date": DAY, "goods": "alcohol", "hour": 10, "age_year": 30}
    counts = pa.Table.from_pylist([row | columns for columns in changed], schema=schema)
    with duckdb.connect() as connection:
        connection.sql("CREATE SCHEMA restricted")
        connection.register("rows", counts)
        connection.sql("CREATE TABLE restricted.cashier_daily_counts AS FROM rows")
        return read_counts(connection, [DAY], [6, 16])


def sale(store, cashier, n, **columns):
    return {"store_id": store, "cashier_id": cashier, "n_receipts": n, "n_with_photo": n} | columns


def test_the_same_id_in_two_stores_is_two_cashiers():
    counts = read(sale("S1", "C1", 5, n_checked=5), sale("S2", "C1", 7, hour=20), sale("S2", "C2", 2))
    assert counts.cashiers.select(["store_id", "cashier_id", "store", "n_restricted"]).to_pydict() == {
        "store_id": ["S1", "S2", "S2"],
        "cashier_id": ["C1", "C1", "C2"],
        "store": [0, 1, 1],
        "n_restricted": [5, 7, 2],
    }
    sales = {name: values.tolist() for name, values in counts.sales.items()}
    assert (sales["cashier"], sales["place"]) == ([0, 1, 2], [0, 3, 2])
    assert (sales["n"], sales["n_checked"]) == ([5, 7, 2], [5, 0, 0])


def test_control_receipts_of_the_same_id_are_kept_apart_by_store():
    control = {"goods": "unrestricted", "age_year": None}
    counts = read(
        sale("S1", "C1", 5, **control, age_capped_sum=200.0), sale("S2", "C1", 7, **control, age_capped_sum=210.0)
    )
    assert counts.control["cashier"].tolist() == [0, 1]
    assert counts.control["age_sum"].tolist() == [200, 210]
