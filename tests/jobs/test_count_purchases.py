"""The job on real files; tests/sql has the cases of its statements."""

import datetime as dt
import math
import shutil

import duckdb
import pyarrow as pa
import pytest

import sql
from jobs import count_purchases
from jobs.tables.night import DateSettings, Night
from jobs.tables.schemas import LANDING, WAREHOUSE
from model.cli import InputError
from tests.jobs.small_chain import DATE, SmallChain

COUNTS = "restricted/daily_counts"


@pytest.mark.parametrize("figure", [0, -1, math.nan, math.inf, 1e11 + 1])
def test_an_unusable_bound_of_a_line_is_refused(figure):
    with pytest.raises(InputError, match=r"--max-line-figure is .*; it must be above 0 and at most 100000000000"):
        count_purchases.Settings(business_date=DATE, landing="l", warehouse="w", max_line_figure=figure)


CELLS = [{"item": "Beer"}, {"item": "Wine"}, {"item": "Wine", "age_year": 41}]


def content(rows: pa.Table) -> tuple[int, str]:
    """Return the number of rows and the sum of their hashes."""
    with duckdb.connect() as connection:
        connection.register("hashed", rows)
        return connection.sql(sql.load("nightly/content_hash")).fetchall()[0]


def test_the_hash_does_not_depend_on_the_order_and_batches_of_rows(rows):
    cells = rows(COUNTS, *CELLS)
    other = pa.concat_tables([cells.slice(2), cells.slice(0, 1), cells.slice(1, 1)])
    assert content(other) == content(cells) == (3, content(cells)[1])


@pytest.mark.parametrize(
    "changed",
    [
        CELLS[:2],
        [*CELLS, CELLS[0]],
        [*CELLS[:2], CELLS[0]],
        [*CELLS[:2], {"item": "Wine", "age_year": 42}],
        [*CELLS[:2], {"item": "Wine", "age_year": 41, "amount": 0.01}],
        [*CELLS[:2], {"item": "Wine", "age_year": 41, "amount": math.nextafter(2.0, 3)}],
        [*CELLS, *CELLS],
        [],
    ],
    ids=[
        "removed",
        "duplicated",
        "replaced by a copy",
        "other age",
        "other amount",
        "next amount",
        "all twice",
        "none",
    ],
)
def test_the_hash_differs_if_a_row_is_changed_duplicated_or_removed(rows, changed):
    assert content(rows(COUNTS, *changed)) != content(rows(COUNTS, *CELLS))


def test_the_hash_differs_if_a_null_is_elsewhere_or_is_a_text(rows):
    pairs = [(None, "a"), ("a", None), ("NULL", "a"), ("", "a"), ("a", ""), ("a', 'item': 'b", "c"), ("a", "b', 'c")]
    hashes = {content(rows(COUNTS, {"item": item, "level": level})) for item, level in pairs}
    assert len(hashes) == len(pairs)


@pytest.fixture
def hash_of(tmp_path):
    """Return a function that gives the hash of counted tables, all of which are empty unless they are given."""
    chain = SmallChain(tmp_path)
    chain.finish("match_receipts")

    def build(given: dict[str, pa.Table]) -> str:
        settings = DateSettings(business_date=DATE, warehouse=chain.places["warehouse"])
        with Night(settings, "count_purchases") as night:
            for table in count_purchases.COUNTED:
                empty = WAREHOUSE[f"restricted/{table}"].row_schema.empty_table()
                night.connection.register(table, given.get(table, empty))
            return count_purchases.content_hash(night)

    return build


def test_the_hash_covers_each_table_and_which_table_has_a_row(hash_of):
    one_row = pa.table({"item": ["Beer"]})
    hashes = [hash_of({table: one_row}) for table in count_purchases.COUNTED]
    assert len({*hashes, hash_of({})}) == 6
    assert {len(text) for text in hashes} == {16}


ZONE = "Europe/Madrid"
LAGER = {"product_name": "Lager", "category": "Beer", "department": "Drinks", "min_age": 18, "is_alcohol": True}


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    """Two stores, three receipts with an age, and a receipt without."""
    chain = SmallChain(tmp_path_factory.mktemp("counted"))
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
    chain.write(
        "restricted/receipt_ages",
        *(
            {"receipt_id": name, "store_id": stores[name], "age_years": age, "p_under_18": 0.1}
            for name, age in ages.items()
        ),
    )
    chain.finish("match_receipts")
    chain.run(count_purchases, time_zone=ZONE)
    return chain


def counts_hash(chain):
    return chain.report("count_purchases")["", "counts_hash"]


@pytest.fixture
def changed(counted, tmp_path):
    """A copy that a test may change."""
    shutil.copytree(counted.landing.parent, tmp_path / "chain")
    return SmallChain(tmp_path / "chain")


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
    assert len(counts_hash(counted)) == 16


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
    of_the_job = {name: value for (table, name), value in counted.report("count_purchases").items() if not table}
    assert of_the_job == {"staffed_without_cashier": "none", "counts_hash": counts_hash(counted)}


def test_the_hash_covers_the_counts_of_cashiers(counted, changed):
    changed.land("receipts", *(row | {"id_checked": row["receipt_id"] == "r3"} for row in changed.landed("receipts")))
    changed.run(count_purchases, time_zone=ZONE)
    assert counts_hash(changed) != counts_hash(counted)


