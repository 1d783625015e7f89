"""Small tables from rows with default values, and fixtures that run a statement over them."""

import datetime as dt
import itertools
from collections.abc import Callable, Iterable, Iterator

import duckdb
import pyarrow as pa
import pytest

from jobs.compare_truth import BUSINESS_DATE, TRUTH
from jobs.tables.bands import DEFAULT_BANDS, age_bands
from jobs.tables.duck import create_views, execute, register_tables
from jobs.tables.schemas import LANDING, UNDATED, WAREHOUSE

DATE = dt.date(2026, 11, 9)

_MICROSECONDS = pa.timestamp("us", tz="UTC")
_HUGE = pa.decimal128(38)  # for DuckDB's integers of 128 bits

# The answers of statements that others read.
ANSWERS = {
    "nightly/receipts": pa.schema(
        [
            ("receipt", pa.int32()),
            ("receipt_id", pa.string()),
            ("store_id", pa.string()),
            ("till_id", pa.string()),
            ("is_staffed", pa.bool_()),
            ("cashier_id", pa.string()),
            ("opened_at", _MICROSECONDS),
            ("hour", pa.int32()),
            ("id_checked", pa.bool_()),
            ("is_rejected", pa.bool_()),
            ("age_years", pa.float64()),
            ("p_under_18", pa.float64()),
            ("age_year", pa.int32()),
        ]
    ),
    "nightly/purchases": pa.schema(
        [
            ("receipt", pa.int32()),
            ("product", pa.int32()),
            ("quantity", _HUGE),
            ("amount", _HUGE),
        ]
    ),
    "nightly/item_counts": pa.schema(
        [
            ("level", pa.string()),
            ("item", pa.string()),
            ("age_year", pa.int32()),
            ("store_id", pa.string()),
            ("n_receipts", pa.int64()),
            ("quantity", _HUGE),
            ("amount", _HUGE),
            ("age_years_sum", _HUGE),
        ]
    ),
    "nightly/receipt_goods": pa.schema(
        [
            ("receipt_id", pa.string()),
            ("store_id", pa.string()),
            ("till_id", pa.string()),
            ("is_staffed", pa.bool_()),
            ("cashier_id", pa.string()),
            ("opened_at", _MICROSECONDS),
            ("hour", pa.int32()),
            ("id_checked", pa.bool_()),
            ("age_years", pa.float64()),
            ("p_under_18", pa.float64()),
            ("goods", pa.string()),
            ("age_year", pa.int32()),
            ("age_capped", pa.float64()),
        ]
    ),
    "landing/usable_products": pa.schema(
        [*LANDING["products"], ("reason", pa.string()), ("legal_age", pa.int32()), ("product", pa.int32())]
    ),
}
SCHEMAS = {
    **ANSWERS,
    **{name: table.schema for name, table in WAREHOUSE.items()},
    **{f"landing/{n}": s if n in UNDATED else s.append(BUSINESS_DATE) for n, s in LANDING.items()},
    **{f"truth/{name}": schema for name, schema in TRUTH.items()},
}

# A consistent cell, bought by 20 % of the receipts of its band and of all receipts.
FIGURES = {
    "n_receipts": 100,
    "n_receipts_with_item": 20,
    "quantity": 25.0,
    "amount": 50.0,
    "penetration": 0.2,
    "penetration_all": 0.2,
    "naive_index": 100.0,
    "lift": 1.0,
    "leverage": 0.0,
    "spend_share": 0.1,
    "affinity_index": 100,
    "index_low": 90,
    "index_high": 110,
    "q_value": 0.5,
    "is_notable": False,
}
# A consistent row of the counts of cashiers: one receipt with a photo.
CASHIER_COUNTS = {
    "n_receipts": 1,
    "n_with_photo": 1,
    "n_checked": 0,
    "n_check_unknown": 0,
    "n_under_27": 0,
    "n_under_60": 0,
    "p_under_18_sum": 0.0,
    "age_capped_sum": 0.0,
    "age_capped_square_sum": 0.0,
}
UNCORRECTED = {"affinity_index": None, "q_value": None}
DEFAULTS = {
    **FIGURES,
    "window_days": 7,
    "n_days": 7,
    "age_band": "30-44",
    "age_year": 40,
    "age_capped": None,
    "status": "scored",
    "level": "category",
    "age_years": 40.0,
    "true_age": 40.0,
    "photo_ids": ["photo_id"],
    "cashier_id": None,
    "id_checked": None,
    "min_age": None,
    "legal_age": None,
    "reason": None,
    "text": None,
}
BY_TYPE = {
    pa.int32(): 1,
    pa.int64(): 1,
    pa.float64(): 1.0,
    pa.bool_(): False,
    pa.date32(): DATE,
    pa.timestamp("us"): dt.datetime(2026, 11, 9, 9),  # noqa: DTZ001 - for columns outside the contract
    pa.timestamp("us", tz="UTC"): dt.datetime(2026, 11, 9, 9, tzinfo=dt.UTC),
}


