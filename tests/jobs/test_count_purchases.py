import dataclasses
import datetime as dt
import math
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import functions as F

from jobs import count_purchases
from jobs.count_purchases import (
    content_hash,
    receipt_baskets,
    receipt_goods,
    screen_lines,
    screen_products,
    sold_products,
    sum_baskets,
)
from jobs.tables.duck import connect
from jobs.tables.landing import table_folder
from jobs.tables.schemas import LANDING, WAREHOUSE
from jobs.tables.warehouse import Warehouse
from model.cli import InputError

DATE = dt.date(2026, 11, 9)
COUNTS = "restricted/daily_counts"
STORE_COUNTS = "restricted/daily_store_counts"


def test_an_unusable_line_is_rejected_with_a_reason(rows):
    cases = [
        ({}, None),
        ({"quantity": -1.0, "amount": -2.0}, None),
        ({"receipt_id": "unknown"}, "receipt_unknown"),
        ({"receipt_id": "rejected"}, "receipt_quarantined"),
        ({"product_id": "000000"}, "product_unknown"),
        ({"line_no": None}, "missing_value"),
        ({"amount": None}, "missing_value"),
        ({"quantity": float("nan")}, "impossible_figure"),
        ({"amount": float("-inf")}, "impossible_figure"),
        ({"quantity": 1000.0, "amount": -1000.0}, None),
        ({"amount": 1000.01}, "impossible_figure"),
        ({"amount": -1e9}, "impossible_figure"),
        ({"quantity": -1000.01}, "impossible_figure"),
    ]
    lines = [{"line_no": number, **line} for number, (line, _) in enumerate(cases)]
    receipts = rows("receipts", {}, {}, {"receipt_id": "rejected"})
    rejected = rows("restricted/quarantine", {"key": "rejected"}, {"key": "rejected"})
    screened = screen_lines(rows("receipt_lines", *lines), rows("products", {}), receipts, rejected, 1000).collect()
    assert {(row.line_no, row.reason, row.n_copies) for row in screened} == {
        (line["line_no"], reason, 1) for line, (_, reason) in zip(lines, cases, strict=True)
    }


@pytest.mark.parametrize("figure", [0, -1, math.nan, math.inf, 1e11 + 1])
def test_an_unusable_bound_of_a_line_is_refused(figure):
    with pytest.raises(InputError, match=r"--max-line-figure is .*; it must be above 0 and at most 100000000000"):
        count_purchases.Settings(business_date=DATE, landing="l", warehouse="w", max_line_figure=figure)


def test_sums_of_the_largest_figures_do_not_overflow(spark, rows):
    """The sum is above 2 ** 63 ten-thousandths: 20,000 lines of 1e11."""
    line = rows("receipt_lines", {"quantity": count_purchases.MAX_LINE_FIGURE, "amount": -1e11})
    lines = line.crossJoin(spark.range(20_000).select(F.col("id").cast("int"))).drop("line_no")
    lines = lines.withColumnRenamed("id", "line_no").select(*LANDING["receipt_lines"].names)
    ages = rows("restricted/receipt_ages", {})
    counts = sum_baskets(spark, "daily_counts", receipt_baskets(spark, lines, rows("products", {}), ages)).collect()
    assert {(row.level, row.quantity, row.amount) for row in counts} == {
        (level, 2e15, -2e15) for level in ("all", "department", "category", "product")
    }
    goods = receipt_goods(rows("receipts", {}), lines, rows("products", {}), ages, "UTC").collect()
    assert [row.goods for row in goods] == ["alcohol"]


def test_an_unusable_product_is_rejected_with_a_reason(rows):
    reasons = {"good": None, "no age": None, "age": "impossible_min_age", "category": "missing_value"}
    products = rows(
        "products",
        {"product_id": "good"},
        {"product_id": "no age", "min_age": None},
        {"product_id": "age", "min_age": 121},
        {"product_id": "category", "category": None},
    )
    assert {row.product_id: row.reason for row in screen_products(products).collect()} == reasons


def test_both_tables_of_counts_read_the_persisted_baskets(spark, rows):
    frames = [rows(name, {}) for name in ("receipt_lines", "products", "restricted/receipt_ages")]
    baskets = receipt_baskets(spark, *frames).persist()
    counts = [sum_baskets(spark, table, baskets) for table in ("daily_counts", "daily_store_counts")]
    assert [frame.count() for frame in counts] == [4, 4]
    assert all("InMemoryTableScan" in frame._jdf.queryExecution().executedPlan().toString() for frame in counts)
    baskets.unpersist()


