import datetime as dt
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import duckdb
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from pyarrow import fs

from jobs.tables import night as night_module
from jobs.tables.landing import Place
from jobs.tables.night import NEEDS, DateSettings, LandingSettings, Night
from jobs.tables.schemas import LANDING
from model.cli import InputError

DATE = dt.date(2026, 11, 9)
COUNTS = "restricted/daily_counts"


@pytest.fixture
def open_night(tmp_path):
    """Return a function that opens a Night on a landing zone with three receipts, one of them without a till."""
    folder = tmp_path / "landing" / "receipts" / f"business_date={DATE}"
    folder.mkdir(parents=True)
    at = dt.datetime(2026, 11, 9, 9, tzinfo=dt.UTC)
    common = {"store_id": "s1", "till_type": "staffed", "opened_at": at, "closed_at": at + dt.timedelta(seconds=60)}
    tills = {"r1": "t1", "r2": "t1", "r3": None}
    receipts = [{"receipt_id": name, "till_id": till, **common} for name, till in tills.items()]
    pq.write_table(pa.Table.from_pylist(receipts, schema=LANDING["receipts"]), folder / "part-0.parquet")

    def make(job="score_photos", date=DATE, tables=("receipts",)):
        settings = LandingSettings(
            business_date=date, landing=str(tmp_path / "landing"), warehouse=str(tmp_path / "warehouse")
        )
        return Night(settings, job, landing_tables=tables)

    return make


@pytest.fixture
def report(tmp_path):
    """Return a function that reads the report of a job: {(source table, measure): value or text}."""

    def read(job="score_photos"):
        table = DeltaTable(tmp_path / "warehouse" / "analytics" / "run_quality")
        lines = [line for line in table.to_pyarrow_table().to_pylist() if line["job"] == job]
        return {
            (line["source_table"], line["measure"]): line["value"] if line["text"] is None else line["text"]
            for line in lines
        }

    return read


def test_the_report_has_all_measures(open_night, report):
    with open_night() as night:
        night.screen("receipts", business_date=night.date)
        counts = night.set_aside("receipts")
        night.measure(share=0.5, version="v1", unknown=None)
    assert report() == {("receipts", name): value for name, value in counts.items()} | {
        ("", "share"): 0.5,
        ("", "version"): "v1",
        ("", "unknown"): None,
    }


def test_the_report_is_absent_from_the_first_write_until_the_job_ends(open_night, rows, report):
    with open_night() as night:
        night.measure(run="first")
        night.replace(COUNTS, rows(COUNTS, {}, for_writing=True))
    with open_night() as night:
        night.measure(run="second")
        assert report() == {("", "run"): "first"}
        night.replace(COUNTS, rows(COUNTS, {}, for_writing=True))
        assert report() == {}
    assert report() == {("", "run"): "second"}


def test_a_failed_job_leaves_no_report_and_the_next_job_fails(open_night, rows, report):
    def fail():
        with open_night() as night:
            night.measure(run="first")
            night.replace(COUNTS, rows(COUNTS, {}, for_writing=True))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert report() == {}
    with pytest.raises(InputError, match="score_photos has not finished 2026-11-09"), open_night("match_receipts"):
        pass


@pytest.fixture
def finish(open_night):
    """Return a function that runs jobs which only write a report."""

    def run(*jobs):
        for job in jobs:
            with open_night(job) as night:
                night.measure(run="first")

    return run


@pytest.mark.parametrize(
    ("job", "needed", "finished"),
    [
        ("match_receipts", "score_photos", []),
        ("count_purchases", "match_receipts", ["score_photos"]),
        ("build_affinity", "count_purchases", ["score_photos", "match_receipts"]),
        ("screen_cashiers", "count_purchases", ["score_photos", "match_receipts"]),
        ("watch_ages", "count_purchases", ["score_photos", "match_receipts"]),
    ],
)
def test_a_job_requires_the_reports_of_the_jobs_that_it_needs(open_night, finish, job, needed, finished):
    finish(*finished)
    with pytest.raises(InputError, match=f"{needed} has not finished 2026-11-09"), open_night(job):
        pass
    finish(needed, job)


@pytest.mark.parametrize(
    ("job", "removed"),
    [
        ("score_photos", set(NEEDS)),
        ("match_receipts", {"match_receipts", "count_purchases", "build_affinity", "screen_cashiers", "watch_ages"}),
        ("count_purchases", {"count_purchases", "build_affinity", "screen_cashiers", "watch_ages"}),
        ("build_affinity", {"build_affinity"}),
        ("screen_cashiers", {"screen_cashiers"}),
        ("watch_ages", {"watch_ages"}),
    ],
)
def test_the_first_write_removes_the_reports_of_the_job_and_its_dependants(open_night, report, finish, job, removed):
    finish(*NEEDS)
    with open_night(job) as night:
        night.clear(COUNTS)
        assert {name for name in NEEDS if not report(name)} == removed
        night.measure(run="second")
    assert {name: report(name) for name in NEEDS} == {
        name: {("", "run"): "second"} if name == job else {} if name in removed else {("", "run"): "first"}
        for name in NEEDS
    }


def test_each_job_is_listed_after_the_jobs_that_it_needs():
    jobs = list(NEEDS)
    assert all(jobs.index(needed) < jobs.index(job) for job in jobs for needed in NEEDS[job])


