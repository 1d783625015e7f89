import datetime as dt
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from jobs.query import Settings, answer_each, failed_checks, main, parse_parameters, statements
from jobs.tables.answers import Answer
from jobs.tables.duck import connect, execute
from jobs.tables.schemas import WAREHOUSE
from model.cli import InputError

DATE = dt.date(2026, 11, 9)


def write(warehouse: Path, name: str, *rows: dict) -> None:
    table = WAREHOUSE[name]
    write_deltalake(
        warehouse / name,
        pa.Table.from_pylist([{"business_date": DATE, **row} for row in rows], schema=table.schema),
        mode="append",
        partition_by=list(table.partition_by),
    )


def quality(business_date: dt.date = DATE, value: float = 1) -> dict:
    return {"business_date": business_date, "job": "score_photos", "source_table": "", "value": value}


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("warehouse")
    write(root, "analytics/run_quality", quality(value=1), quality(DATE - dt.timedelta(1), value=2))
    write(
        root,
        "analytics/age_category_affinity",
        {"window_days": 7, "age_band": "18-29", "level": "category", "item": "Beer", "penetration": 0.25},
        {
            "window_days": 7,
            "age_band": "60_plus",
            "level": "category",
            "item": "Beer",
            "reason": "fewer_than_10_receipts",
        },
    )
    write(root, "restricted/photo_ages", {"photo_id": "p1", "age_years": 33.5}, {"photo_id": "p2"})
    return root


@pytest.fixture(scope="module")
def analyst(warehouse) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(str(warehouse)) as connection:
        yield connection


@pytest.fixture(scope="module")
def auditor(warehouse) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(str(warehouse), restricted=True) as connection:
        yield connection


def run_main(warehouse: Path, statement: str, *param: str, **flags) -> None:
    main(Settings(statement=statement, warehouse=str(warehouse), param=param, **flags))


def test_tables_have_the_names_of_their_folders(analyst):
    answer = execute(analyst, "SELECT item, age_band FROM analytics.age_category_affinity ORDER BY 2", {})
    assert answer == Answer(columns=["item", "age_band"], rows=[("Beer", "18-29"), ("Beer", "60_plus")])


def test_a_table_that_was_never_written_is_empty(analyst):
    assert execute(analyst, "SELECT lift FROM analytics.age_product_affinity", {}).rows == []


def test_a_connection_reads_the_tables_as_of_its_opening(tmp_path):
    write(tmp_path, "analytics/run_quality", quality())
    with connect(str(tmp_path)) as opened:
        write(tmp_path, "analytics/run_quality", quality())
        assert execute(opened, "SELECT count(*) FROM analytics.run_quality", {}).rows == [(1,)]


def test_restricted_tables_are_shown_only_on_request(analyst, auditor):
    statement = "SELECT photo_id FROM restricted.photo_ages ORDER BY 1"
    with pytest.raises(InputError, match=r"restricted\.\* only with --restricted") as error:
        execute(analyst, statement, {})
    assert "tables: analytics.age_affinity, analytics.age_bands, " in str(error.value)
    assert execute(auditor, statement, {}).rows == [("p1",), ("p2",)]


def test_restricted_rows_are_not_available_under_another_name(analyst):
    names = {row[0] for row in analyst.execute("SELECT view_name FROM duckdb_views()").fetchall()}
    assert not [name for name in names if "photo_ages" in name]


def test_the_error_for_an_unknown_table_lists_the_known_tables(auditor):
    with pytest.raises(InputError, match=r"Table with name nope .*analytics\.run_quality, .*restricted\."):
        execute(auditor, "SELECT * FROM nope", {})


@pytest.mark.parametrize(
    "reading",
    [
        "SELECT * FROM read_parquet('{file}')",
        "SELECT * FROM read_text('{file}')",
        "SELECT * FROM read_blob('{file}')",
        "SELECT * FROM read_csv('{file}')",
        "SELECT * FROM glob('{folder}/*')",
        "SELECT * FROM '{file}'",
        "SELECT * FROM query('SELECT * FROM read_text(''{file}'')')",
        "COPY (SELECT 1) TO '{folder}/out.csv'",
        "ATTACH '{folder}/other.db'",
        "EXPORT DATABASE '{folder}/out'",
        "INSTALL httpfs",
        "LOAD '{file}'",
        "SET enable_external_access = true",
        "RESET lock_configuration",
    ],
)
def test_a_statement_cannot_read_or_write_other_files(analyst, warehouse, reading):
    statement = reading.format(file=next(warehouse.glob("restricted/*/*/*.parquet")), folder=warehouse)
    with pytest.raises(InputError, match=r"^[^\n]+$"):
        execute(analyst, statement, {})
    # The connection fails too, not only the check of the statement.
    with pytest.raises(duckdb.Error, match=r"disabled|locked|does not exist"):
        analyst.execute(statement)
    assert not list(warehouse.glob("out*"))


def test_a_python_variable_is_not_a_table(analyst):
    secret = pa.table({"a": [1]})
    with pytest.raises(duckdb.CatalogException):
        analyst.execute("SELECT * FROM secret")
    assert len(secret) == 1


def test_the_business_date_has_the_type_date(analyst):
    answer = execute(analyst, "SELECT $business_date - 1", {"business_date": "2026-11-09"})
    assert answer.rows == [(dt.date(2026, 11, 8),)]
    with pytest.raises(InputError, match=r"business_date='9\.11\.' should be a date"):
        execute(analyst, "SELECT $business_date", {"business_date": "9.11."})