def test_each_date_keeps_the_counts_of_its_catalogue(changed):
    later = DATE + dt.timedelta(days=1)
    for table in ("receipts", "receipt_lines"):
        changed.land(table, *changed.landed(table), date=later)
    changed.finish("match_receipts", later)
    changed.land("products", {"product_id": "lager", **LAGER, "min_age": None, "is_alcohol": False})
    changed.run(count_purchases, later, time_zone=ZONE)
    counts = "SELECT DAY(business_date), goods, SUM(n_receipts) FROM restricted.cashier_daily_counts GROUP BY ALL"
    assert changed.rows(counts) == [(10, "unrestricted", 4), (9, "alcohol", 3), (9, "unrestricted", 1)]


def test_rows_in_another_order_have_the_same_hash(counted, changed):
    for table in ("receipts", "receipt_lines"):
        changed.land(table, *reversed(changed.landed(table)))
    changed.run(count_purchases, time_zone=ZONE)
    assert counts_hash(changed) == counts_hash(counted)


def test_sums_of_the_largest_figures_do_not_overflow(changed):
    """The sum is above 2 ** 63 ten-thousandths: 20,000 lines of 1e11."""
    line = {"receipt_id": "r1", "product_id": "lager", "quantity": count_purchases.MAX_LINE_FIGURE, "amount": -1e11}
    changed.land("receipt_lines", *(line | {"line_no": number} for number in range(20_000)))
    changed.run(count_purchases, max_line_figure=count_purchases.MAX_LINE_FIGURE)
    counts = changed.rows("SELECT level, quantity, amount FROM restricted.daily_counts WHERE age_year = 25")
    assert counts == [(level, 2e15, -2e15) for level in ("all", "category", "department", "product")]
    goods = "SELECT goods, SUM(n_receipts) FROM restricted.cashier_daily_counts GROUP BY goods"
    assert changed.rows(goods) == [("alcohol", 1), ("unrestricted", 3)]


def test_sums_do_not_depend_on_the_order_of_the_lines(changed):
    """As doubles, the sums of 0.1, 0.2, ... would."""
    figures = [number / 10 for number in range(1, 400)]
    results = set()
    for order in (1, -1, 5):
        numbers = [(number * order) % 399 for number in range(399)]
        lines = [
            {"receipt_id": "r1", "line_no": n, "product_id": "lager", "quantity": figures[n], "amount": figures[n] / 7}
            for n in numbers
        ]
        changed.land("receipt_lines", *lines)
        changed.run(count_purchases)
        results.add(counts_hash(changed))
    assert len(results) == 1


def test_a_bad_line_is_in_quarantine_and_not_counted(counted, changed):
    (good, *_) = changed.landed("receipt_lines")
    # Statistics of Parquet files leave out NaN, so that all figures seem to be possible.
    wrong = [{"amount": math.nan}, {"product_id": "000000"}, {"quantity": math.nan}]
    bad = [good | line | {"line_no": number} for number, line in enumerate(wrong, 2)]
    changed.land("receipt_lines", *changed.landed("receipt_lines"), *bad, good)
    changed.run(count_purchases, time_zone=ZONE)
    rejected = changed.rows("SELECT source_table, key, reason FROM restricted.quarantine")
    assert rejected == [
        ("receipt_lines", "r1/2", "impossible_figure"),
        ("receipt_lines", "r1/3", "product_unknown"),
        ("receipt_lines", "r1/4", "impossible_figure"),
    ]
    assert counts_hash(changed) == counts_hash(counted)
    figures = {name: value for (table, name), value in changed.report("count_purchases").items() if table}
    assert figures == {"rows_in": 7, "rows_used": 3, "rows_quarantined": 3, "rows_duplicate": 1}


def test_a_line_of_a_rejected_receipt_is_not_counted(changed):
    changed.write("restricted/quarantine", {"key": "r1"}, {"key": "r1"}, source_table="receipts")
    changed.run(count_purchases, time_zone=ZONE)
    rejected = changed.rows("SELECT key, reason FROM restricted.quarantine WHERE source_table = 'receipt_lines'")
    assert rejected == [("r1/1", "receipt_quarantined")]
    goods = "SELECT store_id, SUM(n_receipts) FROM restricted.cashier_daily_counts GROUP BY store_id"
    assert changed.rows(goods) == [("s1", 1), ("s2", 2)]


def test_a_bad_line_figure_depends_on_the_bound(changed):
    for bound, n_rejected in ((1.5, 0), (1.49, 3)):
        changed.run(count_purchases, max_line_figure=bound)
        assert changed.report("count_purchases")["receipt_lines", "rows_quarantined"] == n_rejected


def test_all_files_of_the_catalogue_are_read(changed):
    products = pa.Table.from_pylist([{"product_id": "stout", **LAGER}], schema=LANDING["products"])
    changed.land_file("products", products, "part-1.parquet")
    lines = [line | {"product_id": "stout", "line_no": 2} for line in changed.landed("receipt_lines")]
    more = pa.Table.from_pylist(lines, schema=LANDING["receipt_lines"])
    changed.land_file("receipt_lines", more, "part-1.parquet")
    changed.run(count_purchases)
    assert changed.rows("SELECT product_id, min_age FROM restricted.catalogue") == [("lager", 18), ("stout", 18)]