def test_a_job_without_a_landing_zone_opens_none(finish, report, tmp_path):
    finish("score_photos", "match_receipts", "count_purchases")
    settings = DateSettings(business_date=DATE, warehouse=str(tmp_path / "warehouse"))
    with Night(settings, "build_affinity") as night:
        night.measure(run="second")
        with pytest.raises(ValueError, match="build_affinity has no landing zone"):
            _ = night.place
    assert report("build_affinity") == {("", "run"): "second"}


def test_a_warehouse_of_another_version_is_an_error_before_anything_is_written(open_night, tmp_path):
    table = tmp_path / "warehouse" / COUNTS
    DeltaTable.create(table, schema=pa.schema({"business_date": pa.date32(), "age_band": pa.string()}))
    with pytest.raises(InputError, match="restricted/daily_counts: column age_year is missing"), open_night():
        pass
    assert list((tmp_path / "warehouse").iterdir()) == [table.parent]


def test_input_is_checked_before_anything_is_written(open_night, tmp_path):
    with (
        pytest.raises(InputError, match="products of 2026-11-09 is missing"),
        open_night(tables=("receipts", "products")),
    ):
        pass
    assert not (tmp_path / "warehouse").exists()


def test_statements_see_the_restricted_tables_and_no_python_variable(open_night):
    with open_night() as night:
        night.clear(COUNTS)
    with open_night() as night:
        secret = pa.table({"x": [1]})
        assert night.connection.sql("SELECT COUNT(*) FROM restricted.daily_counts").fetchall() == [(0,)]
        with pytest.raises(duckdb.CatalogException, match="Table with name secret does not exist"):
            night.connection.sql("SELECT * FROM secret")
        assert len(secret) == 1


def test_a_stream_that_fails_half_way_leaves_the_old_rows_and_no_report(open_night, report, tmp_path):
    """The Delta writer pulls the batches in a thread of its own; the second one does not fit its column."""
    figures = "SELECT i AS age_year, 'all' AS level, '' AS item, {} AS n_receipts, 1.0 AS quantity, 1.0 AS amount"

    def replace(n_rows, n_receipts):
        with open_night("match_receipts") as night:
            night.measure(run="first")
            night.connection.sql(f"{figures.format(n_receipts)} FROM range({n_rows}) AS t(i)").create("counts")
            night.replace_by(COUNTS, "counts")

    with open_night() as night:
        night.measure(run="first")
    replace(3, 1)
    table = tmp_path / "warehouse" / COUNTS
    assert DeltaTable(table).count() == 3
    with pytest.raises(DeltaError, match="Integer value out of bounds"):
        replace(200_000, "(i + IF(i < 150000, 0, 9223372036854775807)::HUGEINT)")
    assert DeltaTable(table).count() == 3
    assert report("match_receipts") == {}


@pytest.fixture
def scratch(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))  # of other processes
    return folder


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_the_scratch_folder_is_closed_to_others_and_gone_at_the_end(open_night, scratch, umask):
    def fail():
        with open_night() as night:
            night.screen("receipts", business_date=night.date)
            modes.extend(folder.stat().st_mode & 0o777 for folder in scratch.iterdir())
            raise ZeroDivisionError

    modes = []
    before = os.umask(umask)
    try:
        with pytest.raises(ZeroDivisionError):
            fail()
    finally:
        os.umask(before)
    assert modes == [0o700]
    assert list(scratch.iterdir()) == []


SPILL = """
import datetime as dt, sys
from jobs.tables.night import LandingSettings, Night
settings = LandingSettings(business_date=dt.date(2026, 11, 9), landing=sys.argv[1], warehouse=sys.argv[2])
with Night(settings, "score_photos", landing_tables=["receipts"]) as night:
    different = "SELECT DISTINCT i, i::VARCHAR || 'xxxxxxxxxxxxxxxx' FROM range(90000000) AS t(i)"
    night.connection.execute(f"SELECT COUNT(*) FROM ({different})")
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_job_leaves_no_scratch_folder(open_night, scratch, tmp_path, wait_until, monkeypatch, number):  # noqa: PLR0917
    assert open_night  # its landing zone
    monkeypatch.setenv("BREAD_SALT_DUCKDB_MEMORY", "100MB")
    job = subprocess.Popen([sys.executable, "-c", SPILL, tmp_path / "landing", tmp_path / "warehouse"])
    wait_until(lambda: list(scratch.glob("*/duckdb_temp_*.tmp")))
    assert list(scratch.glob("*/receipts-0.parquet"))
    for helper in psutil.Process(job.pid).children():
        helper.send_signal(signal.SIGTERM)  # as systemd does
    job.send_signal(number)
    assert job.wait(timeout=30) == -number
    wait_until(lambda: not list(scratch.iterdir()))


def test_a_landing_zone_of_another_filesystem_is_read(open_night, tmp_path, monkeypatch):
    files = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    monkeypatch.setattr(night_module, "open_place", lambda *_: Place("s3://chain/landing", files, "landing"))
    with open_night() as night:
        night.screen("receipts", business_date=night.date)
        assert night.connection.table("receipts").aggregate("COUNT(*)").fetchall() == [(2,)]