def test_the_catalogue_has_each_sold_product_once(rows):
    products = rows("products", {"product_id": "lager"}, {"product_id": "stout"})
    lines = rows("receipt_lines", {"line_no": 1}, {"line_no": 2})
    (row,) = sold_products(products, lines).collect()
    assert row.asDict() == {
        "product_id": "lager",
        "product_name": "Lager",
        "category": "Beer",
        "department": "Drinks",
        "min_age": 18,
    }


CELLS = [{"item": "Beer"}, {"item": "Wine"}, {"item": "Wine", "age_year": 41}]


def test_the_hash_does_not_depend_on_the_order_of_rows_and_partitions(rows):
    expected = content_hash({COUNTS: rows(COUNTS, *CELLS)})
    assert content_hash({COUNTS: rows(COUNTS, *reversed(CELLS)).repartition(3)}) == expected
    assert len(expected) == 16


@pytest.mark.parametrize(
    "changed",
    [
        CELLS[:2],
        [*CELLS, CELLS[0]],
        [*CELLS[:2], CELLS[0]],
        [*CELLS[:2], {"item": "Wine", "age_year": 42}],
        [*CELLS[:2], {"item": "Wine", "age_year": 41, "amount": 0.01}],
        [*CELLS, *CELLS],
        [],
    ],
    ids=["removed", "duplicated", "replaced by a duplicate", "other age", "other amount", "all twice", "none"],
)
def test_the_hash_differs_if_a_row_is_changed_duplicated_or_removed(rows, changed):
    assert content_hash({COUNTS: rows(COUNTS, *changed)}) != content_hash({COUNTS: rows(COUNTS, *CELLS)})


def test_the_hash_differs_if_a_null_or_a_table_is_another(rows):
    by_item = {"item": None, "level": "a"}
    by_level = {"item": "a", "level": None}
    hashes = {content_hash({COUNTS: rows(COUNTS, cell)}) for cell in (by_item, by_level)}
    frame = rows(COUNTS, {})
    assert len(hashes | {content_hash({COUNTS: frame}), content_hash({STORE_COUNTS: frame})}) == 4


LAGER = {"product_name": "Lager", "category": "Beer", "department": "Drinks", "min_age": 18, "is_alcohol": True}


