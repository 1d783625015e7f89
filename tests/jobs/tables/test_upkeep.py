"""Upkeep: old versions and leftovers are gone, files of running writers stay, nothing is open to others."""

import datetime as dt
import os
import stat
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from jobs.tables import upkeep
from jobs.tables.schemas import WAREHOUSE
from jobs.tables.upkeep import delete_dates, vacuum
from jobs.tables.warehouse import Warehouse

CASES = "restricted/cashier_cases"
DATE, NEXT = dt.date(2026, 11, 9), dt.date(2026, 11, 10)


@pytest.fixture
def warehouse(tmp_path):
    opened = Warehouse(str(tmp_path))
    opened.create_tables()
    return opened


def cases(*case_ids: str) -> pa.Table:
    return pa.Table.from_pylist([{"case_id": case_id} for case_id in case_ids], schema=WAREHOUSE[CASES].row_schema)


def case_ids(warehouse, **dates) -> list[str]:
    return sorted(warehouse.rows(CASES, "case_id", **dates)["case_id"].to_pylist())


def age(*paths: Path, hours: float = 25) -> None:
    moment = time.time() - hours * 3600
    for path in paths:
        os.utime(path, (moment, moment))


def test_a_vacuum_removes_replaced_and_deleted_files_and_keeps_the_rows(warehouse, tmp_path):
    for case_id in ("k1", "k2"):
        warehouse.replace(CASES, cases(case_id), DATE)
        warehouse.replace(CASES, cases(case_id), NEXT)
    delete_dates(warehouse, CASES, DATE)
    vacuum(warehouse, CASES)
    assert len(list((tmp_path / CASES).rglob("*.parquet"))) == 1
    assert case_ids(warehouse) == ["k2"]


def test_a_vacuum_keeps_a_file_that_is_not_committed_yet(warehouse, tmp_path):
    warehouse.replace(CASES, cases("k1"), DATE)
    (committed,) = (tmp_path / CASES).rglob("*.parquet")
    uncommitted = committed.with_name("part-00000-uncommitted.parquet")
    uncommitted.write_bytes(committed.read_bytes())
    warehouse.replace(CASES, cases("k2"), DATE)
    vacuum(warehouse, CASES)
    assert uncommitted.exists()
    assert not committed.exists()
    # A writer that was interrupted has left it.
    age(uncommitted)
    vacuum(warehouse, CASES)
    assert not uncommitted.exists()
    assert case_ids(warehouse) == ["k2"]


def test_deleting_dates_before_the_first_one_writes_nothing(warehouse, tmp_path):
    warehouse.replace(CASES, cases("k1"), NEXT)
    versions = [DeltaTable(tmp_path / CASES).version()]
    delete_dates(warehouse, CASES, DATE)
    vacuum(warehouse, CASES)
    versions.append(DeltaTable(tmp_path / CASES).version())
    assert versions[0] == versions[1]


def test_unfinished_files_of_killed_writers_are_removed_after_a_day(warehouse, tmp_path):
    """The Delta writer renames such files when they are complete; a vacuum does not see them."""
    warehouse.replace(CASES, cases("k1"), DATE)
    folder = tmp_path / CASES / f"business_date={DATE}"
    unfinished = [
        folder / "part-00000-0a1b-c000.snappy.parquet#1",
        tmp_path / CASES / "_delta_log" / "_commit_0a1b.json.tmp",
        tmp_path / ".writable",
    ]
    staged = tmp_path / "restricted" / "_staging" / "restricted.photo_ages-1796078060-0a1b" / "part-0.parquet"
    staged.parent.mkdir(parents=True)
    unfinished.append(staged)
    for path in unfinished:
        path.write_text("r-17")
    upkeep.remove_leftovers(warehouse.place)
    assert all(path.exists() for path in unfinished)  # their writers may still run
    age(*unfinished)
    assert upkeep.leftovers(warehouse.place) == sorted(map(str, unfinished))
    upkeep.remove_leftovers(warehouse.place)
    assert not any(path.exists() for path in unfinished)
    assert case_ids(warehouse) == ["k1"]


def test_files_that_are_too_young_to_be_deleted_are_listed(warehouse, tmp_path):
    """They can name a person who was erased."""
    for case_id in ("k1", "k2"):
        warehouse.replace(CASES, cases(case_id), DATE)
    folder = tmp_path / CASES / f"business_date={DATE}"
    old, *young = (
        folder / "part-1-old.parquet",
        folder / "part-1-new.parquet",
        folder / "part-2.parquet#1",
    )
    for path in (old, *young):
        path.write_text("r-17")
    age(old)
    assert upkeep.young_files(warehouse) == sorted(map(str, young))


