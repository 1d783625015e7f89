"""DuckDB on the tables of the warehouse: for the jobs of a night, and locked, for the SELECT of a person."""

import dataclasses
import datetime as dt
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import duckdb
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

import sql
from jobs.tables.answers import Answer
from jobs.tables.compatibility import check_schemas
from jobs.tables.faults import MEMORY_VARIABLE, explain
from jobs.tables.landing import open_warehouse
from jobs.tables.private_files import scratch_folder
from jobs.tables.schemas import WAREHOUSE, is_restricted
from model.cli import InputError

WAREHOUSE_VARIABLE = "BREAD_SALT_WAREHOUSE"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReadSettings:
    """Flags of every program that reads the warehouse for a person."""

    warehouse: str = dataclasses.field(default_factory=lambda: os.environ.get(WAREHOUSE_VARIABLE, ""))
    """Root of the Delta tables (path or URI). Default: the environment variable BREAD_SALT_WAREHOUSE."""

    def __post_init__(self) -> None:
        if not self.warehouse:
            raise InputError(f"--warehouse is required: the environment has no {WAREHOUSE_VARIABLE}")


def memory_limit(default: str = "80%") -> str:
    """Return how much memory a connection may use: BREAD_SALT_DUCKDB_MEMORY, or `default`.

    Raises:
        InputError: it is no size.
    """
    limit = os.environ.get(MEMORY_VARIABLE) or default
    if not re.fullmatch(r"\d+(\.\d+)? ?([MGT]i?B|%)", limit):
        raise InputError(f"{MEMORY_VARIABLE} is {limit!r}; it must be a size such as 8GB")
    return limit