class Chain:
    """A landing zone and a warehouse in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = count_purchases.Settings(
            business_date=DATE,
            landing=str(folder / "landing"),
            warehouse=str(folder / "warehouse"),
            time_zone="Europe/Madrid",
        )

    def land(self, table, *rows, date=DATE):
        """Write a landing table: `land("receipts", {"receipt_id": "r1"}, ...)`."""
        folder = self.folder / "landing" / table_folder(table, date)
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows, schema=LANDING[table]), folder / "part-0.parquet")

    def landed(self, table):
        """Return the rows of a landing table."""
        return pq.ParquetFile(next((self.folder / "landing").glob(f"{table}/*/*.parquet"))).read().to_pylist()

    def write(self, table, *rows, date=DATE, **part):
        """Replace a date of a warehouse table."""
        rows = pa.Table.from_pylist(rows, schema=WAREHOUSE[table].row_schema)
        Warehouse(self.settings.warehouse).replace(table, rows, date, **part)

    def rows(self, statement):
        """Return the sorted rows of a query."""
        with connect(self.settings.warehouse, restricted=True) as connection:
            return sorted(connection.sql(statement).fetchall(), key=str)

    def counts_hash(self):
        return self.rows("SELECT text FROM analytics.run_quality WHERE measure = 'counts_hash'")


@pytest.fixture(scope="module")
def counted(spark, tmp_path_factory):
    """Two stores, three receipts with an age, and a receipt without; counted once, because that takes seconds."""
    assert spark  # the job uses this session
    chain = Chain(tmp_path_factory.mktemp("counted"))
    stores = {"r1": "s1", "r2": "s1", "r3": "s2", "without_age": "s2"}
    receipts = [
        {
            "receipt_id": name,
            "store_id": store,
            "till_id": "t1",
            "till_type": "staffed",
            "cashier_id": f"cashier of {store}",
            "opened_at": dt.datetime(2026, 11, 9, 17, 30, tzinfo=dt.UTC),
            "id_checked": name == "r1",
        }
        for name, store in stores.items()
    ]
    ages = {"r1": 25.4, "r2": 25.0, "r3": 61.0}
    line = {"line_no": 1, "product_id": "lager", "quantity": 1.0, "amount": 1.5}
    chain.land("products", {"product_id": "lager", **LAGER}, {"product_id": "unsold", **LAGER})
    chain.land("receipts", *receipts)
    chain.land("receipt_lines", *({"receipt_id": name, **line} for name in ("r1", "r3", "without_age")))
    Warehouse(chain.settings.warehouse).create_tables()
    chain.write(
        "restricted/receipt_ages",
        *(
            {"receipt_id": name, "store_id": stores[name], "age_years": age, "p_under_18": 0.1}
            for name, age in ages.items()
        ),
    )
    chain.write("analytics/run_quality", {"source_table": "", "measure": "n", "value": 1.0}, job="match_receipts")
    count_purchases.main(chain.settings)
    return chain


@pytest.fixture
def changed(counted, tmp_path):
    """A copy that a test may change."""
    shutil.copytree(counted.folder, tmp_path / "chain")
    return Chain(tmp_path / "chain")


def test_the_job_writes_counts_by_age_and_store_the_catalogue_and_a_hash(counted):
    by_age = counted.rows("SELECT age_year, level, n_receipts, amount FROM restricted.daily_counts")
    items = ["all", "category", "department", "product"]
    assert by_age == sorted(
        [
            *((25, level, 2 if level == "all" else 1, 1.5) for level in items),
            *((61, level, 1, 1.5) for level in items),
        ],
        key=str,
    )
    by_store = counted.rows(
        "SELECT store_id, level, age_year, n_receipts, age_years_sum FROM restricted.daily_store_counts"
    )
    assert by_store == sorted(
        [
            ("s1", "all", 25, 2, 50),
            ("s2", "all", 61, 1, 61),
            *(("s1", level, None, 1, 25) for level in items[1:]),
            *(("s2", level, None, 1, 61) for level in items[1:]),
        ],
        key=str,
    )
    assert counted.rows("SELECT product_id FROM restricted.catalogue") == [("lager",)]
    assert len(counted.counts_hash()) == 1


CASHIER_COUNTS = "SELECT store_id, cashier_id, hour, goods, age_year, n_receipts, n_with_photo, n_checked"


def test_the_job_writes_restricted_sales_by_cashier_and_hour(counted):
    assert counted.rows(f"{CASHIER_COUNTS}, p_under_18_sum FROM restricted.cashier_daily_counts") == sorted(
        [
            ("s1", "cashier of s1", 18, "alcohol", 25, 1, 1, 1, 0.1),
            ("s1", "cashier of s1", 18, "unrestricted", None, 1, 1, 0, 0.0),
            ("s2", "cashier of s2", 18, "alcohol", 60, 1, 1, 0, 0.1),
            ("s2", "cashier of s2", 18, "alcohol", None, 1, 0, 0, 0.0),
        ],
        key=str,
    )
    sales = counted.rows("SELECT receipt_id, cashier_id, hour, goods, age_years FROM restricted.age_restricted_sales")
    assert sales == [
        ("r1", "cashier of s1", 18, "alcohol", 25.4),
        ("r3", "cashier of s2", 18, "alcohol", 61.0),
    ]
    report = "SELECT measure, text, value FROM analytics.run_quality WHERE source_table = ''"
    assert counted.rows(f"{report} AND measure = 'staffed_without_cashier'") == [
        ("staffed_without_cashier", "none", None)
    ]
    assert counted.rows(f"{report} AND job = 'count_purchases' AND value IS NOT NULL") == []


def test_the_hash_covers_the_counts_of_cashiers(counted, changed):
    changed.land("receipts", *(row | {"id_checked": row["receipt_id"] == "r3"} for row in changed.landed("receipts")))
    count_purchases.main(changed.settings)
    assert changed.counts_hash() != counted.counts_hash()


def test_each_date_keeps_the_counts_of_its_catalogue(changed):
    later = DATE + dt.timedelta(days=1)
    for table in ("receipts", "receipt_lines"):
        changed.land(table, *changed.landed(table), date=later)
    report = {"source_table": "", "measure": "n", "value": 1.0}
    changed.write("analytics/run_quality", report, date=later, job="match_receipts")
    changed.land("products", {"product_id": "lager", **LAGER, "min_age": None, "is_alcohol": False})
    count_purchases.main(dataclasses.replace(changed.settings, business_date=later))
    counts = "SELECT DAY(business_date), goods, SUM(n_receipts) FROM restricted.cashier_daily_counts GROUP BY ALL"
    assert changed.rows(counts) == [(10, "unrestricted", 4), (9, "alcohol", 3), (9, "unrestricted", 1)]
