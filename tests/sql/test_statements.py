"""Run every statement of `sql/` on its cases in `<folder>/<name>.yaml`.

A case: `name` (a sentence), `params`, `tables` (rows; missing columns have defaults), `expected` (rows in order; other
columns are not compared).
"""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

import sql

RUNNERS = {
    "landing": "run_by_night",
    "nightly": "run_by_night",
    "analyst": "run_in_duckdb",
    "auditor": "run_in_duckdb",
    "checks": "run_in_duckdb",
    "publish": "run_in_duckdb",
    "screening": "run_in_duckdb",
    "truth": "run_in_duckdb",
    "views": "run_in_duckdb",
    "warnings": "run_in_duckdb",
    "watch": "run_in_duckdb",
}
"""Fixture that runs the statements of a folder: (statement, tables, parameters) -> rows as dictionaries."""

HERE = Path(__file__).parent
STATEMENTS = [name for folder in RUNNERS for name in sql.names(folder)]
CASES = {
    str(path.relative_to(HERE).with_suffix("")): yaml.safe_load(path.read_text(encoding="utf-8"))
    for path in sorted(HERE.glob("*/*.yaml"))
}


def parameters_named_in(text: str) -> set[str]:
    return set(re.findall(r"\$([a-z]\w*)", text))


def header_and_body(statement: str) -> tuple[str, str]:
    text = sql.load(statement)
    end = re.search(r"^(?!--)", text, re.MULTILINE).start()
    return text[:end], re.sub(r"--.*", "", text[end:])


def test_every_folder_of_statements_has_a_runner() -> None:
    folders = {path.parent.name for path in Path(sql.__file__).parent.glob("*/*.sql")}
    assert folders == set(RUNNERS)


def test_every_statement_has_cases_and_every_case_file_has_a_statement() -> None:
    assert sorted(CASES) == sorted(STATEMENTS)
    assert all(CASES.values())


CHECKS = [*sql.names("checks"), *sql.names("warnings")]


@pytest.mark.parametrize("check", CHECKS)
def test_every_check_has_a_passing_and_a_failing_case(check: str) -> None:
    assert {bool(case["expected"]) for case in CASES[check]} == {False, True}


@pytest.mark.parametrize("check", CHECKS)
def test_a_check_filters_every_input_by_the_business_date(check: str) -> None:
    statement = sql.load(check)
    assert parameters_named_in(statement) == {"business_date"}
    inputs = re.findall(r"(?:FROM|JOIN) (?:restricted|analytics)\.", statement)
    filters = re.findall(r"\bbusiness_date (?:= \$business_date|BETWEEN )", statement)
    assert len(filters) == len(inputs) > 0


@pytest.mark.parametrize("statement", sql.names("analyst"))
def test_analyst_statements_do_not_read_restricted_tables(statement: str) -> None:
    assert "restricted." not in sql.load(statement)


@pytest.mark.parametrize("statement", sql.names("auditor"))
def test_every_row_for_auditors_has_a_caveat(statement: str, arrow_tables: Callable, run_in_duckdb: Callable) -> None:
    rows = [
        row
        for case in CASES[statement]
        for row in run_in_duckdb(sql.load(statement), arrow_tables(case.get("tables", {})), case["params"])
    ]
    assert rows
    assert all(row["caveat"] for row in rows)
    assert not {"p_check", "p_young", "young_observed", "young_expected"} & set(rows[0])
    (order,) = re.findall(r"^ORDER BY (.*)$", sql.load(statement), re.MULTILINE)
    assert not re.search(r"p_|q_|ratio|checks|status", order)


@pytest.mark.parametrize("statement", STATEMENTS)
def test_a_statement_begins_with_its_question_grain_and_parameters(statement: str) -> None:
    header, body = header_and_body(statement)
    assert "?" in header
    assert "Grain: " in header
    assert parameters_named_in(header) == parameters_named_in(body)
    assert parameters_named_in(header) == parameters_named_in(header.partition("Parameters: ")[2])


@pytest.mark.parametrize("statement", [*sql.names("landing"), *sql.names("nightly")])
def test_the_header_names_the_inputs_without_a_zone(statement: str) -> None:
    header, body = header_and_body(statement)
    read = set(re.findall(r"\b(?:FROM|JOIN) ([a-z_]+)\b(?!\.)", body))
    defined = set(re.findall(r"\b([a-z_]+) AS \(", body))
    assert set(re.findall(r"`(\w+)`", header.partition("Inputs: ")[2])) == read - defined


@pytest.mark.parametrize(
    ("table", "statement"),
    [
        ("landing/usable_products", "landing/products"),
        *((f"nightly/{name}",) * 2 for name in ("receipts", "purchases", "item_counts", "receipt_goods")),
    ],
)
def test_a_statement_is_tested_with_the_columns_of_the_answer_that_it_reads(
    table: str, statement: str, arrow_tables: Callable, run_by_night: Callable
) -> None:
    case = CASES[statement][0]
    row, *_ = run_by_night(sql.load(statement), arrow_tables(case["tables"]), case.get("params", {}))
    assert set(arrow_tables({})[table].column_names) <= set(row)


@pytest.mark.parametrize(
    ("statement", "case"),
    [pytest.param(name, case, id=f"{name}: {case['name']}") for name, cases in CASES.items() for case in cases],
)
def test_case(statement: str, case: dict, arrow_tables: Callable, request: pytest.FixtureRequest) -> None:
    run = request.getfixturevalue(RUNNERS[statement.partition("/")[0]])
    actual = run(sql.load(statement), arrow_tables(case.get("tables", {})), case.get("params", {}))
    compared = [
        {column: row[column] for column in expected} for row, expected in zip(actual, case["expected"], strict=False)
    ]
    assert compared == [
        {name: pytest.approx(value) if isinstance(value, float) else value for name, value in row.items()}
        for row in case["expected"]
    ]
    assert len(actual) == len(case["expected"]), actual
