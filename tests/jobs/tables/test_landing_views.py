"""The landing tables as DuckDB sees them."""

import datetime as dt
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.tables.landing import landing_files, open_place
from jobs.tables.landing_views import create_landing_views, local_files, repaired_files
from jobs.tables.schemas import LANDING

DATE = dt.date(2026, 11, 9)
FOLDER = f"receipt_lines/business_date={DATE}"
LINE = {"receipt_id": "r1", "line_no": 1, "product_id": "p1", "quantity": 1.0, "amount": 2.0}

HOSTILE = [
    "part-0.parquet", "part-1.PARQUET", "a[1].parquet", "*.parquet", "b{x,y}.parquet", "q?.parquet", "p%20q.parquet",
    "p q.parquet", "back\\slash.parquet", "a\\[b.parquet", "h#h.parquet", "\u00fc\u0301.parquet", "nl\nx.parquet",
    "%.parquet", "tab\tx.parquet", '|^`"<>.parquet', "[^a]+.parquet", " x .parquet", "12:30.parquet", "a%41.parquet",
    "quote's.parquet", "$x.parquet", "~.parquet", "s3:a.parquet",
]  # fmt: skip


@pytest.fixture
def scratch(tmp_path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


def read(files, scratch=None, columns="*") -> list[tuple]:
    """Return the rows of `landing.receipt_lines`."""
    with duckdb.connect() as connection:
        create_landing_views(connection, {"receipt_lines": files})
        if scratch:
            create_landing_views(connection, repaired_files({"receipt_lines": files}, scratch))
        rows = connection.sql(f"SELECT {columns} FROM landing.receipt_lines")  # noqa: S608
        assert columns != "*" or rows.columns == list(LINE)
        return sorted(rows.fetchall())


@pytest.mark.parametrize("root", ["plain", "l[1] {a,b}%20#\\u\u00fc\n*?", "env=1/store_id=9", "12:30", "http:/x"])
def test_every_file_is_read_once_whatever_its_name_and_folder(tmp_path, scratch, root):
    """DuckDB takes paths for patterns."""
    folder = tmp_path / root / FOLDER
    folder.mkdir(parents=True)
    for name in HOSTILE:
        pq.write_table(pa.Table.from_pylist([{"receipt_id": name}], schema=LANDING["receipt_lines"]), folder / name)
    place = open_place(str(tmp_path / root))
    files = local_files(place, {"receipt_lines": landing_files(place, "receipt_lines", DATE)}, scratch)
    assert read(files["receipt_lines"], columns="receipt_id") == sorted((name,) for name in HOSTILE)


def test_a_scratch_folder_may_have_brackets(tmp_path):
    """As on machines of a PBS cluster: /tmp/pbs.17[3]."""
    scratch = tmp_path / "pbs.17[3]*?"
    scratch.mkdir()
    file = tmp_path / "part-0.parquet"
    pq.write_table(pa.Table.from_pylist([LINE], schema=LANDING["receipt_lines"]), file)
    files = local_files(open_place(str(tmp_path)), {"receipt_lines": [str(file)]}, scratch)
    assert read(files["receipt_lines"]) == [tuple(LINE.values())]


def test_the_columns_are_those_of_the_contract_whatever_their_order_and_case(tmp_path):
    """Also in files that differ in it."""
    first = pa.Table.from_pylist([LINE], schema=LANDING["receipt_lines"])
    names = list(LINE)[::-1]
    others = pa.table(
        {"extra": [7], **{name.upper(): first[name] for name in names}, "business_date": ["another"]},
    )
    for number, rows in enumerate((first, others)):
        pq.write_table(rows, tmp_path / f"part-{number}.parquet")
    files = [str(tmp_path / f"part-{number}.parquet") for number in range(2)]
    assert read(files) == read(files[::-1]) == [tuple(LINE.values())] * 2


def text_of(content: bytes, text: pa.DataType) -> pa.Array:
    """Return a text whatever its bytes are, as Spark writes it."""
    binary = pa.array([content, None], pa.binary() if text == pa.string() else pa.large_binary())
    return pa.Array.from_buffers(text, 2, binary.buffers())


@pytest.mark.parametrize("text", [pa.string(), pa.large_string()])
@pytest.mark.parametrize("is_coded", [True, False])
def test_a_byte_that_is_no_text_is_written_as_text_and_other_rows_stay(tmp_path, scratch, text, is_coded):
    ids = text_of(b"r\xe91", text)
    rows = pa.Table.from_pylist([LINE] * 2, schema=LANDING["receipt_lines"])
    rows = rows.set_column(0, "receipt_id", ids.dictionary_encode() if is_coded else ids)
    pq.write_table(rows, tmp_path / "part-0.parquet")
    other = pa.Table.from_pylist([LINE], schema=LANDING["receipt_lines"])
    pq.write_table(other.rename_columns([name.upper() for name in LINE]), tmp_path / "part-1.parquet")
    files = [str(tmp_path / f"part-{number}.parquet") for number in range(2)]
    with pytest.raises(duckdb.InvalidInputException, match="not valid UTF8"):
        read(files)
    found = read(files, scratch, "COALESCE(receipt_id, 'null'), line_no, product_id, quantity, amount")
    assert found == [(name, *list(LINE.values())[1:]) for name in ("null", "r1", "r\\xe91")]
