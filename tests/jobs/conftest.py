"""Tables with default values, a small chain with photos, a model with random weights, and a warehouse of counts."""

import datetime as dt
import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import sql
from jobs import sample_chain
from jobs.tables.duck import connect
from jobs.tables.night import DateSettings
from jobs.tables.schemas import LANDING, WAREHOUSE
from jobs.tables.warehouse import Warehouse
from jobs.tables.windows import longest_window, read_versions, window_dates
from model import predict
from model.network import AgeNetwork, NetworkConfig
from model.release import checkpoint

NINE = dt.datetime(2026, 11, 9, 9, tzinfo=dt.UTC)

DEFAULTS = {
    "photo_id": "p1",
    "store_id": "s1",
    "till_id": "t1",
    "captured_at": NINE,
    "path": "photos/p1.jpg",
    "receipt_id": "r1",
    "till_type": "staffed",
    "cashier_id": None,
    "opened_at": NINE,
    "closed_at": NINE + dt.timedelta(seconds=60),
    "id_checked": None,
    "line_no": 1,
    "product_id": "lager",
    "quantity": 1.0,
    "amount": 2.0,
    "product_name": "Lager",
    "category": "Beer",
    "department": "Drinks",
    "min_age": 18,
    "is_alcohol": True,
    "business_date": NINE.date(),
    "age_years": 40.0,
    "age_year": 40,
    "age_band": "30-44",
    "from_years": 30,
    "to_years": 44,
    "status": "scored",
    "level": "category",
    "item": "Beer",
    "n_receipts": 10,
}


@pytest.fixture(scope="session")
def rows() -> Callable[..., pa.Table]:
    """Build a landing or warehouse table: `rows("receipts", {"receipt_id": "r2"}, ...)`.

    With `for_writing` a warehouse table has no columns of its partition.
    """

    def build(table: str, *partial: dict, for_writing: bool = False) -> pa.Table:
        if table in LANDING:
            schema = LANDING[table]
        else:
            schema = WAREHOUSE[table].row_schema if for_writing else WAREHOUSE[table].schema
        full = [{name: row.get(name, DEFAULTS.get(name)) for name in schema.names} for row in partial]
        return pa.Table.from_pylist(full, schema)

    return build


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One date with photos and all blemishes; read-only for tests."""
    out = tmp_path_factory.mktemp("chain") / "sample"
    sample_chain.write_chain(sample_chain.Settings(out=out, receipts_per_day=150, stores=3))
    return out


@pytest.fixture(scope="session")
def flip() -> Callable[[Path, int, int | None], None]:
    """Invert some bytes of a file, by the numbers of the first and of the one after the last."""

    def invert(file: Path, first: int, last: int | None) -> None:
        content = bytearray(file.read_bytes())
        content[first:last] = bytes(255 - byte for byte in content[first:last])
        file.write_bytes(content)

    return invert


@pytest.fixture(scope="session")
def file_content() -> Callable[[Path], bytes]:
    """Return the bytes and names of all files of a folder, and the values of Parquet files, which may be compressed."""

    def content(root: Path) -> bytes:
        files = [path for path in root.rglob("*") if path.is_file()]
        tables = [str(pq.ParquetFile(path).read().to_pydict()).encode() for path in files if path.suffix == ".parquet"]
        return b"\n".join([*(path.read_bytes() for path in files), *(str(path).encode() for path in files), *tables])

    return content


@pytest.fixture(autouse=True, scope="module")
def _uncompiled() -> Iterator[None]:
    """Score without the compiled package, which takes 14 s to build; tests/model/test_compiled.py tests it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predict, "prepare", lambda _: "cpu, not compiled in tests")
        yield


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model") / "model"
    checkpoint.save(folder, AgeNetwork(NetworkConfig(image_size=32)), {})
    return folder


