"""The answer of a query as text for people and programs: a table, CSV or JSON."""

import csv
import dataclasses
import io
import json
import math
import re
from collections.abc import Sequence
from typing import Any, Literal

from tabulate import tabulate

Layout = Literal["table", "csv", "json"]

_DIRECTIONS = "\u202a-\u202e\u2066-\u2069"
"""Characters that change the direction of the text after them, so that a name reads as another."""
_CONTROLS = re.compile(rf"[\x00-\x1f\x7f-\x9f\u2028\u2029{_DIRECTIONS}]")
_CONTROLS_IN_CSV = re.compile(rf"\r(?!\n)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f{_DIRECTIONS}]")
"""Tabs and line breaks are data: CSV has quotes for them."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answer:
    """Column names, and the rows in the order in which the statement returns them."""

    columns: list[str]
    rows: list[tuple[Any, ...]]


def render(answer: Answer, layout: Layout = "table", *, spreadsheet: bool = False) -> str:
    """Return the rows as text. Nulls are NULL in a table, empty in csv and null in json (a list of objects).

    - Control characters are shown as escapes, as names come from stores and could control a terminal.
    - JSON has no NaN and no infinity: they are null. A second column `a` is named `a_1`.

    Args:
        answer: columns and rows.
        layout: table, csv or json.
        spreadsheet: write texts in csv so that a spreadsheet takes none for a formula.

    >>> print(render(Answer(columns=["band", "n"], rows=[("18-29", 20), ("60_plus", None)])))
    band        n
    -------  ----
    18-29      20
    60_plus  NULL
    """
    if layout == "json":
        names = unique(answer.columns)
        objects = [dict(zip(names, map(_json_value, row), strict=True)) for row in answer.rows]
        return json.dumps(objects, indent=1, default=str, allow_nan=False)
    if layout == "csv":
        as_cell = as_text_cell if spreadsheet else lambda text: _escape(_CONTROLS_IN_CSV, text)
        text = io.StringIO()
        lines = (
            [as_cell(cell) if isinstance(cell, str) else cell for cell in row] for row in [answer.columns, *answer.rows]
        )
        csv.writer(text, lineterminator="\n").writerows(lines)
        return text.getvalue().rstrip("\n")
    header = [_escape(_CONTROLS, name) for name in answer.columns]
    rows = [[_shown(cell) for cell in row] for row in answer.rows]
    return tabulate(rows, header, missingval="NULL", disable_numparse=_text_columns(answer) or False)


def as_text_cell(value: str | None) -> str:
    """Return a cell of one line that no spreadsheet takes for a formula; ids come from stores.

    >>> as_text_cell("=1+1"), as_text_cell("r-17")
    ("'=1+1", 'r-17')
    """
    text = "".join(character if character.isprintable() else " " for character in value or "").strip()
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def unique(names: Sequence[str]) -> list[str]:
    """Return column names without repetitions, as DuckDB names the columns of a table.

    >>> unique(["a", "a", "a_1", "a"])
    ['a', 'a_2', 'a_1', 'a_3']
    """
    used, chosen = set(names), list[str]()
    for name in names:
        number, new = 0, name
        while new in chosen or (new != name and new in used):
            number += 1
            new = f"{name}_{number}"
        chosen.append(new)
    return chosen


def _json_value(value: object) -> object:
    if isinstance(value, dict):
        return {str(key): _json_value(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _shown(value: object) -> object:
    """Return a cell of a table: texts, also those in lists, on one line."""
    is_plain = value is None or isinstance(value, int | float)
    return value if is_plain else _escape(_CONTROLS, str(value))


def _escape(controls: re.Pattern[str], text: str) -> str:
    return controls.sub(lambda found: repr(found[0])[1:-1], text)


def _text_columns(answer: Answer) -> list[int]:
    """Return the numbers of the text columns: a product_id of digits must not be formatted as a number."""
    return [
        number
        for number in range(len(answer.columns) if answer.rows else 0)
        if not any(isinstance(row[number], int | float) for row in answer.rows)
    ]
