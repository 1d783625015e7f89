import datetime as dt
import json
import os
import tempfile

import duckdb
import pyarrow as pa
import pytest

from jobs.tables.answers import Answer, render
from jobs.tables.duck import connect, execute
from jobs.tables.schemas import WAREHOUSE
from jobs.tables.warehouse import Warehouse
from model.cli import InputError

DATE = dt.date(2026, 11, 9)


@pytest.fixture
def analyst() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("CREATE SCHEMA analytics")
    for name in ("run_quality", "age_category_affinity"):
        schema = WAREHOUSE[f"analytics/{name}"].schema
        connection.register(f"_{name}", pa.Table.from_pylist([{"business_date": DATE}], schema=schema))
        connection.execute(f"CREATE VIEW analytics.{name} AS FROM _{name}")
    return connection


@pytest.mark.parametrize(
    ("statement", "types"),
    [
        ("DROP VIEW analytics.run_quality", "DROP"),
        ("CREATE TABLE a AS SELECT 1", "CREATE"),
        ("DELETE FROM analytics.run_quality", "DELETE"),
        ("SELECT 1; SELECT 2", "SELECT, SELECT"),
        ("-- nothing", "none"),
    ],
)
def test_only_a_single_select_is_allowed(analyst, statement, types):
    with pytest.raises(InputError, match=f"a single SELECT.* found: {types}$"):
        execute(analyst, statement, {})


@pytest.mark.parametrize("statement", ["DESCRIBE analytics.run_quality", "FROM analytics.run_quality", "VALUES (1)"])
def test_other_read_only_statements_are_allowed(analyst, statement):
    assert execute(analyst, statement, {}).rows


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("SELCT 1", r'syntax error at or near "SELCT" \(LINE 1: SELCT 1\)$'),
        ("SELECT nope FROM analytics.run_quality", r'"nope" not found .*\(LINE 1: SELECT nope'),
        ("SELECT CAST('a' AS INTEGER)", "Could not convert string 'a'"),
    ],
)
def test_an_sql_error_is_one_line_with_the_position(analyst, statement, message):
    with pytest.raises(InputError, match=message) as error:
        execute(analyst, statement, {})
    assert "\n" not in str(error.value)


def test_parameters_are_not_executed_as_sql(analyst):
    answer = execute(analyst, "SELECT $band AS band", {"band": "x'; DROP VIEW analytics.run_quality --"})
    assert answer.rows == [("x'; DROP VIEW analytics.run_quality --",)]


@pytest.mark.parametrize("given", [{}, {"a": 1}, {"a": 1, "b": 2, "c": 3}])
def test_the_error_for_wrong_parameters_lists_the_expected_ones(analyst, given):
    with pytest.raises(InputError, match=r"takes \$a, \$b; found "):
        execute(analyst, "SELECT $a, $b", given)


def test_nulls_are_not_zeros_in_any_layout():
    answer = Answer(columns=["band", "n", "share"], rows=[("18-29", 20, 0.123456789), ("60_plus", None, None)])
    assert [line.split() for line in render(answer).splitlines()[::2]] == [
        ["band", "n", "share"],
        ["18-29", "20", "0.123457"],
    ]
    assert render(answer).splitlines()[3].split() == ["60_plus", "NULL", "NULL"]
    assert render(answer, "csv") == "band,n,share\n18-29,20,0.123456789\n60_plus,,"
    assert json.loads(render(answer, "json"))[1] == {"band": "60_plus", "n": None, "share": None}


def test_text_of_digits_is_not_formatted_as_a_number():
    answer = Answer(columns=["product_id", "n"], rows=[("0012", 1), ("1e3", 2), ("3.10", 3)])
    assert [line.split()[0] for line in render(answer).splitlines()[2:]] == ["0012", "1e3", "3.10"]


def test_an_answer_without_rows_has_a_header():
    answer = Answer(columns=["band", "day"], rows=[])
    assert render(answer).splitlines() == ["band    day", "------  -----"]
    assert render(answer, "json") == "[]"


def test_dates_are_text_in_json():
    assert json.loads(render(Answer(columns=["d"], rows=[(DATE,)]), "json")) == [{"d": "2026-11-09"}]


@pytest.fixture
def spill(tmp_path, monkeypatch):
    """Fill the memory of a connection, and return the folders of what was written to the disk."""
    Warehouse(str(tmp_path / "warehouse")).create_tables()
    for name in ("scratch", "here"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    monkeypatch.setenv("BREAD_SALT_DUCKDB_MEMORY", "60MB")
    monkeypatch.chdir(tmp_path / "here")

    def fill():
        with connect(str(tmp_path / "warehouse"), restricted=True) as connection:
            connection.execute("CREATE TABLE t AS SELECT i, HASH(i)::VARCHAR AS text FROM range(5000000) AS t(i)")
            return {file.parent: oct(file.parent.stat().st_mode & 0o777) for file in tmp_path.rglob("duckdb_temp_*")}

    return fill


def test_what_does_not_fit_into_memory_is_closed_to_others_and_removed(spill, tmp_path):
    before = os.umask(0o000)
    try:
        folders = spill()
    finally:
        os.umask(before)
    assert {folder.parent: mode for folder, mode in folders.items()} == {tmp_path / "scratch": "0o700"}
    assert [*(tmp_path / "scratch").iterdir(), *(tmp_path / "here").iterdir()] == []
