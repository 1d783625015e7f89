"""Where the tables name a person who is erased, and the record of the erasure, which names nobody."""

import datetime as dt
import functools
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.tables.retention import ERASURES
from jobs.tables.schemas import WAREHOUSE, is_restricted
from jobs.tables.warehouse import Warehouse

PHOTO_AGES, RECEIPT_AGES, QUARANTINE = "restricted/photo_ages", "restricted/receipt_ages", "restricted/quarantine"
NAMING = ("photo_id", "receipt_id", "photo_ids", "key")
"""Columns that name a photo or a receipt; `key` is that of the quarantine: a photo, a receipt, or receipt/line."""


@dataclass(frozen=True, kw_only=True)
class Ids:
    """The photos and receipts of a person."""

    photos: frozenset[str]
    receipts: frozenset[str]
    of_photos: frozenset[str] = frozenset()
    """Receipts of the photos. Their purchases stay, but not their cases: a case shows a judgement of the person."""

    def within(self, rows: pa.Table) -> Any:
        """Return which rows name one of the ids, in any column of a landing or warehouse table, without nulls."""
        receipts = self.receipts | (self.of_photos if "case_id" in rows.column_names else frozenset())
        found = [pa.array(np.zeros(len(rows), np.bool_))]
        for column in set(NAMING).intersection(rows.column_names):
            values = rows[column].combine_chunks()
            match column:
                case "photo_id":
                    found.append(_is_in(values, self.photos))
                case "receipt_id":
                    found.append(_is_in(values, receipts))
                case "key":
                    found.append(_is_in(values, self.photos | self.receipts))
                    found.append(_is_in(pc.replace_substring_regex(values, "/[^/]*$", ""), self.receipts))
                case "photo_ids":
                    of_rows = pc.list_parent_indices(values).filter(_is_in(pc.list_flatten(values), self.photos))
                    found.append(pc.is_in(pa.array(np.arange(len(rows))), of_rows.cast(pa.int64())))
        return functools.reduce(pc.or_, found)

    def removed_from(self, rows: pa.Table) -> pa.Table:
        """Return the rows that name none of the ids."""
        return rows.filter(pc.invert(self.within(rows)))


def _is_in(values: Any, ids: Iterable[str]) -> Any:
    return pc.is_in(values.cast(pa.string()), pa.array(sorted(ids), pa.string()))


class Found(NamedTuple):
    """Rows that name one of the ids."""

    n_rows: dict[dt.date, Counter[str]]
    """Their number by date and table."""
    names: set[str]
    """All that these rows name, also photos of the same receipt."""


def with_photos(warehouse: Warehouse, photos: Iterable[str], receipts: Iterable[str]) -> Ids:
    """Return the ids, with the photos of the receipts, and the receipts of the photos, as far as ages are kept."""
    given = Ids(photos=frozenset(photos), receipts=frozenset(receipts))
    ages = warehouse.rows(RECEIPT_AGES, "receipt_id", "photo_ids")
    rows = ages.filter(given.within(ages)).to_pylist()
    of_receipts = {photo for row in rows if row["receipt_id"] in given.receipts for photo in row["photo_ids"]}
    of_photos = frozenset(row["receipt_id"] for row in rows)
    return Ids(photos=given.photos | of_receipts, receipts=given.receipts, of_photos=of_photos)


def find(warehouse: Warehouse, ids: Ids) -> Found:
    """Find the rows of the restricted tables that name one of the ids."""
    found = Found({}, set())
    for name, table in WAREHOUSE.items():
        columns = [column for column in NAMING if column in table.schema.names]
        if not columns or not is_restricted(name):
            continue
        more = ["case_id"] if "case_id" in table.schema.names else []
        rows = warehouse.rows(name, "business_date", *columns, *more)
        for row in rows.filter(ids.within(rows)).select(["business_date", *columns]).to_pylist():
            found.n_rows.setdefault(row.pop("business_date"), Counter())[name] += 1
            for value in row.values():
                found.names.update(value if isinstance(value, list) else (value, (value or "").rpartition("/")[0]))
    return found


class Recorded(NamedTuple):
    """The dates of the erasure with a reason."""

    finished: set[dt.date]
    interrupted: set[dt.date]
    counted: set[dt.date]
    """Interrupted dates whose counts contained the person."""


def recorded(warehouse: Warehouse, reason: str) -> Recorded:
    """Return the dates of an erasure as they are recorded."""
    rows = [row for row in warehouse.rows(ERASURES).to_pylist() if row["reason"] == reason]
    still_open = [row for row in rows if row["finished_at"] is None]
    return Recorded(
        {row["business_date"] for row in rows if row["finished_at"] is not None},
        {row["business_date"] for row in still_open},
        {row["business_date"] for row in still_open if row["is_counted"]},
    )


def record_begin(warehouse: Warehouse, date: dt.date, reason: str, *, n_rows: int, is_counted: bool) -> None:
    """Record an erasure that is not finished; one that was interrupted is continued."""

    def begun(rows: pa.Table) -> pa.Table:
        records = rows.to_pylist()
        still_open = [row for row in records if row["reason"] == reason and row["finished_at"] is None]
        for row in still_open:
            row["is_counted"] |= is_counted  # another id may have been added
        if still_open:
            return pa.Table.from_pylist(records, schema=rows.schema)
        now = dt.datetime.now(dt.UTC)
        row = {"begun_at": now, "finished_at": None, "reason": reason, "n_rows": n_rows, "is_counted": is_counted}
        return pa.concat_tables([rows, pa.Table.from_pylist([row], schema=rows.schema)])

    warehouse.update(ERASURES, date, begun)


def record_end(warehouse: Warehouse, date: dt.date, reason: str) -> None:
    """Record that the erasure of a date is finished."""
    now = dt.datetime.now(dt.UTC)

    def ended(rows: pa.Table) -> pa.Table:
        records = rows.to_pylist()
        for row in records:
            row["finished_at"] = row["finished_at"] or (now if row["reason"] == reason else None)
        return pa.Table.from_pylist(records, schema=rows.schema)

    warehouse.update(ERASURES, date, ended)
