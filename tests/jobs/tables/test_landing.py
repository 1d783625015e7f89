import datetime as dt
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.tables.landing import check_business_date, landing_files, open_place, open_warehouse
from jobs.tables.schemas import LANDING
from model.cli import InputError

DATE = dt.date(2026, 11, 9)
EMPTY = LANDING["receipt_lines"].empty_table()


@pytest.fixture
def land(tmp_path):
    def write(table: pa.Table, name: str = "part-0.parquet") -> str:
        folder = tmp_path / "receipt_lines" / f"business_date={DATE}"
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, folder / name)
        return str(tmp_path)

    return write


def test_files_that_are_still_being_written_are_not_listed(land):
    land(EMPTY, "_part-9.parquet")
    land(EMPTY, ".part-9.parquet")
    root = land(EMPTY)
    assert landing_files(open_place(root), "receipt_lines", DATE) == [
        f"{root}/receipt_lines/business_date={DATE}/part-0.parquet"
    ]


def test_other_string_types_and_extra_columns_are_accepted(land):
    large = EMPTY.set_column(0, "receipt_id", pa.array([], pa.large_string()))
    coded = large.set_column(2, "product_id", pa.array([], pa.dictionary(pa.int32(), pa.string())))
    assert (
        len(
            landing_files(
                open_place(land(coded.append_column("extra", pa.array([], pa.int8())))), "receipt_lines", DATE
            )
        )
        == 1
    )


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (EMPTY.drop_columns(["amount"]), r"receipt_lines of 2026-11-09 lacks column amount \(double\)"),
        (EMPTY.set_column(1, "line_no", pa.array([], pa.int64())), "column line_no is int64 in .*; wanted int32"),
        (EMPTY.set_column(3, "quantity", pa.array([], pa.string())), "column quantity is string in .*; wanted double"),
    ],
)
def test_the_error_names_the_file_that_breaks_the_contract(land, table, message):
    land(EMPTY)
    with pytest.raises(InputError, match=message) as error:
        landing_files(open_place(land(table, "part-1.parquet")), "receipt_lines", DATE)
    assert "part-1.parquet" in str(error.value)


def test_a_timestamp_without_a_zone_is_rejected(tmp_path):
    events = LANDING["photo_events"].empty_table().set_column(3, "captured_at", pa.array([], pa.timestamp("us")))
    folder = tmp_path / "photo_events" / f"business_date={DATE}"
    folder.mkdir(parents=True)
    pq.write_table(events, folder / "a.parquet")
    with pytest.raises(InputError, match=r"captured_at is timestamp\[us\] in .*; wanted timestamp\[us, tz=UTC\]"):
        landing_files(open_place(str(tmp_path)), "photo_events", DATE)


def test_a_missing_date_and_a_file_that_is_not_parquet_are_errors(land, tmp_path):
    with pytest.raises(InputError, match=r"--landing .*/lamding: the folder does not exist"):
        landing_files(open_place(str(tmp_path / "lamding")), "receipt_lines", DATE)
    with pytest.raises(InputError, match="receipt_lines of 2026-11-09 is missing"):
        landing_files(open_place(str(tmp_path)), "receipt_lines", DATE)
    root = land(EMPTY)
    (tmp_path / "receipt_lines" / f"business_date={DATE}" / "bad.parquet").write_text("<html>")
    with pytest.raises(InputError, match=r"bad.parquet is not a Parquet file"):
        landing_files(open_place(root), "receipt_lines", DATE)


def test_unsupported_uris_are_rejected_and_relative_paths_are_resolved(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="'ftp://a/b' can't be opened"):
        open_place("ftp://a/b")
    monkeypatch.chdir(tmp_path)
    assert open_place("landing").path == f"{tmp_path}/landing"
    assert open_place(f"file://{tmp_path}/a%20b").path == f"{tmp_path}/a b"


FOLDER = f"receipt_lines/business_date={DATE}"


def files_of(root):
    return landing_files(open_place(str(root)), "receipt_lines", DATE)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda folder: (folder / "store=2").mkdir(),
            r"contains 'store=2' \(folder\); only files that end in .parquet",
        ),
        (lambda folder: (folder / "d.parquet").mkdir(), r"'d.parquet' \(folder\)"),
        (lambda folder: (folder / "x.parquet.snappy").touch(), r"'x.parquet.snappy' \(file\)"),
        (lambda folder: (folder / "a.parquet").symlink_to(folder / "no"), r"'a.parquet' \(link to a missing file\)"),
        (lambda folder: os.mkfifo(folder / "pipe.parquet"), r"'pipe.parquet' \(no regular file\)"),
        (lambda folder: [(folder / f"{n}.csv").touch() for n in range(7)], r"'4.csv' \(file\) and 2 more; only"),
        (lambda folder: (folder / "a.parquet.tmp").touch(), "is not complete: .* has a.parquet.tmp"),
        (lambda folder: (folder / os.fsdecode(b"a\xff.parquet")).touch(), r"not UTF-8: b'a\\xff.parquet'"),
    ],
    ids=["subfolder", "folder", "ending", "dangling link", "pipe", "many", "unfinished", "no UTF-8"],
)
def test_an_entry_that_no_job_reads_is_named_in_an_error(land, tmp_path, make, message):
    land(EMPTY)
    make(tmp_path / FOLDER)
    with pytest.raises(InputError, match=message):
        files_of(tmp_path)


