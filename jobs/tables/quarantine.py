"""Reject bad rows with a reason, and count repeated deliveries.

For every source table, rows in = rows used + rows quarantined + declared duplicates.
"""

import datetime as dt
from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import NamedTuple

from pyspark.sql import Column, DataFrame, Window, functions as F

from jobs.tables.schemas import KEYS, LANDING


class Defect(NamedTuple):
    """A rule that rejects a row."""

    reason: str
    applies: Column
    """Boolean; null counts as false."""
    detail: Column
    """The wrong value, as shown in the quarantine."""


def missing_value(*columns: str) -> Defect:
    """Return the rule that none of these columns may be null or an empty text."""
    missing = {name: F.col(name).isNull() | (F.col(name).cast("string") == "") for name in columns}
    names = (F.when(is_missing, F.lit(name)) for name, is_missing in missing.items())
    return Defect("missing_value", reduce(or_, missing.values()), F.concat_ws(", ", *names))


def off_date(business_date: dt.date, *columns: str) -> Defect:
    """Return the rule that times lie within two days of the business date, in any time zone.

    The usual cause is a clock that was reset to 1970. The rule also rejects times that overflow in calculations.
    """
    noon = dt.datetime.combine(business_date, dt.time(12), dt.UTC)
    first, last = F.lit(noon - dt.timedelta(days=2)), F.lit(noon + dt.timedelta(days=2))
    is_off = reduce(or_, (~F.col(name).between(first, last) for name in columns))
    return Defect("time_off_date", is_off, F.concat_ws(", ", *(F.col(name).cast("string") for name in columns)))


def screen(rows: DataFrame, table: str, defects: Sequence[Defect]) -> DataFrame:
    """Remove repeated deliveries and mark bad rows.

    - Of equal rows one is kept, and `n_copies` counts them.
    - Different rows with the same key are all rejected as `conflicting_key`, because the right one is unknown.
    - The first defect that applies gives a row its `reason` and `detail`; both are null for a good row.

    Args:
        rows: the columns of the contract, and others that the rules read (equal for equal rows).
        table: name of the landing table.
        defects: rules in order of precedence.
    """
    copies = rows.groupBy(*rows.columns).agg(F.count(F.lit(1)).alias("n_copies"))
    keys = KEYS[table]
    n_versions = F.count(F.lit(1)).over(Window.partitionBy(*keys))
    conflict = Defect("conflicting_key", F.col("n_versions") > 1, F.format_string("%d versions", F.col("n_versions")))
    rules = [*defects, conflict]
    reason = F.coalesce(*(F.when(rule.applies, F.lit(rule.reason)) for rule in rules))
    detail = F.coalesce(*(F.when(rule.applies, rule.detail) for rule in rules))
    return (
        copies.withColumn("n_versions", n_versions)
        .withColumns({"reason": reason, "detail": detail})
        .select(*rows.columns, "n_copies", "reason", "detail")
    )


def reject_repeated(screened: DataFrame, column: str, *, key: str, order: Sequence[str]) -> DataFrame:
    """Reject good rows that have the same value of a column as another good row, and keep the first of them.

    Args:
        screened: from `screen`.
        column: the column whose values must differ; the reason is its name and `_repeated`.
        key: column of the key, which decides between rows of equal `order`.
        order: columns by which a row is the first.
    """
    is_good = F.col("reason").isNull()
    # Rejected rows are apart, so that they repeat nothing.
    same = Window.partitionBy(is_good, column).orderBy(*order, key)
    is_repeated = is_good & (F.row_number().over(same) > 1)
    return screened.withColumns(
        {
            "reason": F.when(is_repeated, F.lit(f"{column}_repeated")).otherwise(F.col("reason")),
            "detail": F.when(is_repeated, F.lit(f"another row has this {column}, and is earlier")).otherwise(
                F.col("detail")
            ),
        }
    )


def used(screened: DataFrame, table: str) -> DataFrame:
    """Return the good rows, with the columns of the contract."""
    return screened.where(F.col("reason").isNull()).select(*LANDING[table].names)


def rejected(screened: DataFrame, table: str) -> DataFrame:
    """Return the bad rows as `key, reason, detail`; a key of several columns is joined by `/`."""
    key = F.concat_ws("/", *(F.coalesce(F.col(name).cast("string"), F.lit("?")) for name in KEYS[table]))
    return screened.where(F.col("reason").isNotNull()).select(key.alias("key"), "reason", "detail")


def count(screened: DataFrame) -> dict[str, float]:
    """Count all rows and those used, quarantined and duplicate."""
    n_bad = F.count_if(F.col("reason").isNotNull())
    rows_in, n_bad_rows, n_kept = screened.agg(F.sum("n_copies"), n_bad, F.count(F.lit(1))).collect()[0]
    rows_in = rows_in or 0
    return {
        "rows_in": rows_in,
        "rows_used": n_kept - n_bad_rows,
        "rows_quarantined": n_bad_rows,
        "rows_duplicate": rows_in - n_kept,
    }
