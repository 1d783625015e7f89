"""Warehouses with restricted sales, written without Spark."""

import datetime as dt
import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from jobs import screen_cashiers
from jobs.tables.schemas import WAREHOUSE
from jobs.tables.warehouse import Warehouse

SELLER = {
    "store_id": "s1",
    "cashier_id": "c1",
    "till_id": "t1",
    "n_sales": 20,  # restricted, of a date
    "n_control": 30,  # unrestricted
    "asks": 1.0,  # part of the usual checks
    "unknown": 0.0,  # share of sales without a record of the check
    "alcohol": 0.75,  # share of restricted sales
    "oldest_buyer": 80,  # of restricted goods, years
}


def store(store_id: str, cashier_ids: Iterable[str | None], **changed: object) -> list[dict]:
    """Return sellers of a store; None is the self-checkouts."""
    return [{"store_id": store_id, "cashier_id": cashier_id, **changed} for cashier_id in cashier_ids]


def chain(**planted: object) -> list[dict]:
    """Return three stores of four cashiers; `planted` changes the first."""
    sellers = [seller for s in range(3) for seller in store(f"store-{s}", [f"cashier-{s}-{c}" for c in range(4)])]
    return [sellers[0] | planted, *sellers[1:]]


def _draw_sales(rng: np.random.Generator, date: dt.date, number: int, given: dict) -> pa.Table:
    """Return the receipts of a seller, as `nightly/receipt_goods` gives them without the derived ages."""
    seller = SELLER | given
    n = seller["n_sales"] + seller["n_control"]
    restricted = np.arange(n) < seller["n_sales"]
    ages = rng.uniform(15, np.where(restricted, seller["oldest_buyer"], 80), n).round(2)
    checked = rng.random(n) < seller["asks"] * 0.95 / (1 + np.exp((ages - 30) / 4))
    unknown = ~restricted | (rng.random(n) < seller["unknown"])
    alcohol = np.where(rng.random(n) < seller["alcohol"], "alcohol", "other_restricted")
    hours = rng.integers(8, 22, n)
    opened_at = [dt.datetime(date.year, date.month, date.day, int(hour), tzinfo=dt.UTC) for hour in hours]
    return pa.table(
        {
            "receipt_id": [f"receipt-{date}-{number:02}-{sale:03}" for sale in range(n)],
            "store_id": [seller["store_id"]] * n,
            "till_id": [seller["till_id"]] * n,
            "is_staffed": [seller["cashier_id"] is not None] * n,
            "cashier_id": pa.array([seller["cashier_id"]] * n, pa.string()),
            "opened_at": pa.array(opened_at, pa.timestamp("us", tz="UTC")),
            "hour": hours,
            "goods": np.where(restricted, alcohol, "unrestricted"),
            "id_checked": pa.array(checked, mask=unknown),
            "age_years": ages,
            "p_under_18": np.clip((24 - ages) / 12, 0.001, 0.7),
        }
    )


Sell = Callable[..., Path]


@pytest.fixture(scope="session")
def sell(tmp_path_factory: pytest.TempPathFactory, sum_sales: Callable) -> Sell:
    """Write the tables that `screen_cashiers` reads: `sell(dates, [seller, ...])`, with rows as in `SELLER`.

    The rows of a date depend only on the arguments and the date. Like the jobs, it removes the reports of
    `build_affinity` and `screen_cashiers`.
    """

    def write(
        dates: Iterable[dt.date],
        sellers: Sequence[dict],
        warehouse: Path | None = None,
        *,
        seed: int = 0,
        model_version: str = "model1",
    ) -> Path:
        warehouse = warehouse or tmp_path_factory.mktemp("sold")
        tables = Warehouse(str(warehouse))
        tables.create_tables()
        for date in dates:
            rng = np.random.default_rng([seed, date.toordinal()])
            with duckdb.connect() as connection:
                connection.sql("SET TimeZone = 'UTC'")
                sold = [_draw_sales(rng, date, *seller) for seller in enumerate(sellers)]
                connection.register("sold", pa.concat_tables(sold))
                counts = sum_sales(connection, "FROM sold")
            for name, rows in counts.items():
                tables.replace(name, rows, date)
            content = hashlib.sha256("".join(str(rows.to_pydict()) for rows in counts.values()).encode())
            report(tables, date, "score_photos", model_version=model_version)
            report(tables, date, "count_purchases", counts_hash=content.hexdigest()[:16])
            for job in ("build_affinity", "screen_cashiers"):
                report(tables, date, job)
        return warehouse

    return write


def report(tables: Warehouse, date: dt.date, job: str, **texts: str) -> None:
    """Write the report of a job; without measures, remove it."""
    lines = [{"source_table": "", "measure": measure, "text": text} for measure, text in texts.items()]
    rows = pa.Table.from_pylist(lines, schema=WAREHOUSE["analytics/run_quality"].row_schema)
    tables.replace("analytics/run_quality", rows, date, job=job)


@pytest.fixture(scope="session")
def three_stores() -> Callable[..., list[dict]]:
    """Three stores of four cashiers: `three_stores(**changes of the first cashier)`."""
    return chain


@pytest.fixture(scope="session")
def screen() -> Callable[..., None]:
    """Run the job: `screen(warehouse, dates, **flags)`."""

    def run(warehouse: Path, dates: Iterable[dt.date], **flags: object) -> None:
        for date in dates:
            screen_cashiers.main(screen_cashiers.Settings(business_date=date, warehouse=str(warehouse), **flags))

    return run


@pytest.fixture(scope="session")
def read() -> Callable[..., list[dict]]:
    """Read a warehouse table as dictionaries, sorted: `read(warehouse, name)`."""

    def rows(warehouse: Path, name: str) -> list[dict]:
        return sorted(Warehouse(str(warehouse)).rows(name).to_pylist(), key=str)

    return rows
