"""Ask the warehouse in SQL: DuckDB over the Delta tables, without Spark.

Tables are named as their folders are, `analytics.age_product_affinity`. The statement is SQL, a file ending
in .sql, the name of a shipped statement (`analyst/top_products`) or a folder of them (`checks`). It can only
read: a single SELECT, over the tables and no other file, on a connection whose settings are locked.

`--restricted` adds the tables about single photos and receipts. It saves from accidents; who may read them is
for the permissions of the storage to say.
"""

import dataclasses
import datetime as dt
import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Literal

import duckdb
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from tyro.conf import FlagCreatePairsOff, Positional, UseAppendAction, arg

import sql
from jobs.tables.duck import Answer, dollars, execute, one_line, parameters_of, render
from jobs.tables.schemas import WAREHOUSE
from model.cli import InputError, run

FOLDERS = ("analyst", "checks")
"""Folders of shipped statements in DuckDB's dialect over warehouse tables."""

WAREHOUSE_VARIABLE = "BREAD_SALT_WAREHOUSE"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Flags of the program."""

    statement: Positional[str]
    """SQL, a file ending in .sql, or the name of a shipped statement or of a folder of them."""

    warehouse: str = dataclasses.field(default_factory=lambda: os.environ.get(WAREHOUSE_VARIABLE, ""))
    """Root of the Delta tables (path or URI). Default: the environment variable BREAD_SALT_WAREHOUSE."""

    param: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="NAME=VALUE")] = ()
    """A value for $NAME, once for each. $business_date is by default the newest of analytics.age_category_affinity."""

    format: Literal["table", "csv", "json"] = "table"
    """Of the answer on standard output. Nulls: NULL in a table, nothing in csv, null in json."""

    restricted: FlagCreatePairsOff[bool] = False
    """Show the tables of the restricted zone as well."""

    expect_empty: FlagCreatePairsOff[bool] = False
    """Exit with 1 when any statement returns a row. Only counts are printed: logs have more readers than tables."""


def connect(warehouse: str, *, restricted: bool = False) -> duckdb.DuckDBPyConnection:
    """Return a connection that sees the warehouse's tables as of now and nothing else.

    Raises:
        InputError: `warehouse` is empty, or holds none of our tables.
    """
    connection = duckdb.connect()
    register_warehouse(connection, warehouse, restricted=restricted)
    connection.execute("SET TimeZone = 'UTC'")
    # Without these a SELECT could read any file that this process can, or a variable of this program.
    connection.execute("SET python_enable_replacements = false")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def register_warehouse(connection: duckdb.DuckDBPyConnection, warehouse: str, *, restricted: bool) -> None:
    """Show each Delta table as `<zone>.<table>`; one that no job has written yet is an empty table.

    Raises:
        InputError: `warehouse` is empty, or holds none of our tables.
    """
    if not warehouse:
        raise InputError(f"--warehouse is required where the environment has no {WAREHOUSE_VARIABLE}")
    uris = {name: f"{warehouse.rstrip('/')}/{name}" for name in WAREHOUSE if restricted or not _is_restricted(name)}
    try:
        written = {name: DeltaTable(uri) for name, uri in uris.items() if DeltaTable.is_deltatable(uri)}
    except (DeltaError, OSError, ValueError) as error:
        raise InputError(f"--warehouse {warehouse}: {one_line(error)}") from error
    if not written:
        raise InputError(f"--warehouse {warehouse} holds no Delta table; expected any of {', '.join(uris)}")
    for name in uris:
        zone, _, table = name.partition("/")
        source = f"__{zone}_{table}"
        rows = written[name].to_pyarrow_dataset() if name in written else WAREHOUSE[name].schema.empty_table()
        connection.register(source, rows)
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {zone}")
        connection.execute(f"CREATE VIEW {zone}.{table} AS SELECT * FROM {source}")  # noqa: S608 - names of schemas.py


def statements(named: str) -> dict[str, str]:
    """Return SQL by name for what a user calls a statement: SQL, a .sql file, a shipped name or a folder.

    Raises:
        InputError: there is no such file or shipped statement; the message lists the latter.
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
    """Return `{"band": "18-29"}` for `["band=18-29"]`; text, which DuckDB casts to what it is compared with.

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
    """Return the newest date of the table that a night writes last.

    Raises:
        InputError: analytics.age_category_affinity has no rows.
    """
    (date,) = execute(connection, "SELECT max(business_date) FROM analytics.age_category_affinity", {}).rows[0]
    if date is None:
        raise InputError("analytics.age_category_affinity is empty, so --param business_date=YYYY-MM-DD is required")
    return dt.date.fromisoformat(str(date))


def answer_each(
    connection: duckdb.DuckDBPyConnection, named: Mapping[str, str], given: Mapping[str, object]
) -> dict[str, Answer]:
    """Run several statements over one set of parameters, each with those that it takes.

    Raises:
        InputError: as `execute` does, or a parameter is given that none of them takes.
    """
    takes = {name: parameters_of(connection, text) for name, text in named.items()}
    wanted = set().union(*takes.values())
    defaulted = {"business_date"} & wanted - set(given)
    if wanted - defaulted != set(given):
        raise InputError(f"{', '.join(named)} takes {dollars(wanted)}; found {dollars(given)}")
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
    """Return the offending rows of each of sql/checks that finds any; empty is healthy.

    The connection must show the restricted zone.
    """
    answers = answer_each(connection, statements("checks"), {"business_date": business_date})
    return {name: answer for name, answer in answers.items() if answer.rows}


def _is_restricted(table: str) -> bool:
    return table.startswith("restricted")


def main(settings: Settings) -> None:
    """Print the answer to each statement, or with `expect_empty` how many rows should not be there."""
    named, given = statements(settings.statement), parse_parameters(settings.param)
    answers = answer_each(connect(settings.warehouse, restricted=settings.restricted), named, given)
    for name, answer in answers.items():
        if settings.expect_empty or len(answers) > 1:
            print(f"{name}: {len(answer.rows)} rows", file=sys.stderr)
        if not settings.expect_empty:
            print(render(answer, settings.format))
    if settings.expect_empty and any(answer.rows for answer in answers.values()):
        sys.exit(1)


if __name__ == "__main__":
    run(main, Settings)
