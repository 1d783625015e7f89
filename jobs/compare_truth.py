"""Compare a warehouse with the known truth of a chain: ages, matched receipts, naive and corrected indices, offers.

For auditors, and for chains with synthetic photos or photos of known people. The nightly jobs do not read the truth.
The true indices are counted from the landing zone, independently of the jobs.

The folder of the truth contains `ages.csv` (photo_id, receipt_id, true_age; photo_id is empty for a receipt without a
photo). It can contain `category_affinity.csv` (age_band, category, affinity_index).
"""

import dataclasses
import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds

import sql
from jobs.tables.answers import Answer, render
from jobs.tables.duck import connect, execute, register_tables
from jobs.tables.faults import explained
from jobs.tables.landing import open_place
from jobs.tables.schemas import LANDING, UNDATED
from jobs.tables.windows import WINDOW_DAYS
from model.cli import InputError, run

TRUTH: dict[str, pa.Schema] = {
    "ages": pa.schema({"photo_id": pa.string(), "receipt_id": pa.string(), "true_age": pa.float64()}),
    "category_affinity": pa.schema({"age_band": pa.string(), "category": pa.string(), "affinity_index": pa.float64()}),
}
"""Columns of the truth: ages in years, index 100 = the average of all shoppers."""

BUSINESS_DATE = pa.field("business_date", pa.date32())

OFFER_WINDOW_DAYS = max(WINDOW_DAYS)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Flags of the program."""

    landing: str
    """Landing zone of the warehouse (path or URI)."""

    warehouse: str
    """Root of the Delta tables (path or URI)."""

    truth: Path
    """Folder with ages.csv and, optionally, category_affinity.csv."""

    business_date: dt.date | None = None
    """Date to compare. Default: all dates for ages and matches, and the newest date for indices."""

    window_days: int = 7
    """Window of the category indices, in days up to the date."""


def register_sources(connection: duckdb.DuckDBPyConnection, landing: str, truth: Path) -> None:
    """Register the tables `landing.<table>`, with business_date, and `truth.<table>`.

    Raises:
        InputError: a table of the landing zone or ages.csv is missing.
    """
    place = open_place(landing, "--landing")
    hive = ds.partitioning(pa.schema([BUSINESS_DATE]), flavor="hive")
    sources = {
        f"landing/{table}": _dataset(
            f"{place.path}/{table}",
            filesystem=place.filesystem,
            schema=schema if table in UNDATED else schema.append(BUSINESS_DATE),
            format="parquet",
            partitioning=hive,
        )
        for table, schema in LANDING.items()
    }
    for table, schema in TRUTH.items():
        path = truth / f"{table}.csv"
        is_given = path.exists() or table == "ages"
        sources[f"truth/{table}"] = (
            _dataset(str(path), schema=schema, format="csv") if is_given else schema.empty_table()
        )
    register_tables(connection, sources)


def compare(
    connection: duckdb.DuckDBPyConnection, business_date: dt.date | None, window_days: int
) -> Iterator[tuple[str, Answer]]:
    """Yield a heading and a table for each comparison.

    Raises:
        InputError: the warehouse has no photo ages of the date, or no category indices of the date and window.
    """
    dates = [date for date, _ in _rows(connection, "truth/dates") if business_date in (None, date)]
    if not dates:
        raise InputError(f"restricted.photo_ages has no rows of business date {business_date or 'any'}")
    yield "Ages, in years", execute(connection, sql.load("truth/age_error"), {"dates": dates})
    yield (
        "Photos matched to receipts",
        execute(connection, sql.load("truth/matching"), {"dates": dates}),
    )

    windows = [(date, days) for date, days, _ in _rows(connection, "truth/windows") if date in dates]
    newest = max((date for date, _ in windows), default=None)
    if newest is None or (newest, window_days) not in windows:
        published = ", ".join(f"{days} on {date}" for date, days in windows) or "none"
        raise InputError(f"--window-days {window_days} has no published category index; there are: {published}")
    heading = f"{newest}, {window_days} days"
    _register_cells(connection, newest, window_days)
    for title, statement in {
        "The ten strongest notable cells": "strongest_cells",
        "Agreement of all indices": "index_agreement",
        "Notable cells": "discoveries",
        "Favourite categories of each band": "top_categories",
    }.items():
        yield f"{title} ({heading})", execute(connection, sql.load(f"truth/{statement}"), {})

    _register_cells(connection, newest, OFFER_WINDOW_DAYS)
    for title, statement in {"Offers": "offers", "Offers that are right, of five": "offers_right"}.items():
        yield f"{title} ({newest})", execute(connection, sql.load(f"truth/{statement}"), {"business_date": newest})


def _register_cells(connection: duckdb.DuckDBPyConnection, business_date: dt.date, window_days: int) -> None:
    """Register the published cells of a window, beside the truth, as table `cell_index`."""
    window = {"business_date": business_date, "window_days": window_days}
    connection.register("cell_index", connection.sql(sql.load("truth/cell_index"), params=window).to_arrow_table())


def _rows(connection: duckdb.DuckDBPyConnection, name: str) -> list[tuple[Any, ...]]:
    return execute(connection, sql.load(name), {}).rows


def _dataset(path: str, **layout: object) -> ds.Dataset:
    try:
        return ds.dataset(path, **layout)
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"{path} cannot be read: {error}") from error


def main(settings: Settings) -> None:
    """Print every comparison as a table."""
    with explained(settings.warehouse), connect(settings.warehouse, restricted=True) as connection:
        register_sources(connection, settings.landing, settings.truth)
        for heading, answer in compare(connection, settings.business_date, settings.window_days):
            print(f"{heading}\n\n{render(answer)}\n")


if __name__ == "__main__":
    run(main, Settings)
