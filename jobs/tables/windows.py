"""Which dates a window contains, and the counts of a window as arrays."""

import datetime as dt
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

import sql
from jobs.tables.duck import connect
from model.cli import TryAgainError

WINDOW_DAYS = (1, 7, 28)
N_YEARS = 101

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Versions(NamedTuple):
    """What determines the counts of a date and how they are corrected; a hash or version is None if there is none."""

    counts_hash: str | None
    model_version: str | None
    kernel_version: str | None
    windows_hash: str | None
    """Of the published windows."""
    screening_hash: str | None
    """Of the windows in which cashiers were screened."""
    counts_deleted: bool = False
    """The counts by age are older than they are kept."""
    cashier_counts_deleted: bool = False


@dataclass(frozen=True, kw_only=True)
class WindowDates:
    """The counted dates of the longest window that ends with a business date."""

    used: list[dt.date]
    """With the model and the kernel of the business date, and counts that still exist."""
    left_out: list[dt.date]
    hash: str
    """Changes if a date, its counts, its model or its kernel changes."""

    def within(self, business_date: dt.date, days: int) -> list[dt.date]:
        """Return the used dates of a window of `days` dates."""
        return [date for date in self.used if date > business_date - dt.timedelta(days=days)]


def longest_window(business_date: dt.date) -> tuple[dt.date, dt.date]:
    """Return the first and the last date of the longest window that ends with `business_date`."""
    return business_date - dt.timedelta(days=max(WINDOW_DAYS) - 1), business_date


def is_in_window(date: dt.date, business_date: dt.date) -> bool:
    """Return whether the longest window that ends with `business_date` contains a date."""
    first, last = longest_window(business_date)
    return first <= date <= last


def read_versions(
    connection: duckdb.DuckDBPyConnection, first: dt.date = dt.date.min, last: dt.date = dt.date.max
) -> dict[dt.date, Versions]:
    """Return the versions of the dates `first` to `last` that have a report.

    The reports of two years take 2 s to read, those of a window 0.1 s.
    """
    limits = duckdb.ConstantExpression(first), duckdb.ConstantExpression(last)
    dates = duckdb.ColumnExpression("business_date").between(*limits)
    rows = connection.sql(sql.load("publish/versions")).filter(dates).fetchall()
    return {date: Versions(*versions) for date, *versions in sorted(rows)}


def window_dates(versions: Mapping[dt.date, Versions], business_date: dt.date) -> WindowDates:
    """Return the dates of the longest window that ends with `business_date`."""
    first, _ = longest_window(business_date)
    counted = {
        date: version
        for date, version in sorted(versions.items())
        if first <= date <= business_date and version.counts_hash
    }
    own = versions.get(business_date)
    used = [
        date for date, version in counted.items() if own and version[1:3] == own[1:3] and not version.counts_deleted
    ]
    content = "\n".join(f"{date} {version[:3]}" for date, version in counted.items())
    return WindowDates(
        used=used,
        left_out=[date for date in counted if date not in used],
        hash=hashlib.sha256(content.encode()).hexdigest()[:16],
    )


def check_unchanged(warehouse: str, business_date: dt.date, versions: Mapping[dt.date, Versions]) -> None:
    """Check, after all tables were opened, that no date of the window has been run again or deleted in the meantime.

    A connection opens the reports first, then the counts: a job that starts in between removes the counts of its date.

    Raises:
        TryAgainError: a date has other counts now.
    """
    with connect(warehouse, restricted=True) as connection:
        now = read_versions(connection, *longest_window(business_date))
    # The hashes of publication and screening are left out: another job may write them.
    if {date: version[:3] + version[5:] for date, version in now.items()} != {
        date: version[:3] + version[5:] for date, version in versions.items()
    }:
        raise TryAgainError(f"a date in the windows of {business_date} was changed by another job meanwhile; run again")


def stale_dates(versions: Mapping[dt.date, Versions]) -> list[dt.date]:
    """Return the counted dates whose windows were not published and screened from the counts of now, oldest first.

    This includes dates whose publication or screening was interrupted: they lack a hash. A date without counts is not
    included, because it can't be published. A date is not included if the counts of a date in its windows are deleted:
    the published windows are more complete than those that could be published now.
    """
    deleted = [date for date, version in versions.items() if version.counts_deleted]
    return [
        date
        for date, version in sorted(versions.items())
        if version.counts_hash
        and {version.windows_hash, version.screening_hash} != {window_dates(versions, date).hash}
        and not any(is_in_window(other, date) for other in deleted)
    ]


@dataclass(frozen=True, kw_only=True)
class LevelCounts:
    """The I items of one level, sorted by name."""

    items: list[str]
    parent: Ints  # (I,) number of the parent in the level above; 0 at the top
    min_age: Ints  # (I,) 0: none
    by_year: Floats  # (I, 101) receipts by estimated age
    by_store: Floats  # (I, S) receipts
    age_sums: Floats  # (I, S) sum of the estimated ages, years


@dataclass(frozen=True, kw_only=True)
class WindowCounts:
    """All counts of a window."""

    levels: dict[str, LevelCounts]
    """By name: department, category, product."""
    by_store: Floats  # (S, 101) all receipts by store and estimated age


LEVELS = ("department", "category", "product")


def read_counts(connection: duckdb.DuckDBPyConnection, dates: Sequence[dt.date]) -> WindowCounts:
    """Sum the counts of some dates.

    Args:
        connection: to the warehouse, with the restricted zone and a table `products`, from `publish/products`.
        dates: at least one, with counts.
    """

    def rows(name: str) -> pa.Table:
        return connection.sql(sql.load(f"publish/{name}"), params={"dates": list(dates)}).to_arrow_table()

    items = rows("items")
    connection.register("items", items)
    by_year, by_store = _columns(rows("counts_by_year")), _columns(rows("counts_by_store"))
    connection.unregister("items")
    n_stores = int(by_store["store"].max(initial=-1)) + 1
    described = _columns(items)
    levels = {}
    for level in LEVELS:
        of, of_years, of_stores = (part["level"] == level for part in (described, by_year, by_store))
        shape = (int(of.sum()), N_YEARS)
        in_stores = (by_store["number"][of_stores].astype(int), by_store["store"][of_stores])
        levels[level] = LevelCounts(
            items=described["item"][of].tolist(),
            parent=np.nan_to_num(described["parent"][of].astype(float)).astype(int),
            min_age=described["min_age"][of],
            by_year=_scatter(
                shape, (by_year["number"][of_years], by_year["age_year"][of_years]), by_year["n_receipts"][of_years]
            ),
            by_store=_scatter((shape[0], n_stores), in_stores, by_store["n_receipts"][of_stores]),
            age_sums=_scatter((shape[0], n_stores), in_stores, by_store["age_years_sum"][of_stores]),
        )
    of_all = by_store["level"] == "all"
    return WindowCounts(
        levels=levels,
        by_store=_scatter(
            (n_stores, N_YEARS),
            (by_store["store"][of_all], by_store["age_year"][of_all].astype(int)),
            by_store["n_receipts"][of_all],
        ),
    )


def _columns(table: pa.Table) -> dict[str, npt.NDArray[Any]]:
    return {
        name: table[name].to_pandas().to_numpy() if pa.types.is_string(table[name].type) else table[name].to_numpy()
        for name in table.column_names
    }


def _scatter(shape: tuple[int, int], where: tuple[Ints, Ints], values: npt.NDArray[Any]) -> Floats:
    result = np.zeros(shape)
    result[where] = values.astype(float)  # the keys are unique
    return result
