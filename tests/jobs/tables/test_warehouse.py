import datetime as dt
import functools
import multiprocessing
import threading

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from jobs.tables import warehouse as module
from jobs.tables.schemas import WAREHOUSE, is_restricted
from jobs.tables.warehouse import Warehouse
from model.cli import InputError, TryAgainError

NAME = "restricted/daily_counts"
DATE, NEXT = dt.date(2026, 11, 9), dt.date(2026, 11, 10)


@pytest.fixture
def warehouse(tmp_path):
    opened = Warehouse(str(tmp_path))
    opened.create_tables()
    return opened


@pytest.fixture
def rows(rows):
    return functools.partial(rows, for_writing=True)


@pytest.fixture
def items(warehouse):
    def read(first=DATE, last=None):
        found = warehouse.rows(NAME, first=first, last=last or first).to_pylist()
        return sorted((row["business_date"].day, row["item"]) for row in found)

    return read


def test_replacing_a_date_keeps_the_other_dates(rows, warehouse, items):
    assert items() == []
    warehouse.replace(NAME, rows(NAME, {"item": "a"}, {"item": "b"}), DATE)
    warehouse.replace(NAME, rows(NAME, {"item": "c"}), NEXT)
    warehouse.replace(NAME, rows(NAME, {"item": "d"}), DATE)
    assert items(DATE, NEXT) == [(9, "d"), (10, "c")]
    assert items(NEXT) == [(10, "c")]


def test_replacing_a_date_with_no_rows_clears_it(rows, warehouse, items):
    warehouse.replace(NAME, rows(NAME, {}), DATE)
    warehouse.replace(NAME, rows(NAME), DATE)
    assert items() == []


def test_replacing_a_part_of_a_date_keeps_the_other_parts(rows, warehouse):
    def quarantine(table: str, *keys: str) -> None:
        frame = rows("restricted/quarantine", *({"key": key} for key in keys))
        warehouse.replace("restricted/quarantine", frame, DATE, source_table=table)

    quarantine("receipts", "r1", "r2")
    quarantine("products", "p1")
    quarantine("receipts", "r3")
    left = warehouse.rows("restricted/quarantine").to_pylist()
    assert {(row["source_table"], row["key"]) for row in left} == {("receipts", "r3"), ("products", "p1")}


def test_wrong_types_are_rejected_and_not_cast(rows, warehouse, items):
    counts = rows(NAME, {})
    text = counts.set_column(3, "n_receipts", counts["n_receipts"].cast("string"))
    for given in (text, text.to_reader()):
        with pytest.raises(ValueError, match=r"n_receipts', 'string'.*wanted.*n_receipts', 'int64'"):
            warehouse.replace(NAME, given, DATE)
    arrow = pa.table({"key": [1], "reason": ["bad"], "detail": ["x"]})
    with pytest.raises(ValueError, match=r"key', 'int64'.*wanted.*key', 'string'"):
        warehouse.replace("restricted/quarantine", arrow, DATE, source_table="receipts")
    with pytest.raises(ValueError, match="is replaced by"):
        warehouse.replace(NAME, rows(NAME, {}), DATE, source_table="receipts")
    assert items() == []


def test_one_of_two_simultaneous_writers_fails_and_the_other_is_complete(rows, warehouse, items, monkeypatch):
    barrier = threading.Barrier(2)
    write = module.write_deltalake

    def write_together(uri, *args, **kwargs):
        table = DeltaTable(uri)  # both writers start from this version
        barrier.wait(timeout=60)
        return write(table, *args, **kwargs)

    warehouse.replace(NAME, rows(NAME, {"item": "before"}), DATE)
    monkeypatch.setattr(module, "write_deltalake", write_together)
    frames = {writer: rows(NAME, *({"item": f"{writer}{i}"} for i in range(1000))) for writer in "xy"}
    errors = {}

    def replace(writer: str) -> None:
        try:
            warehouse.replace(NAME, frames[writer], DATE)
        except TryAgainError as error:
            errors[writer] = str(error)

    threads = [threading.Thread(target=replace, args=(writer,)) for writer in frames]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    left = items()
    winners = {item[0] for _, item in left}
    assert len(left) == 1000
    assert len(winners) == len(errors) == 1
    assert winners | set(errors) == {"x", "y"}
    assert "another writer replaced it at the same time" in "".join(errors.values())


def load(root: str, barrier, n_rounds: int, outcomes) -> None:
    """Create the tables and replace one date, in a new warehouse each round."""
    rows = pa.table({"key": [f"k{i}" for i in range(100)], "reason": ["bad"] * 100, "detail": ["x"] * 100})
    for number in range(n_rounds):
        warehouse = Warehouse(f"{root}/{number}")
        barrier.wait(timeout=60)
        warehouse.create_tables()
        try:
            warehouse.replace("restricted/quarantine", rows, DATE, source_table="receipts")
        except TryAgainError:
            outcomes.put("failed")
        else:
            outcomes.put("written")