def test_parameters_are_parsed_as_text():
    assert parse_parameters(["band=18-29", "$window_days=7", "item=a=b"]) == {
        "band": "18-29",
        "window_days": "7",
        "item": "a=b",
    }


@pytest.mark.parametrize(
    ("pairs", "message"), [(["band"], "NAME=VALUE"), (["=1"], "NAME=VALUE"), (["a=1", "a=2"], "twice")]
)
def test_a_malformed_parameter_is_rejected(pairs, message):
    with pytest.raises(InputError, match=message):
        parse_parameters(pairs)


def test_a_statement_can_be_sql_a_file_a_shipped_name_or_a_folder(tmp_path):
    file = tmp_path / "my question.sql"
    file.write_text("SELECT 7")
    assert statements("SELECT 1") == {"statement": "SELECT 1"}
    assert statements(str(file)) == {str(file): "SELECT 7"}
    assert list(statements("analyst/top_products")) == ["analyst/top_products"]
    assert "checks/counts_add_up" in statements("checks")
    assert statements("checks/") == statements("checks")


def test_questions_of_auditors_require_the_restricted_zone(warehouse, capsys):
    params = ["business_date=2026-11-09", "window_days=28"]
    with pytest.raises(
        InputError, match=r"auditor/cashiers_to_look_at reads tables about persons, .*; add --restricted"
    ):
        run_main(warehouse, "auditor/cashiers_to_look_at", *params)
    run_main(warehouse, "auditor/cashiers_to_look_at", *params, restricted=True, format="csv")
    assert capsys.readouterr().out.startswith("store_id,cashier_id,status,reasons,")


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("top_products", r"no statement named 'top_products'; .*analyst/top_products"),
        ("nope.sql", "nope.sql cannot be read"),
    ],
)
def test_a_missing_statement_is_an_error(named, message):
    with pytest.raises(InputError, match=message):
        statements(named)


def test_the_newest_date_is_the_default_and_is_printed(analyst, capsys):
    named = {
        "a": "SELECT value FROM analytics.run_quality WHERE business_date = $business_date",
        "b": "SELECT $x",
    }
    answers = answer_each(analyst, named, {"x": "1"})
    assert [answer.rows for answer in answers.values()] == [[(1.0,)], [("1",)]]
    assert "business_date=2026-11-09 (not given" in capsys.readouterr().err


def test_a_parameter_that_no_statement_takes_is_rejected(analyst):
    with pytest.raises(InputError, match=r"a, b takes \$business_date; found \$band"):
        answer_each(analyst, {"a": "SELECT 1", "b": "SELECT $business_date"}, {"band": "18-29"})


def test_a_date_is_required_if_the_affinity_table_is_empty(tmp_path):
    write(tmp_path, "analytics/run_quality", quality())
    with pytest.raises(InputError, match="age_category_affinity is empty"), connect(str(tmp_path)) as connection:
        answer_each(connection, {"a": "SELECT $business_date"}, {})


def test_a_missing_warehouse_is_an_error(tmp_path):
    with pytest.raises(InputError, match="nowhere contains no Delta table"), connect(str(tmp_path / "nowhere")):
        pass
    with pytest.raises(InputError, match="--warehouse is required: the environment has no BREAD_SALT_WAREHOUSE"):
        main(Settings(statement="SELECT 1", warehouse=""))


def test_failed_checks_contain_the_offending_rows(auditor):
    failed = failed_checks(auditor, DATE)
    assert ("restricted.receipt_ages", 0) in failed["checks/date_is_complete"].rows
    assert "checks/counts_are_consistent" not in failed


def test_expect_empty_prints_only_row_counts_and_exits_with_1(warehouse, capsys):
    with pytest.raises(SystemExit, match="1"):
        run_main(warehouse, "checks", "business_date=2026-11-09", restricted=True, expect_empty=True)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "checks/counts_are_consistent: 0 rows" in printed.err
    assert "checks/date_is_complete: 6 rows" in printed.err
    run_main(warehouse, "SELECT 1 WHERE false", expect_empty=True)


def test_the_command_line_answers_without_loading_spark_or_torch(warehouse):
    program = (
        "import sys, runpy\n"
        "try: runpy.run_module('jobs.query', run_name='__main__')\n"
        "finally: print({'torch', 'pyspark'} & set(sys.modules), file=sys.stderr)"
    )
    arguments = ["analyst/category_across_bands", "--param", "level=category", "--param", "item=Beer"]
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, *arguments, "--param", "window_days=7", "--format", "csv"],
        env={"BREAD_SALT_WAREHOUSE": str(warehouse)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr.splitlines()[-1] == "set()"
    header, youngest, oldest = finished.stdout.splitlines()
    assert header.startswith("age_band,n_receipts")
    assert re.fullmatch(r"18-29,,,0\.25,.*", youngest)
    assert oldest == "60_plus,,,,,,,,,,,fewer_than_10_receipts"


def test_a_wrong_statement_gives_one_error_line_and_exit_code_2(warehouse):
    finished = subprocess.run(
        [sys.executable, "-m", "jobs.query", "SELECT * FROM nope", "--warehouse", str(warehouse)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 2
    assert finished.stderr.count("\n") == 1
    assert finished.stderr.startswith("error: Catalog Error: Table with name nope does not exist!")
