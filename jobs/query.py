"""Query the warehouse in SQL: DuckDB over the Delta tables, without Spark.

Tables have the names of their folders: `analytics.age_product_affinity`. The statement is SQL, a file that ends in
.sql, the name of a shipped statement (`analyst/top_products`) or a folder of them (`checks`). Only a single SELECT is
allowed. It can read the tables and no other file.

`--restricted` adds the tables of the restricted zone. The flag only prevents accidents: the permissions of the storage
protect these tables.
"""

import dataclasses
import datetime as dt
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

import duckdb
from tyro.conf import FlagCreatePairsOff, Positional, UseAppendAction, arg

import sql
from jobs.tables.answers import Answer, Layout, render
from jobs.tables.duck import ReadSettings, connect, dollars, execute, parameters_of
from jobs.tables.faults import explained
from model.cli import InputError, run

FOLDERS = ("analyst", "auditor", "checks", "warnings")
"""Folders of shipped statements in DuckDB's dialect over warehouse tables."""

WARNINGS = "warnings/"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(ReadSettings):
    """Flags of the program."""

    statement: Positional[str]
    """SQL, a file that ends in .sql, or the name of a shipped statement or of a folder of them."""

    param: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="NAME=VALUE")] = ()
    """Value of $NAME; repeatable. Default of $business_date: newest of analytics.age_category_affinity."""

    format: Layout = "table"
    """Output format. Nulls are NULL in a table, empty in csv and null in json; so are NaN and infinity in json. A table
    and csv show control characters as escapes such as \\x1b; csv keeps tabs and line breaks, in quotes."""

    spreadsheet: FlagCreatePairsOff[bool] = False
    """In csv, write texts for a spreadsheet: a quote before =, +, - and @, so that none is taken for a formula."""

    restricted: FlagCreatePairsOff[bool] = False
    """Show the tables of the restricted zone too."""

    expect_empty: FlagCreatePairsOff[bool] = False
    """Exit with code 1 if a statement returns rows. Print only row counts, as logs have more readers than tables. Rows
    of `warnings` never change the exit code."""


def statements(named: str) -> dict[str, str]:
    """Return statements by name, for SQL, a .sql file, a shipped name or a folder.

    Raises:
        InputError: the file or statement does not exist; the message lists the shipped statements.
    """
    if re.search(r"\s", named) and not named.endswith(".sql"):
        return {"statement": named}
    if named.endswith(".sql"):
        try:
            return {named: Path(named).read_text(encoding="utf-8")}
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"statement file {named} cannot be read: {error}") from error
    shipped = [name for folder in FOLDERS for name in sql.names(folder)]
    chosen = [name for name in shipped if named.rstrip("/") in (name, name.partition("/")[0])]
    if not chosen:
        raise InputError(
            f"no statement named {named!r}; there are: {', '.join(FOLDERS)} or one of {', '.join(shipped)}"
        )
    return {name: sql.load(name) for name in chosen}


def parse_parameters(pairs: Iterable[str]) -> dict[str, str]:
    """Return the parameters by name, as text; DuckDB casts them where they are compared.

    >>> parse_parameters(["band=18-29", "item=a=b"])
    {'band': '18-29', 'item': 'a=b'}

    Raises:
        InputError: a pair has no `=`, or a name is given twice.
    """
    parameters: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        name = name.removeprefix("$")
        if not (name and equals):
            raise InputError(f"--param {pair!r} should be NAME=VALUE, such as band=18-29")
        if name in parameters:
            raise InputError(f"--param {name} is given twice: {parameters[name]!r} and {value!r}")
        parameters[name] = value
    return parameters


def newest_business_date(connection: duckdb.DuckDBPyConnection) -> dt.date:
    """Return the newest date of analytics.age_category_affinity, which no published date leaves empty.

    Raises:
        InputError: analytics.age_category_affinity has no rows.
    """
    (date,) = execute(connection, sql.load("analyst/newest_date"), {}).rows[0]
    if date is None:
        raise InputError("analytics.age_category_affinity is empty, so --param business_date=YYYY-MM-DD is required")
    return dt.date.fromisoformat(str(date))


