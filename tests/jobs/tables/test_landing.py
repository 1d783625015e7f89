import datetime as dt

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.tables.landing import landing_files, open_place
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
    land(EMPTY, "notes.txt")
    root = land(EMPTY)
    assert landing_files(open_place(root), "receipt_lines", DATE) == [
        f"file://{root}/receipt_lines/business_date={DATE}/part-0.parquet"
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
    assert open_place("landing")[2:] == (f"{tmp_path}/landing", "file://")
    assert open_place(f"file://{tmp_path}")[2:] == (str(tmp_path), "file://")
