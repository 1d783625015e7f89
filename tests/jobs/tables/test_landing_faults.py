"""Faults of the files of the landing zone, and of what a job needs while it reads them, each as one readable line."""

import datetime as dt
import re
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

import sql
from jobs.tables import night as night_module
from jobs.tables.landing import Place
from jobs.tables.night import LandingSettings, Night
from jobs.tables.schemas import LANDING, WAREHOUSE
from jobs.tables.warehouse import Warehouse
from model.cli import InputError, TryAgainError

DATE = dt.date(2026, 11, 9)
COUNTS = "restricted/daily_counts"


@pytest.fixture
def landing(tmp_path) -> Path:
    """Write receipts of the date and return their file."""
    file = tmp_path / "landing" / "receipts" / f"business_date={DATE}" / "part-0.parquet"
    file.parent.mkdir(parents=True)
    receipts = [{"receipt_id": f"r{number}", "store_id": "s1"} for number in range(2000)]
    pq.write_table(pa.Table.from_pylist(receipts, schema=LANDING["receipts"]), file)
    return file


def screen_receipts(tmp_path, date=DATE, before=lambda _: None) -> None:
    settings = LandingSettings(
        business_date=date, landing=str(tmp_path / "landing"), warehouse=str(tmp_path / "warehouse")
    )
    with Night(settings, "score_photos", landing_tables=["receipts"]) as night:
        before(night.connection)
        night.screen("receipts", business_date=night.date)
        night.replace(COUNTS, WAREHOUSE[COUNTS].row_schema.empty_table())


def fails_before_it_writes(tmp_path, **options) -> str:
    """Return the error of `screen_receipts`, which is one line."""
    with pytest.raises((InputError, TryAgainError)) as error:
        screen_receipts(tmp_path, **options)
    assert list((tmp_path / "warehouse").iterdir()) == []
    assert "\n" not in str(error.value)
    return f"{type(error.value).__name__}: {error.value}"


def test_a_damaged_page_of_the_landing_zone_stops_the_job_before_it_writes(landing, tmp_path, flip):
    flip(landing, 30, 3000)
    text = fails_before_it_writes(tmp_path)
    assert text.startswith(f"InputError: receipts: {landing} is damaged: ")
    assert text.endswith("; deliver the file again")


def test_a_file_of_the_landing_zone_that_vanishes_means_retry(landing, tmp_path):
    text = fails_before_it_writes(tmp_path, before=lambda _: landing.unlink())
    assert text == f"TryAgainError: receipts: {landing} was removed while it was read; run again"


def test_a_file_of_a_remote_landing_zone_that_vanishes_means_retry(landing, tmp_path, monkeypatch):
    files = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    place = Place("s3://chain/landing", files, "landing")
    monkeypatch.setattr(night_module, "open_place", lambda *_: place)
    copy = night_module.local_files

    def vanish(*arguments):
        landing.unlink()
        return copy(*arguments)

    monkeypatch.setattr(night_module, "local_files", vanish)
    text = fails_before_it_writes(tmp_path)
    assert re.fullmatch("TryAgainError: receipts: landing/receipts/.*0.parquet was removed while .*; run again", text)


def test_an_error_of_a_statement_reads_no_file_of_the_landing_zone(landing, tmp_path, flip):
    def fail(connection):
        flip(landing, 30, 3000)
        connection.sql("SELECT receipt FROM landing.receipts")

    with pytest.raises(duckdb.BinderException, match='"receipt" not found'):
        screen_receipts(tmp_path, before=fail)


def test_a_text_that_is_not_utf8_in_a_damaged_file_is_a_damage(landing, tmp_path, flip):
    """The file is read again by Arrow, which finds the other damage."""
    bad = pa.array([b"\xff"] * 2000).cast(pa.binary())
    rows = pq.ParquetFile(landing).read()
    rows = rows.set_column(0, "receipt_id", pa.StringArray.from_buffers(2000, *bad.buffers()[1:]))
    pq.write_table(rows, landing.with_name("part-1.parquet"), use_dictionary=False)
    flip(landing, 30, 3000)
    assert f"{landing} is damaged: " in fails_before_it_writes(tmp_path)


@pytest.mark.usefixtures("landing")
def test_too_little_memory_is_one_line_that_says_which_setting_to_raise(tmp_path, monkeypatch):
    monkeypatch.setenv("BREAD_SALT_DUCKDB_MEMORY", "")
    text = fails_before_it_writes(tmp_path, before=lambda connection: connection.execute("SET memory_limit = '1MB'"))
    assert text.endswith("; raise BREAD_SALT_DUCKDB_MEMORY (now the default), for example to 8GB")
    monkeypatch.setenv("BREAD_SALT_DUCKDB_MEMORY", "1MB")
    text = fails_before_it_writes(tmp_path)
    setting = r"raise BREAD_SALT_DUCKDB_MEMORY \(now 1MB\), for example to 8GB"
    assert re.fullmatch(rf"InputError: not enough memory: Out of Memory Error: .*; {setting}", text)
    monkeypatch.setenv("BREAD_SALT_DUCKDB_MEMORY", "much")
    text = fails_before_it_writes(tmp_path)
    assert text == "InputError: BREAD_SALT_DUCKDB_MEMORY is 'much'; it must be a size such as 8GB"


@pytest.mark.usefixtures("landing")
def test_a_full_disk_of_temporary_files_is_one_line(tmp_path):
    """The limit of DuckDB is by default what was free on the disk; a full one of 8 MB gave the same error."""

    def fill(connection):
        connection.execute("SET max_temp_directory_size = '1MB'")
        connection.execute("SET memory_limit = '20MB'")
        connection.execute("CREATE TABLE t AS SELECT i, HASH(i)::VARCHAR AS text FROM range(2000000) AS t(i)")

    text = fails_before_it_writes(tmp_path, before=fill)
    assert re.fullmatch(
        r"InputError: a disk is full: .*/warehouse and .*\(temporary files, TMPDIR\) are, then run again", text
    )


def test_a_date_whose_windows_overflow_is_refused(landing, tmp_path):
    with pytest.raises(InputError, match="--business-date 9999-12-31 is not between"):
        screen_receipts(tmp_path, dt.date.max)
    assert landing.exists()


@pytest.mark.usefixtures("landing")
def test_a_damaged_table_that_its_job_reads_first_is_not_repaired_by_a_run(tmp_path, flip):
    warehouse = Warehouse(str(tmp_path / "warehouse"))
    warehouse.create_tables()
    name = "restricted/photo_ages"
    photos = [{"photo_id": f"p{n}", "model_version": "v1", "status": "scored"} for n in range(3000)]
    warehouse.replace(name, pa.Table.from_pylist(photos, schema=WAREHOUSE[name].row_schema), DATE)
    file = next((tmp_path / "warehouse" / name).rglob("*.parquet"))
    flip(file, 30, 9000)

    def find_photos(connection):
        connection.execute("CREATE TABLE photo_events AS SELECT 'p1' AS photo_id, 'a.jpg' AS path")
        connection.execute(sql.load("nightly/photos_to_score"), {"business_date": DATE, "model_version": "v1"})

    with pytest.raises(InputError) as error:
        screen_receipts(tmp_path, before=find_photos)
    assert str(error.value).startswith(f"{name}: {file} is damaged: ")
    assert "; restore the file from a backup, or remove the folder of the table" in str(error.value)