@contextmanager
def connect(warehouse: str, *, restricted: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a connection that sees the warehouse's tables as of now and nothing else.

    Each table is `<zone>.<table>`; a table that was never written is empty. `sql/views` are views in `analytics`.

    Raises:
        InputError: `warehouse` contains none of the tables, or one of them is from another version of this project.
    """
    names = [name for name in WAREHOUSE if restricted or not is_restricted(name)]
    # What does not fit into memory goes to the scratch folder. By default DuckDB takes `.tmp` in the working directory,
    # which other users can open and a killed process leaves behind.
    with (
        scratch_folder() as scratch,
        duckdb.connect(config={"memory_limit": memory_limit(), "temp_directory": str(scratch)}) as connection,
    ):
        if not register_warehouse(connection, warehouse, names):
            raise InputError(f"--warehouse {warehouse} contains no Delta table; expected any of {', '.join(names)}")
        create_views(connection)
        # Nothing but its tables: else a SELECT could read Python variables and any readable file.
        connection.execute("SET python_enable_replacements = false")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        yield connection


def register_warehouse(connection: duckdb.DuckDBPyConnection, warehouse: str, names: Iterable[str]) -> bool:
    """Register some of the warehouse's tables as of now; one that was never written is empty. Times are UTC.

    Returns:
        Whether any of them was written.

    Raises:
        InputError: one of the tables is from another version of this project.
    """
    # The reports are opened first. Otherwise a job that ends now could report rows that we do not see.
    names = sorted(names, key=lambda name: name != "analytics/run_quality")
    root = open_warehouse(warehouse).uri
    shown = {name: f"{root}/{name}" for name in names}
    try:
        written = {name: DeltaTable(uri) for name, uri in shown.items() if DeltaTable.is_deltatable(uri)}
    except (DeltaError, OSError, ValueError) as error:
        known = explain(error, warehouse)
        raise known or InputError(f"--warehouse {warehouse}: {one_line(error)}") from error
    check_schemas(warehouse, written)
    connection.execute("SET TimeZone = 'UTC'")
    register_tables(
        connection,
        {
            name: written[name].to_pyarrow_dataset() if name in written else WAREHOUSE[name].schema.empty_table()
            for name in shown
        },
    )
    return bool(written)


def register_tables(connection: duckdb.DuckDBPyConnection, tables: Mapping[str, Any]) -> None:
    """Register Arrow tables or datasets by name: `zone/table` as `zone.table`, a name without a zone as it is."""
    for name, rows in tables.items():
        zone, _, table = name.rpartition("/")
        source = f"__{zone}_{table}"
        connection.register(source, rows)
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {zone or 'main'}")
        connection.execute(f"CREATE VIEW {zone or 'main'}.{table} AS SELECT * FROM {source}")  # noqa: S608 - no user input


def create_views(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the views of `sql/views` as `analytics.<name>`; their tables must be registered."""
    for name in sql.names("views"):
        connection.execute(f"CREATE VIEW analytics.{name.rpartition('/')[2]} AS {sql.load(name)}")


def execute(connection: duckdb.DuckDBPyConnection, statement: str, parameters: Mapping[str, object]) -> Answer:
    """Run a single SELECT with exactly the parameters that it takes.

    Raises:
        InputError: it is not a single SELECT, it takes other parameters than those given, or DuckDB fails.
        duckdb.Error: a file of a table can't be read; `faults.explained` names it.
    """
    takes = parameters_of(connection, statement)
    if takes != set(parameters):
        raise InputError(f"the statement takes {dollars(takes)}; found {dollars(parameters)}")
    try:
        cursor = connection.execute(statement, _typed(parameters) or None)
        return Answer(columns=[column[0] for column in cursor.description or []], rows=cursor.fetchall())
    except duckdb.Error as error:
        if "reading the stream registered as" in str(error):  # a fault of a file, not of the statement
            raise
        raise InputError(one_line(error) + _hint(connection, statement, error)) from error


def parameters_of(connection: duckdb.DuckDBPyConnection, statement: str) -> set[str]:
    """Return the names of the parameters that a single SELECT takes.

    Raises:
        InputError: it is not a single SELECT.
    """
    try:
        parsed = connection.extract_statements(statement)
    except duckdb.Error as error:
        raise InputError(one_line(error)) from error
    if [entry.type for entry in parsed] != [duckdb.StatementType.SELECT]:
        types = ", ".join(entry.type.name for entry in parsed) or "none"
        raise InputError(f"only a single SELECT is allowed here; found: {types}")
    return set(parsed[0].named_parameters)


def one_line(error: Exception) -> str:
    """Return DuckDB's first sentence and the wrong line of SQL, without the suggestions after them."""
    message, _, place = str(error).partition("\n\n")
    line = place.partition("\n")[0].strip()
    return message.partition("\n")[0] + (f" ({line})" if line else "")


def dollars(names: Iterable[str]) -> str:
    """Return parameter names in the syntax of a statement.

    >>> dollars(["window_days", "band"])
    '$band, $window_days'
    >>> dollars([])
    'no parameters'
    """
    return ", ".join(f"${name}" for name in sorted(names)) or "no parameters"


def _typed(parameters: Mapping[str, object]) -> dict[str, object]:
    """Convert $business_date to a date, so that DuckDB can skip the files of other dates."""
    date = parameters.get("business_date")
    if not isinstance(date, str):
        return dict(parameters)
    try:
        return {**parameters, "business_date": dt.date.fromisoformat(date)}
    except ValueError:
        raise InputError(f"--param business_date={date!r} should be a date, YYYY-MM-DD") from None


def _hint(connection: duckdb.DuckDBPyConnection, statement: str, error: duckdb.Error) -> str:
    if not (isinstance(error, duckdb.CatalogException) and "Table with name" in str(error)):
        return ""
    views = "FROM duckdb_views() WHERE schema_name IN ('analytics', 'restricted') ORDER BY ALL"
    known = [".".join(row) for row in connection.execute(f"SELECT schema_name, view_name {views}").fetchall()]
    withheld = not any(name.startswith("restricted.") for name in known)
    hidden = withheld and re.search(r"\brestricted\b", statement, re.IGNORECASE)
    return f"; tables: {', '.join(known)}" + ("; restricted.* only with --restricted" if hidden else "")