BASKETS = """
    WITH items AS (
        SELECT receipt, store_id, age_year, 'all' AS level, '' AS item, 0 AS quantity FROM lines
        UNION ALL SELECT receipt, store_id, age_year, 'department', department, quantity FROM lines
        UNION ALL SELECT receipt, store_id, age_year, 'category', category, quantity FROM lines
        UNION ALL SELECT receipt, store_id, age_year, 'product', product_id, quantity FROM lines
    )
    SELECT receipt, store_id, CAST(age_year AS INTEGER) AS age_year, level, item, SUM(quantity) AS quantity
    FROM items
    GROUP BY ALL
"""
SALES = """
    SELECT
        receipt || '-' || DATE '{date}' AS receipt_id, store_id, 't1' AS till_id, TRUE AS is_staffed,
        'k' || receipt % 3 AS cashier_id, receipt % 4 > 0 AS id_checked, 8 + receipt % 12 AS hour,
        TIMESTAMP '{date}' + TO_HOURS(hour) AS opened_at, age_years, 0.02 AS p_under_18,
        IF(is_restricted, 'alcohol', 'unrestricted') AS goods
    FROM (
        SELECT
            receipt, store_id, age_year::DOUBLE AS age_years,
            BOOL_OR(level = 'category' AND item = 'c0') AS is_restricted
        FROM baskets GROUP BY ALL
    )
"""
COUNTS = {
    "restricted/daily_counts": """
        SELECT age_year, level, item, COUNT(*) AS n_receipts, SUM(quantity)::DOUBLE AS quantity,
            2 * SUM(quantity)::DOUBLE AS amount
        FROM baskets GROUP BY age_year, level, item ORDER BY ALL
    """,
    "restricted/daily_store_counts": """
        SELECT store_id, level, item, CASE WHEN level = 'all' THEN age_year END AS age_year,
            COUNT(*) AS n_receipts, SUM(age_year)::BIGINT AS age_years_sum
        FROM baskets GROUP BY 1, 2, 3, 4 ORDER BY ALL
    """,
    "restricted/catalogue": """
        SELECT DISTINCT product_id, 'Name of ' || product_id AS product_name, category, department,
            CASE WHEN category = 'c0' THEN 18 END::INTEGER AS min_age
        FROM lines ORDER BY ALL
    """,
}


def _sum_sales(connection: duckdb.DuckDBPyConnection, sales: str) -> dict[str, pa.Table]:
    """Return the tables of cashiers; `sales` selects the answer of `nightly/receipt_goods` without the derived ages."""
    connection.execute(
        f"""CREATE TABLE receipt_goods AS SELECT *,
            IF(goods != 'unrestricted', FLOOR(age_years + 0.5).GREATEST(14).LEAST(60)::INTEGER, NULL) AS age_year,
            IF(goods = 'unrestricted', LEAST(60, age_years), NULL) AS age_capped
        FROM ({sales})"""  # noqa: S608 - our own text
    )
    return {
        f"restricted/{name}": connection.sql(sql.load(f"nightly/{name}"))
        .order("ALL")
        .to_arrow_table()
        .cast(WAREHOUSE[f"restricted/{name}"].row_schema)
        for name in ("cashier_daily_counts", "age_restricted_sales")
    }


@pytest.fixture(scope="session")
def sum_sales() -> Callable[[duckdb.DuckDBPyConnection, str], dict[str, pa.Table]]:
    """Sum sales as `count_purchases` does."""
    return _sum_sales