def answer_each(
    connection: duckdb.DuckDBPyConnection, named: Mapping[str, str], given: Mapping[str, object]
) -> dict[str, Answer]:
    """Run several statements; each takes its parameters from `given`.

    Raises:
        InputError: as in `execute`, or a parameter is given that no statement takes.
    """
    takes = {name: parameters_of(connection, text) for name, text in named.items()}
    required = set().union(*takes.values())
    defaulted = {"business_date"} & required - set(given)
    if required - defaulted != set(given):
        raise InputError(f"{', '.join(named)} takes {dollars(required)}; found {dollars(given)}")
    if defaulted:
        newest = newest_business_date(connection)
        print(f"business_date={newest} (not given: the newest of analytics.age_category_affinity)", file=sys.stderr)
        given = {**given, "business_date": newest}
    answers = {}
    for name, text in named.items():
        try:
            answers[name] = execute(connection, text, {key: given[key] for key in takes[name]})
        except InputError as error:
            raise InputError(f"{name}: {error}" if len(named) > 1 else str(error)) from error
    return answers


def failed_checks(connection: duckdb.DuckDBPyConnection, business_date: dt.date) -> dict[str, Answer]:
    """Return the checks that fail, each with its offending rows.

    The connection must include the restricted zone.
    """
    answers = answer_each(connection, statements("checks"), {"business_date": business_date})
    return {name: answer for name, answer in answers.items() if answer.rows}


def warn(answers: Mapping[str, Answer], warehouse: str, given: Mapping[str, object]) -> None:
    """Print one line for each statement of `warnings` that has rows: their number, and how to see them."""
    flags = " ".join(["--restricted", *(f"--param {name}={value}" for name, value in given.items())])
    for name, answer in answers.items():
        if answer.rows and name.startswith(WARNINGS):
            seen = f"to see them: python -m jobs.query {name} {flags} --warehouse {warehouse}"
            print(f"warning: {name.removeprefix(WARNINGS)}: {len(answer.rows)} rows; {seen}", file=sys.stderr)


def passes_checks(warehouse: str, business_date: dt.date) -> bool:
    """Return whether all checks of a date pass; otherwise print their numbers of rows, and how to see the rows.

    Warnings of the date are printed in one line each, and fail nothing.
    """
    given = {"business_date": business_date}
    with explained(warehouse), connect(warehouse, restricted=True) as connection:
        failed = failed_checks(connection, business_date)
        warn(answer_each(connection, statements("warnings"), given), warehouse, given)
    for name, answer in failed.items():
        print(f"{name}: {len(answer.rows)} rows", file=sys.stderr)
    if failed:
        flags = f"--restricted --param business_date={business_date} --warehouse {warehouse}"
        print(f"to see the rows: python -m jobs.query checks {flags}", file=sys.stderr)
    return not failed


def main(settings: Settings) -> None:
    """Print the rows of each statement, or with `expect_empty` their number."""
    if settings.spreadsheet and settings.format != "csv":
        raise InputError(f"--spreadsheet is for --format csv; found --format {settings.format}")
    named, given = statements(settings.statement), parse_parameters(settings.param)
    if not settings.restricted and any(name.startswith("auditor/") for name in named):
        raise InputError(f"{settings.statement} reads tables about persons, for auditors only; add --restricted")
    with explained(settings.warehouse), connect(settings.warehouse, restricted=settings.restricted) as connection:
        answers = answer_each(connection, named, given)
    for name, answer in answers.items():
        if settings.expect_empty or len(answers) > 1:
            print(f"{name}: {len(answer.rows)} rows", file=sys.stderr)
        if not settings.expect_empty:
            print(render(answer, settings.format, spreadsheet=settings.spreadsheet))
    if settings.expect_empty:
        warn(answers, settings.warehouse, given)
        if any(answer.rows and not name.startswith(WARNINGS) for name, answer in answers.items()):
            sys.exit(1)


if __name__ == "__main__":
    run(main, Settings)
