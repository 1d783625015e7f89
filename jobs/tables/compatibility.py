"""Recognise a warehouse that an earlier version of this project wrote."""

from collections.abc import Iterable, Mapping

import pyarrow as pa
from deltalake import DeltaTable

from jobs.tables.schemas import WAREHOUSE
from model.cli import InputError

SCORES = "restricted/photo_ages"


def check_schemas(warehouse: str, tables: Mapping[str, DeltaTable]) -> None:
    """Check that tables have the columns of the contract.

    Args:
        warehouse: folder or URI, for the message.
        tables: existing tables by name. A name outside the contract is ignored.

    Raises:
        InputError: a table has other columns, or another type of a column. The message says how to replace the tables.
    """
    differences = {}
    for name, table in tables.items():
        if name in WAREHOUSE:
            differing = _differing_column(pa.schema(table.schema().to_arrow()), WAREHOUSE[name].schema)
            if differing:
                differences[name] = differing
    if differences:
        described = "; ".join(f"{name}: {difference}" for name, difference in differences.items())
        folders = ", ".join(f"{warehouse.rstrip('/')}/{name}" for name in differences)
        kept = "" if SCORES in differences else " (photo scores are kept)"
        raise InputError(
            f"the warehouse {warehouse} is from another version of this project: {described}. Remove the folders "
            f"{folders}; then run the nightly jobs again for their dates, oldest first{kept}"
        )


def _differing_column(actual: pa.Schema, expected: pa.Schema) -> str | None:
    """Describe the first column that differs, or return None."""
    for field in expected:
        if field.name not in actual.names:
            return f"column {field.name} is missing"
        found = actual.field(field.name).type
        if found != field.type:
            return f"column {field.name} is {found}, expected {field.type}"
    unexpected: Iterable[str] = (name for name in actual.names if name not in expected.names)
    return next((f"column {name} is unexpected" for name in unexpected), None)