def _draw_lines(rng: np.random.Generator, n_receipts: int, n_products: int, n_stores: int) -> pa.Table:
    """Return one row per receipt and product, with the estimated age; about 5 products to a receipt."""
    products = np.arange(n_products)
    popularity = 1 / (products + 10)
    ages = rng.integers(15, 85, n_receipts)
    young = ages + rng.normal(0, 6, n_receipts) < 40
    parts = []
    for group, tilt in ((young, -0.3), (~young, 0.3)):  # products of odd numbers are bought by the older
        share = popularity * np.exp(tilt * np.where(products % 2, 1, -1))
        receipts = np.repeat(np.flatnonzero(group), 1 + rng.poisson(4, group.sum()))
        parts.append(np.stack([receipts, rng.choice(products, receipts.size, p=share / share.sum())]))
    receipts, chosen = np.unique(np.concatenate(parts, axis=1), axis=1)
    stores = rng.integers(0, n_stores, n_receipts)
    n_categories = max(1, n_products // 6)
    return pa.table(
        {
            "receipt": receipts,
            "store_id": [f"s{number}" for number in stores[receipts]],
            "age_year": np.clip(ages, 0, 100)[receipts],
            "product_id": [f"p{number}" for number in chosen],
            "category": [f"c{number % n_categories}" for number in chosen],
            "department": [f"d{number % n_categories % 2}" for number in chosen],
            "quantity": rng.integers(1, 4, receipts.size),
        }
    )


@pytest.fixture(scope="session")
def counted_warehouse(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write a warehouse as `count_purchases` leaves it: `counted_warehouse(dates, receipts_per_day)`.

    It contains counts, catalogue, age errors and the reports of the dates. The rows of a date depend only on the
    arguments and the date. Each call makes a new folder, unless it is given an existing `warehouse`, in which it
    replaces the dates and, like the jobs, removes their reports of `build_affinity` and `screen_cashiers`.
    """

    def write(
        dates: Iterable[dt.date],
        receipts_per_day: int = 400,
        seed: int = 0,
        *,
        warehouse: Path | None = None,
        n_products: int = 12,
        n_stores: int = 2,
        versions: tuple[str, str | None] = ("model1", "kernel1"),
    ) -> Path:
        warehouse = warehouse or tmp_path_factory.mktemp("counted")
        tables = Warehouse(str(warehouse))
        tables.create_tables()
        for date in dates:
            rng = np.random.default_rng([seed, date.toordinal()])
            with duckdb.connect() as connection:
                connection.register("lines", _draw_lines(rng, receipts_per_day, n_products, n_stores))
                connection.execute(f"CREATE TABLE baskets AS {BASKETS}")
                counts = {
                    name: connection.sql(statement).to_arrow_table().cast(WAREHOUSE[name].row_schema)
                    for name, statement in COUNTS.items()
                } | _sum_sales(connection, SALES.format(date=date))
            content = hashlib.sha256("".join(str(rows.to_pydict()) for rows in counts.values()).encode())
            for name, rows in counts.items():
                tables.replace(name, rows, date)
            tables.replace("restricted/age_errors", _age_errors(versions[1]), date)
            reports = {
                "score_photos": {"model_version": versions[0], "kernel_version": versions[1]},
                "match_receipts": {"matched_share": "1"},
                "count_purchases": {"counts_hash": content.hexdigest()[:16]},
                "build_affinity": {},
                "screen_cashiers": {},
            }
            for job, texts in reports.items():
                lines = [
                    {"source_table": "", "measure": measure, "text": text}
                    for measure, text in texts.items()
                    if text is not None
                ]
                schema = WAREHOUSE["analytics/run_quality"].row_schema
                tables.replace("analytics/run_quality", pa.Table.from_pylist(lines, schema), date, job=job)
        return warehouse

    return write


@pytest.fixture(scope="session")
def report_windows() -> Callable[[str, DateSettings], None]:
    """Report the windows of a date as `build_affinity` or `screen_cashiers` does, without writing their tables."""

    def report(job: str, settings: DateSettings) -> None:
        date = settings.business_date
        with connect(settings.warehouse) as connection:
            windows = window_dates(read_versions(connection, *longest_window(date)), date)
        line = {"source_table": "", "measure": "windows_hash", "text": windows.hash}
        rows = pa.Table.from_pylist([line], schema=WAREHOUSE["analytics/run_quality"].row_schema)
        Warehouse(settings.warehouse).replace("analytics/run_quality", rows, date, job=job)

    return report


def _age_errors(kernel_version: str | None) -> pa.Table:
    """Return 400 pairs; none without a version."""
    schema = WAREHOUSE["restricted/age_errors"].row_schema
    if kernel_version is None:
        return schema.empty_table()
    rng = np.random.default_rng(list(kernel_version.encode()))
    ages = rng.integers(10, 90, 400)
    columns = [["held_out"] * 400, ages.astype(np.int32), ages + rng.normal(0, 7, 400)]
    return pa.table(dict(zip(schema.names, columns, strict=True)), schema=schema)