@pytest.mark.parametrize("second", ["product_id", "PRODUCT_ID"])
def test_a_column_that_occurs_twice_is_an_error(land, tmp_path, second):
    columns = [*EMPTY.columns, pa.array([], pa.string())]
    land(pa.table(columns, names=[*EMPTY.column_names, second]))
    with pytest.raises(InputError, match=f"column product_id occurs 2 times in .*part-0.parquet: product_id, {second}"):
        files_of(tmp_path)


def test_a_damaged_footer_is_an_error_that_names_the_file(land, tmp_path):
    land(EMPTY)
    file = tmp_path / FOLDER / "part-0.parquet"
    content = bytearray(file.read_bytes())
    content[-80:-20] = bytes(255 - byte for byte in content[-80:-20])
    file.write_bytes(content)
    with pytest.raises(
        InputError, match=r"receipt_lines of 2026-11-09: .*part-0.parquet is not a Parquet file: .*thrift"
    ):
        files_of(tmp_path)


def test_any_damage_of_a_footer_is_an_error_that_names_the_file(land, tmp_path):
    """Arrow raises ArrowInvalid, OSError or UnicodeDecodeError."""
    land(EMPTY)
    file = tmp_path / FOLDER / "part-0.parquet"
    content = file.read_bytes()
    rng = np.random.default_rng(0)
    errors = []
    for _ in range(300):
        damaged = bytearray(content)
        for place in rng.integers(4, len(content) - 8, size=rng.choice([1, 3, 20])):
            damaged[place] = rng.integers(256)
        file.write_bytes(damaged)
        try:
            files_of(tmp_path)
        except InputError as error:
            errors.append(str(error))
    assert len(errors) > 100
    assert all("part-0.parquet" in error for error in errors)


def test_a_file_or_a_broken_link_in_the_place_of_a_folder_is_an_error(tmp_path):
    (tmp_path / "receipt_lines").mkdir()
    (tmp_path / FOLDER).touch()
    with pytest.raises(InputError, match=f"{FOLDER} is a file; it must be a folder"):
        files_of(tmp_path)
    (tmp_path / FOLDER).unlink()
    (tmp_path / FOLDER).symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match=f"{FOLDER} is a link to a missing folder"):
        files_of(tmp_path)
    (tmp_path / FOLDER).unlink()
    (tmp_path / "receipt_lines").rmdir()
    (tmp_path / "receipt_lines").touch()
    with pytest.raises(InputError, match="receipt_lines is a file; it must be a folder"):
        files_of(tmp_path)


@pytest.mark.parametrize("wrong", ["", " ", "a\0b", "a\udcffb"])
def test_a_text_that_is_no_path_is_refused(wrong):
    with pytest.raises(InputError, match=r"--landing '.*' is empty or not a path"):
        open_place(wrong, "--landing")


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_place("~/landing").path == f"{tmp_path}/landing"
    with pytest.raises(InputError, match="'~nobody-of-this-name/x' can't be opened"):
        open_place("~nobody-of-this-name/x")


def test_hdfs_without_its_libraries_is_an_error_that_says_what_to_set(monkeypatch):
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    with pytest.raises(InputError, match=r"'hdfs://host:8020/x' can't be opened: .*lib.*; set JAVA_HOME, HADOOP_HOME"):
        open_place("hdfs://host:8020/x")


@pytest.mark.parametrize("date", [dt.date.min, dt.date(1999, 12, 31), dt.date(2100, 1, 2), dt.date.max])
def test_a_date_of_another_century_is_refused(date):
    with pytest.raises(InputError, match=f"--business-date {date} is not between 2000-01-01 and 2100-01-01"):
        check_business_date(date)


@pytest.mark.parametrize("part", ["w[1", "w]", "w|x", "w^", "w\\x", "w%41", "w\nx", "w\x7f"])
def test_a_warehouse_that_delta_tables_do_not_support_is_refused(tmp_path, part):
    with pytest.raises(InputError, match=r"^--warehouse '.*' contains "):
        open_warehouse(f"{tmp_path}/{part}")