def test_two_processes_that_create_a_table_do_not_double_its_rows(tmp_path):
    n_rounds = 12
    context = multiprocessing.get_context("spawn")
    barrier, outcomes = context.Barrier(2), context.Queue()
    arguments = (str(tmp_path), barrier, n_rounds, outcomes)
    writers = [context.Process(target=load, args=arguments) for _ in range(2)]
    for writer in writers:
        writer.start()
    results = [outcomes.get(timeout=120) for _ in range(2 * n_rounds)]
    for writer in writers:
        writer.join()
    assert results.count("written") >= n_rounds
    n_rows = [DeltaTable(tmp_path / str(number) / "restricted/quarantine").count() for number in range(n_rounds)]
    assert n_rows == [100] * n_rounds


def test_restricted_tables_have_no_statistics_in_log_and_footers(rows, warehouse, tmp_path):
    for name in (NAME, "analytics/age_bands"):
        warehouse.replace(name, rows(name, {}), DATE)
        (file,) = (tmp_path / name).rglob("*.parquet")
        log = max((tmp_path / name / "_delta_log").glob("*.json")).read_text()
        has_statistics = pa.parquet.read_metadata(file).row_group(0).column(0).statistics is not None
        assert ('"minValues\\":{}' in log, has_statistics) == ((True, False) if is_restricted(name) else (False, True))


def test_all_tables_are_created_empty_and_only_once(warehouse, tmp_path):
    warehouse.create_tables()
    tables = [DeltaTable(tmp_path / name) for name in WAREHOUSE]
    assert {(table.version(), table.count()) for table in tables} == {(0, 0)}


def test_a_stream_is_written_batch_by_batch(rows, warehouse, items):
    batch = rows(NAME, {"item": "a"}).to_batches()[0]
    stream = pa.RecordBatchReader.from_batches(batch.schema, iter([batch, batch.slice(0, 0), batch]))
    warehouse.replace(NAME, stream, DATE)
    assert items() == [(9, "a"), (9, "a")]
    warehouse.replace(NAME, pa.RecordBatchReader.from_batches(batch.schema, iter([])), DATE)
    assert items() == []


def test_an_unwritable_warehouse_is_an_error_and_the_check_leaves_no_file(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="file/warehouse can't be written to"):
        Warehouse(str(tmp_path / "file" / "warehouse")).check_writable()
    Warehouse(str(tmp_path / "new")).check_writable()
    assert list((tmp_path / "new").iterdir()) == []


def test_a_part_of_a_date_has_rows_after_it_was_written(warehouse):
    line = pa.table({"source_table": [""], "measure": ["rows_in"], "value": [1.0], "text": pa.nulls(1, pa.string())})
    assert not warehouse.has_rows("analytics/run_quality", DATE, job="score_photos")
    warehouse.replace("analytics/run_quality", line, DATE, job="score_photos")
    assert warehouse.has_rows("analytics/run_quality", DATE, job="score_photos")
    assert not warehouse.has_rows("analytics/run_quality", DATE, job="match_receipts")
    assert not warehouse.has_rows("analytics/run_quality", NEXT, job="score_photos")


CASES = "restricted/cashier_cases"


def cases(*case_ids: str) -> pa.Table:
    return pa.Table.from_pylist([{"case_id": case_id} for case_id in case_ids], schema=WAREHOUSE[CASES].row_schema)


def case_ids(warehouse, **dates) -> list[str]:
    return sorted(warehouse.rows(CASES, "case_id", **dates)["case_id"].to_pylist())


def test_an_update_changes_the_rows_of_its_date_only(warehouse):
    warehouse.replace(CASES, cases("k1", "k2"), DATE)
    warehouse.replace(CASES, cases("k3"), NEXT)
    warehouse.update(CASES, DATE, lambda rows: rows.slice(1))
    assert case_ids(warehouse) == ["k2", "k3"]
    assert case_ids(warehouse, first=NEXT, last=NEXT) == ["k3"]
    warehouse.update(CASES, NEXT, lambda rows: rows.slice(1))
    assert case_ids(warehouse) == ["k2"]
    assert warehouse.rows(CASES, last=DATE).schema == WAREHOUSE[CASES].schema


def test_an_update_fails_if_another_writer_changed_the_date_since(warehouse):
    def change(rows):
        warehouse.replace(CASES, cases("k1", "written meanwhile"), DATE)
        return rows

    warehouse.replace(CASES, cases("k1"), DATE)
    with pytest.raises(TryAgainError, match="another writer replaced it at the same time"):
        warehouse.update(CASES, DATE, change)
    assert case_ids(warehouse) == ["k1", "written meanwhile"]


def test_the_newest_date_is_that_of_the_reports(warehouse, tmp_path):
    assert warehouse.newest_date() is None
    assert Warehouse(str(tmp_path / "new")).newest_date() is None
    line = pa.Table.from_pylist([{"measure": "rows"}], schema=WAREHOUSE["analytics/run_quality"].row_schema)
    for date in (NEXT, DATE):
        warehouse.replace("analytics/run_quality", line, date, job="score_photos")
    assert warehouse.newest_date() == NEXT