def _row(schema: pa.Schema, partial: dict) -> dict:
    if unknown := set(partial) - set(schema.names):
        raise ValueError(f"columns {sorted(unknown)} are not among {schema.names}")
    defaults = {f.name: DEFAULTS.get(f.name, BY_TYPE.get(f.type, f.name)) for f in schema}
    defaults |= {f.name: 1 for f in schema if f.type == _HUGE}  # some have a default as a number of units
    if defaults.keys() >= CASHIER_COUNTS.keys():
        defaults |= CASHIER_COUNTS
    if "is_notable" in defaults and (reason := partial.get("reason")):
        # A hidden cell has no figures, another cell with a reason has no corrected index.
        defaults |= dict.fromkeys(FIGURES) if reason.startswith("fewer_than") else UNCORRECTED
    return defaults | partial


def _expand(rows: Iterable[dict]) -> Iterator[dict]:
    """Repeat rows: `each: {column: [values], ...}` gives a row for each combination, `times: n` gives n copies."""
    for row in rows:
        rest = {name: value for name, value in row.items() if name not in ("each", "times")}
        each = row.get("each", {})
        for values in itertools.product(*each.values()):
            yield from [rest | dict(zip(each, values, strict=True))] * row.get("times", 1)


@pytest.fixture(scope="session")
def arrow_tables() -> Callable[[dict], dict[str, pa.Table]]:
    """Convert `{table: rows}` into Arrow tables with the schemas of the contract; missing columns have defaults.

    Without `analytics/age_bands`, each date of the case has the default bands. `each` and `times` repeat a row.

    A table outside the contract is `{columns: {name: Arrow type}, rows: [...]}`, or has the columns of a table of the
    contract: `{like: landing/receipt_lines, rows: [...]}`. Other tables of the contract are empty.
    """

    def build(given: dict) -> dict[str, pa.Table]:
        schemas, rows = dict(SCHEMAS), {}
        for name, table in given.items():
            if isinstance(table, dict) and "like" in table:
                schemas[name] = SCHEMAS[table["like"]]
            elif isinstance(table, dict):
                types = {column: pa.type_for_alias(kind) for column, kind in table["columns"].items()}
                schemas[name] = pa.schema(types)
            elif name not in SCHEMAS:
                raise ValueError(f"table {name!r} is not in the contract, so its columns are required")
            rows[name] = list(_expand(table["rows"] if isinstance(table, dict) else table))
        dates = {DATE} | {
            row["business_date"] for table_rows in rows.values() for row in table_rows if "business_date" in row
        }
        bands = [band._asdict() | {"business_date": date} for date in dates for band in age_bands(DEFAULT_BANDS)]
        rows.setdefault("analytics/age_bands", bands)
        return {
            name: pa.Table.from_pylist([_row(schema, row) for row in rows.get(name, [])], schema=schema)
            for name, schema in schemas.items()
        }

    return build


@pytest.fixture(scope="session")
def run_in_duckdb() -> Callable[[str, dict[str, pa.Table], dict], list[dict]]:
    """Run a statement whose tables are named `zone.table`."""

    def run(statement: str, tables: dict[str, pa.Table], parameters: dict) -> list[dict]:
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            register_tables(connection, tables)
            create_views(connection)
            answer = execute(connection, statement, parameters)
        return [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]

    return run


@pytest.fixture(scope="session")
def run_by_night(run_in_duckdb: Callable) -> Callable[[str, dict[str, pa.Table], dict], list[dict]]:
    """Run a statement of a job, which sees one date of the landing zone; sort the rows, because it does not."""

    def run(statement: str, tables: dict[str, pa.Table], parameters: dict) -> list[dict]:
        landed = {f"landing/{name}": tables[f"landing/{name}"].select(LANDING[name].names) for name in LANDING}
        return sorted(run_in_duckdb(statement, tables | landed, parameters), key=_place)

    return run


ORDER = (
    *("photo_id", "receipt_id", "product_id", "key", "receipt", "product"),
    *("level", "item", "store_id", "age_year", "cashier_id", "hour", "goods", "quantity", "reason"),
)


def _place(row: dict) -> list[tuple]:
    """Return what a row of a job's statement is sorted by; null comes first."""
    values = [row.get(name) for name in ORDER]
    return [(value is not None, value) for value in values]
