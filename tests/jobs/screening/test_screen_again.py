"""Dates that are screened again leave the same rows; expired rows are gone from all files."""

import datetime as dt
import shutil
from functools import partial

import pyarrow as pa
import pytest

from jobs import build_affinity, keep_house, query, rebuild_windows
from jobs.tables.retention import MARKERS, SCREENING, STORES, Retention, mark_deleted
from jobs.tables.upkeep import delete_dates
from jobs.tables.warehouse import Warehouse

DATES = [dt.date(2026, 11, day) for day in range(1, 5)]
COUNTS, SALES = "restricted/cashier_daily_counts", "restricted/age_restricted_sales"
CASES = "restricted/cashier_cases"
TABLES = (COUNTS, SALES, SCREENING, STORES, CASES)
PLANTED = {"asks": 0.05, "n_sales": 60}


def contents(read, warehouse, names=TABLES) -> dict[str, list[dict]]:
    return {name: read(warehouse, name) for name in names}


@pytest.fixture(scope="module")
def screened(sell, screen, three_stores):
    warehouse = sell(DATES, three_stores(**PLANTED))
    screen(warehouse, DATES)
    return warehouse


@pytest.fixture
def warehouse(screened, tmp_path):
    """A copy that a test may change."""
    return shutil.copytree(screened, tmp_path / "warehouse")


def answer(rows: pa.Table) -> pa.Table:
    decision = {"reviewer": "R. Meyer", "looks_under_25": "yes", "id_seen": "no", "delete_after": dt.date(2026, 12, 20)}
    return pa.Table.from_pylist([row | decision for row in rows.to_pylist()], schema=rows.schema)


def test_second_run_leaves_identical_rows_and_keeps_the_answers(warehouse, screen, read):
    (date,) = {case["business_date"] for case in read(warehouse, CASES)}
    Warehouse(str(warehouse)).update(CASES, date, answer)
    before = contents(read, warehouse)
    assert {case["id_seen"] for case in before[CASES]} == {"no"}
    report = read(warehouse, "analytics/run_quality")
    screen(warehouse, [DATES[2], DATES[0], DATES[3], DATES[1]])
    assert contents(read, warehouse) == before
    assert read(warehouse, "analytics/run_quality") == report


def test_backfill_and_rebuild_leave_the_rows_of_a_clean_run(
    *, warehouse, sell, screen, read, three_stores, report_windows, monkeypatch
):
    monkeypatch.setattr(build_affinity, "main", partial(report_windows, "build_affinity"))
    monkeypatch.setattr(query, "failed_checks", lambda *_: {})
    changed = three_stores(**PLANTED | {"n_sales": 50})
    clean = sell([date for date in DATES if date != DATES[1]], three_stores(**PLANTED))
    sell(DATES[1:2], changed, clean)
    screen(clean, DATES)

    sell(DATES[1:2], changed, warehouse)
    screen(warehouse, DATES[1:2])
    screening = (COUNTS, SALES, SCREENING, STORES)
    assert contents(read, warehouse, screening) != contents(read, clean, screening)
    rebuild_windows.main(rebuild_windows.Settings(warehouse=str(warehouse)))
    assert contents(read, warehouse, screening) == contents(read, clean, screening)
    # Receipts and ids of cases are drawn at random.
    drawn = [{(case["business_date"], case["store_id"]) for case in read(at, CASES)} for at in (warehouse, clean)]
    assert drawn[0] == drawn[1]
    assert len({case["batch_id"] for case in read(warehouse, CASES)}) == 1


def delete_counts(warehouse, date: dt.date) -> None:
    opened = Warehouse(str(warehouse))
    mark_deleted(opened, MARKERS[COUNTS], date)
    for name in (COUNTS, SALES):
        delete_dates(opened, name, date)


def test_window_with_deleted_counts_keeps_its_rows(sell, screen, read, three_stores):
    """The first date is deleted after the fourth was screened, so the window of the second can't be screened again."""
    flags = {"screening_days": (1, 2)}
    warehouse = None
    for date in DATES:
        warehouse = sell([date], three_stores(**PLANTED), warehouse)
        screen(warehouse, [date], **flags)
    delete_counts(warehouse, DATES[0])
    before = contents(read, warehouse)
    assert {row["business_date"] for row in before[COUNTS]} == set(DATES[1:])
    assert {row["business_date"] for row in before[SCREENING]} == set(DATES)
    screen(warehouse, [DATES[2], DATES[1]], **flags)
    assert contents(read, warehouse) == before
    screen(warehouse, DATES[:1], **flags)
    assert contents(read, warehouse) == before
    obstacles = {
        (row["business_date"], row["measure"], row["text"])
        for row in read(warehouse, "analytics/run_quality")
        if row["measure"].startswith("obstacle")
    }
    assert {(date.day, measure) for date, measure, text in obstacles if text != "none"} == {
        (1, "obstacle_1_days"),
        (1, "obstacle_2_days"),
        (2, "obstacle_2_days"),
    }
    assert {text for _, _, text in obstacles} == {"none", "counts_deleted"}


def test_expired_rows_are_gone_from_all_files_after_housekeeping(sell, screen, three_stores, file_content, read):
    """Rows in review and cases are kept for 90 days, the others for 35."""
    after_35, after_91 = (DATES[2] + dt.timedelta(days) for days in (35, 91))
    warehouse = sell(DATES[:3], three_stores(asks=0.1, n_sales=40, cashier_id="cashier-planted"))
    screen(warehouse, DATES[:3])
    rows = read(warehouse, SCREENING)
    in_review = {row["cashier_id"] for row in rows if row["status"] == "review"}
    honest = {row["cashier_id"] for row in rows} - in_review
    receipts = {sale["receipt_id"] for sale in read(warehouse, SALES)}
    cases = {case["receipt_id"] for case in read(warehouse, CASES)}
    assert len(honest) > 5
    assert cases
    content = file_content(warehouse)
    assert all(text.encode() in content for text in honest | receipts | cases)

    newer = [seller | {"cashier_id": f"newer-{number}"} for number, seller in enumerate(three_stores())]
    sell([after_35], newer, warehouse)
    screen(warehouse, [after_35])
    keep_house.clean(Warehouse(str(warehouse)), Retention(), after_35)
    content = file_content(warehouse)
    assert [text for text in honest | receipts - cases if text.encode() in content] == []
    assert [text for text in cases | in_review if text.encode() not in content] == []

    sell([after_91], newer, warehouse)
    screen(warehouse, [after_91])
    keep_house.clean(Warehouse(str(warehouse)), Retention(), after_91)
    content = file_content(warehouse)
    assert [text for text in honest | receipts | in_review if text.encode() in content] == []
    assert b"newer-1" in content
