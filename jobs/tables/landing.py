"""The landing zone: its location, the files of a table and date, and their check against the contract.

Uses Arrow only, so that the checks run before Spark starts.
"""

import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from jobs.tables.schemas import LANDING, UNDATED
from model.cli import InputError


class Place(NamedTuple):
    """A folder or URI, opened. It can be pickled, so that Spark's workers can use it."""

    uri: str
    """As given; a local path is absolute."""
    filesystem: fs.FileSystem
    path: str
    """Path within the filesystem."""
    spark_prefix: str
    """Prefix of `path` in Spark: `file://`, `s3a://`, ..."""


def open_place(uri: str) -> Place:
    """Open a folder or URI.

    Raises:
        InputError: pyarrow does not support this kind of URI.
    """
    if "://" not in uri:
        path = str(Path(uri).resolve())
        return Place(path, fs.LocalFileSystem(), path, "file://")
    scheme, _, rest = uri.partition("://")
    try:
        # s3a is Hadoop's name for what pyarrow calls s3.
        filesystem, path = fs.FileSystem.from_uri(f"s3://{rest}" if scheme == "s3a" else uri)
    except pa.ArrowInvalid as error:
        raise InputError(
            f"{uri!r} can't be opened: {error}; give a folder or a URI such as s3a://bucket/path"
        ) from None
    authority = rest.removesuffix(path) if rest.endswith(path) else ""
    return Place(uri.rstrip("/"), filesystem, path, f"{scheme}://{authority}")


def table_folder(table: str, business_date: dt.date) -> str:
    """Return the folder of a landing table and date, below the root of the landing zone.

    >>> table_folder("receipts", dt.date(2026, 11, 9))
    'receipts/business_date=2026-11-09'
    >>> table_folder("products", dt.date(2026, 11, 9))
    'products'
    """
    return table if table in UNDATED else f"{table}/business_date={business_date}"


def parquet_paths(filesystem: fs.FileSystem, folder: str) -> list[str]:
    """Return the Parquet files in a folder, sorted. Names that start with `_` or `.` are incomplete files."""
    entries = filesystem.get_file_info(fs.FileSelector(folder, allow_not_found=True))
    named = (entry for entry in entries if entry.is_file and not entry.base_name.startswith(("_", ".")))
    return sorted(entry.path for entry in named if entry.extension == "parquet")


def landing_files(landing: Place, table: str, business_date: dt.date) -> list[str]:
    """Return the Parquet files of a landing table and date for Spark, after a check against the contract.

    Raises:
        InputError: there is no file for the date, a file is not Parquet, or a column is missing or has a wrong type.
    """
    folder = f"{landing.path}/{table_folder(table, business_date)}"
    paths = parquet_paths(landing.filesystem, folder)
    if not paths:
        raise InputError(f"{table} of {business_date} is missing: there is no Parquet file in {folder}")

    def check(path: str) -> None:
        _check_columns(f"{table} of {business_date}", path, landing.filesystem, LANDING[table])

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(check, paths))
    return [f"{landing.spark_prefix}{path}" for path in paths]


def _check_columns(table: str, path: str, filesystem: fs.FileSystem, expected: pa.Schema) -> None:
    try:
        with filesystem.open_input_file(path) as file:
            schema = pq.read_schema(file)
    except pa.ArrowInvalid as error:
        raise InputError(f"{table}: {path} is not a Parquet file: {str(error).splitlines()[0]}") from None
    for column in expected:
        if column.name not in schema.names:
            raise InputError(f"{table} lacks column {column.name} ({column.type}) in {path}; found {schema.names}")
        column_type = schema.field(column.name).type
        if _parquet_type(column_type) != column.type:
            raise InputError(f"{table}: column {column.name} is {column_type} in {path}; wanted {column.type}")


def _parquet_type(arrow_type: pa.DataType) -> pa.DataType:
    """Return the type as stored in Parquet, which does not distinguish Arrow's string types."""
    if pa.types.is_dictionary(arrow_type):
        arrow_type = arrow_type.value_type
    return pa.string() if pa.types.is_large_string(arrow_type) or pa.types.is_string_view(arrow_type) else arrow_type