def test_a_deleted_file_is_not_listed_again(warehouse):
    for case_id in ("k1", "k2"):
        warehouse.replace(CASES, cases(case_id), DATE)
    assert len(upkeep.dead_files(warehouse, CASES)) == 1
    vacuum(warehouse, CASES)
    assert upkeep.dead_files(warehouse, CASES) == []


def test_the_log_is_shortened_to_a_month_and_the_rows_stay(warehouse, tmp_path):
    for number in range(5):
        warehouse.replace(CASES, cases(f"k{number}"), DATE)
    log = tmp_path / CASES / "_delta_log"
    age(*log.glob("*.json"), hours=29 * 24)
    upkeep.shorten_log(warehouse, CASES)
    assert len(list(log.glob("*.json"))) == 6
    warehouse.replace(CASES, cases("k6"), DATE)
    age(*log.glob("*.json"), hours=31 * 24)
    upkeep.shorten_log(warehouse, CASES)
    assert len(list(log.glob("*.json"))) == 2  # those since the checkpoint before
    assert case_ids(warehouse) == ["k6"]


def test_small_files_of_a_date_are_merged_without_statistics(warehouse, tmp_path):
    warehouse.replace(CASES, cases("k1"), DATE)
    more = cases("k2").append_column("business_date", pa.array([DATE])).select(WAREHOUSE[CASES].schema.names)
    write_deltalake(tmp_path / CASES, more, mode="append")
    assert upkeep.stored_dates(warehouse, CASES)[DATE].n_files == 2
    upkeep.shorten_log(warehouse, CASES)
    vacuum(warehouse, CASES)
    (file,) = (tmp_path / CASES).glob("business_date=*/*.parquet")
    column = pq.read_metadata(file).row_group(0).column(0)
    assert column.statistics is None
    assert case_ids(warehouse) == ["k1", "k2"]


def test_empty_folders_of_deleted_dates_are_removed(warehouse, tmp_path):
    for date in (DATE, NEXT):
        warehouse.replace(CASES, cases("k1"), date)
    warehouse.replace(CASES, cases(), DATE)
    vacuum(warehouse, CASES)
    upkeep.remove_empty_dates(warehouse.place, CASES, NEXT)
    assert [path.name for path in (tmp_path / CASES).glob("business_date=*")] == [f"business_date={NEXT}"]


@pytest.fixture
def _open_umask():
    """A umask that closes nothing."""
    before = os.umask(0)
    yield
    os.umask(before)


def open_to_others(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.stat().st_mode & stat.S_IRWXO}


@pytest.mark.usefixtures("_open_umask")
def test_files_under_restricted_are_closed_to_others_whatever_the_umask(rows, tmp_path):
    warehouse = Warehouse(str(tmp_path))
    warehouse.check_writable()
    warehouse.create_tables()
    tables = [name for name, table in WAREHOUSE.items() if table.partition_by == ("business_date",)]
    warehouse.replace(CASES, rows(CASES, {"case_id": "k1"}, for_writing=True), DATE)
    for name in tables:
        for _ in range(2):
            warehouse.replace(name, pa.Table.from_pylist([{}], schema=WAREHOUSE[name].row_schema), DATE)
        warehouse.update(name, DATE, lambda rows: rows)
        vacuum(warehouse, name)
        upkeep.shorten_log(warehouse, name)
    delete_dates(warehouse, CASES, DATE)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 5 * len(tables)
    assert {path for path in open_to_others(tmp_path) if path.startswith("restricted")} == set()
    assert all(path.stat().st_mode & stat.S_IROTH for path in files if "analytics" in path.parts)
    assert all(path.stat().st_mode & stat.S_IRGRP for path in files)  # the umask decides about the group


def test_an_open_restricted_zone_is_closed_by_the_next_job_and_its_files_by_housekeeping(warehouse, tmp_path):
    warehouse.replace(CASES, cases("k1"), DATE)
    restricted = [tmp_path / "restricted", *(tmp_path / "restricted").rglob("*")]
    for path in restricted:
        path.chmod(path.stat().st_mode | stat.S_IROTH | (stat.S_IXOTH if path.is_dir() else 0))
    warehouse.check_writable()
    assert "restricted" not in open_to_others(tmp_path)
    assert upkeep.close_restricted(warehouse.place) == len(restricted) - 1
    assert {path for path in open_to_others(tmp_path) if path.startswith("restricted")} == set()


def test_stored_rows_are_counted_by_date(warehouse):
    warehouse.replace(CASES, cases("k1", "k2"), NEXT)
    warehouse.replace(CASES, cases("k3"), DATE)
    stored = upkeep.stored_dates(warehouse, CASES)
    assert list(stored) == [DATE, NEXT]
    assert [(counts.n_files, counts.n_rows) for counts in stored.values()] == [(1, 1), (1, 2)]
