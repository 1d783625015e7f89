"""Run one SELECT on a DuckDB connection; how its answer, or what is wrong with it, reads on a terminal."""

import csv
import dataclasses
import datetime as dt
import io
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import duckdb

from model.cli import InputError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answer:
    """Columns by name and the rows in the order in which the statement returns them."""

    columns: list[str]
    rows: list[tuple[Any, ...]]


def execute(connection: duckdb.DuckDBPyConnection, statement: str, parameters: Mapping[str, object]) -> Answer:
    """Run one SELECT with exactly the named parameters that it takes.

    Raises:
        InputError: it is not a single SELECT, takes other parameters than those given, or DuckDB refuses it.
    """
    takes = parameters_of(connection, statement)
    if takes != set(parameters):
        raise InputError(f"the statement takes {dollars(takes)}; found {dollars(parameters)}")
    try:
        cursor = connection.execute(statement, _typed(parameters) or None)
        return Answer(columns=[column[0] for column in cursor.description or []], rows=cursor.fetchall())
    except duckdb.Error as error:
        raise InputError(one_line(error) + _hint(connection, statement, error)) from error


def parameters_of(connection: duckdb.DuckDBPyConnection, statement: str) -> set[str]:
    """Return the names of the parameters that a single SELECT takes.

    Raises:
        InputError: it is no SELECT, or not a single one.
    """
    try:
        parsed = connection.extract_statements(statement)
    except duckdb.Error as error:
        raise InputError(one_line(error)) from error
    if [entry.type for entry in parsed] != [duckdb.StatementType.SELECT]:
        found = ", ".join(entry.type.name for entry in parsed) or "none"
        raise InputError(f"wanted a single SELECT, which is all that can be asked here; found: {found}")
    return set(parsed[0].named_parameters)


def render(answer: Answer, layout: Literal["table", "csv", "json"] = "table") -> str:
    """Return the rows as text; json is a list of objects."""
    if layout == "json":
        return json.dumps([dict(zip(answer.columns, row, strict=True)) for row in answer.rows], indent=1, default=str)
    if layout == "csv":
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([answer.columns, *answer.rows])
        return text.getvalue().rstrip("\n")
    cells = [answer.columns, *([_cell(value) for value in row] for row in answer.rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    cells.insert(1, ["-" * width for width in widths])
    numeric = [any(isinstance(row[i], int | float) for row in answer.rows) for i in range(len(widths))]
    return "\n".join(
        "  ".join(
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(row, widths, numeric, strict=True)
        ).rstrip()
        for row in cells
    )


def one_line(error: Exception) -> str:
    """Keep DuckDB's first sentence and the line of SQL at fault; what follows is guesses and arrows."""
    message, _, place = str(error).partition("\n\n")
    line = place.partition("\n")[0].strip()
    return message.partition("\n")[0] + (f" ({line})" if line else "")


def dollars(names: Iterable[str]) -> str:
    """Return parameters as a statement names them: `$band, $window_days`."""
    return ", ".join(f"${name}" for name in sorted(names)) or "no parameters"


def _typed(parameters: Mapping[str, object]) -> dict[str, object]:
    """Make $business_date a DATE, so that a predicate on it prunes files."""
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
    ours = "FROM duckdb_views() WHERE schema_name IN ('analytics', 'restricted') ORDER BY ALL"
    known = [".".join(row) for row in connection.execute(f"SELECT schema_name, view_name {ours}").fetchall()]
    withheld = not any(name.startswith("restricted.") for name in known)
    hidden = withheld and re.search(r"\brestricted\b", statement, re.IGNORECASE)
    return f"; tables: {', '.join(known)}" + ("; restricted.* only with --restricted" if hidden else "")


def _cell(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, float):
        return f"{value:.2f}" if abs(value) >= 1e5 else f"{value:.6g}"
    return str(value)
