"""Retention: rows that are due are in no file, other rows are unchanged."""

import datetime as dt

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from jobs import keep_house
from jobs.tables.cases import CASES
from jobs.tables.retention import SCREENING, STORES, Retention
from jobs.tables.schemas import WAREHOUSE
from jobs.tables.warehouse import Warehouse
from model.cli import TryAgainError

NEWEST = dt.date(2026, 11, 9)
COUNTS, SALES = "restricted/cashier_daily_counts", "restricted/age_restricted_sales"
TABLES = (COUNTS, SALES, SCREENING, STORES, CASES)


def clean(warehouse: Warehouse) -> None:
    keep_house.clean(warehouse, Retention(), NEWEST)


def days_ago(days: int) -> dt.date:
    return NEWEST - dt.timedelta(days)


def write(warehouse: Warehouse, name: str, date: dt.date, *rows: dict) -> None:
    warehouse.replace(name, pa.Table.from_pylist(list(rows), schema=WAREHOUSE[name].row_schema), date)


@pytest.fixture
def warehouse(tmp_path) -> Warehouse:
    opened = Warehouse(str(tmp_path))
    opened.create_tables()
    line = pa.Table.from_pylist([{"measure": "rows"}], schema=WAREHOUSE["analytics/run_quality"].row_schema)
    for days in (0, 400):
        opened.replace("analytics/run_quality", line, days_ago(days), job="count_purchases")
    return opened


def fill(warehouse: Warehouse) -> tuple[list[str], list[str]]:
    """Write rows that are due and rows that are not; return the ids that occur in each."""
    for name, column in ((COUNTS, "cashier_id"), (SALES, "receipt_id")):
        write(warehouse, name, days_ago(35), {column: f"due-{column}"})
        write(warehouse, name, days_ago(34), {column: f"kept-{column}"})
    write(warehouse, SALES, days_ago(300), {"receipt_id": "due-receipt-2", "cashier_id": "due-cashier-2"})
    write(warehouse, STORES, days_ago(180), {"store_id": "due-store"})
    write(warehouse, STORES, days_ago(179), {"store_id": "kept-store"})
    statuses = ("within_limits", "insufficient_data", "watch", "review")
    for days, kept in ((90, ()), (89, statuses[3:]), (35, statuses[3:]), (34, statuses)):
        rows = [
            {"cashier_id": f"{'kept' if status in kept else 'due'}-{status}-{days}", "status": status}
            for status in statuses
        ]
        write(warehouse, SCREENING, days_ago(days), *rows)
    due = {"case_id": "due-case", "receipt_id": "due-of-case", "cashier_id": "due-cashier", "reviewer": "due-person"}
    write(
        warehouse,
        CASES,
        days_ago(40),
        {**due, "delete_after": days_ago(1)},
        {"case_id": "kept-case", "delete_after": NEWEST},
    )
    write(warehouse, CASES, days_ago(91), {"case_id": "due-case-2", "delete_after": days_ago(1)})
    write(warehouse, CASES, NEWEST, {"case_id": "kept-case-2", "delete_after": days_ago(-90)})
    rows = [row for name in TABLES for row in warehouse.rows(name).to_pylist()]
    texts = {value for row in rows for value in row.values() if isinstance(value, str)}
    return [sorted(text for text in texts if text.startswith(prefix)) for prefix in ("due-", "kept-")]


def kept_rows(warehouse: Warehouse, name: str) -> list[str]:
    rows = warehouse.rows(name).to_pylist()
    return sorted(str(row) for row in rows if any(str(value).startswith("kept-") for value in row.values()))


@pytest.mark.parametrize("with_checkpoint", [False, True])
def test_no_file_contains_an_expired_id_and_other_rows_are_unchanged(
    warehouse, tmp_path, file_content, with_checkpoint
):
    due, kept = fill(warehouse)
    before = {name: kept_rows(warehouse, name) for name in TABLES}
    assert len(due) >= 18
    assert [text for text in due if text.encode() not in file_content(tmp_path)] == []
    if with_checkpoint:  # the log is then read from a Parquet file
        for name in TABLES:
            DeltaTable(tmp_path / name).create_checkpoint()
    clean(warehouse)
    left = file_content(tmp_path)
    assert [text for text in due if text.encode() in left] == []
    assert [text for text in kept if text.encode() not in left] == []
    assert {name: kept_rows(warehouse, name) for name in TABLES} == before
    assert {name: DeltaTable(tmp_path / name).count() for name in TABLES} == {
        name: len(rows) for name, rows in before.items()
    }


@pytest.mark.parametrize("name", TABLES)
def test_the_rows_of_a_replaced_date_are_gone(warehouse, tmp_path, file_content, name):
    column = "store_id"
    write(
        warehouse,
        name,
        NEWEST,
        {column: "first-version", "delete_after": NEWEST} if name == CASES else {column: "first-version"},
    )
    write(warehouse, name, NEWEST)
    assert b"first-version" in file_content(tmp_path)
    clean(warehouse)
    assert b"first-version" not in file_content(tmp_path)


def test_a_second_run_leaves_the_same_rows(warehouse):
    fill(warehouse)
    clean(warehouse)
    rows = {name: warehouse.rows(name).to_pylist() for name in TABLES}
    clean(warehouse)
    assert {name: warehouse.rows(name).to_pylist() for name in TABLES} == rows


def test_the_logs_name_only_the_date_in_predicates(warehouse, tmp_path):
    fill(warehouse)
    clean(warehouse)
    logs = [path.read_text() for name in TABLES for path in (tmp_path / name / "_delta_log").glob("*.json")]
    predicates = [part.partition('"}')[0].partition('",')[0] for log in logs for part in log.split('"predicate":"')[1:]]
    assert predicates
    assert {predicate.split()[0] for predicate in predicates} == {"business_date"}
    assert not any(" AND " in predicate or " OR " in predicate for predicate in predicates)


def test_an_answer_that_is_imported_during_the_expiry_is_not_lost(warehouse, monkeypatch):
    write(
        warehouse,
        CASES,
        days_ago(40),
        {"case_id": "k1", "delete_after": days_ago(1)},
        {"case_id": "k2", "delete_after": NEWEST},
    )
    update = Warehouse.update

    def update_after_import(self, name, business_date, change, **part):
        if name != CASES:
            update(self, name, business_date, change, **part)
            return

        def late(rows):
            answered = [{**row, "id_seen": "yes"} for row in rows.to_pylist()]
            write(self, CASES, business_date, *answered)
            return change(rows)

        update(self, name, business_date, late)

    with monkeypatch.context() as patched:
        patched.setattr(Warehouse, "update", update_after_import)
        with pytest.raises(TryAgainError, match="another writer"):
            clean(warehouse)
    clean(warehouse)
    assert [(row["case_id"], row["id_seen"]) for row in warehouse.rows(CASES).to_pylist()] == [("k2", "yes")]
