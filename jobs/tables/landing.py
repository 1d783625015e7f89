"""The landing zone: where it is, whether a table has landed for a date, and whether its files keep the contract.

Arrow only: all of this is known before Spark starts.
"""

import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from jobs.tables.schemas import LANDING, UNDATED
from model.cli import InputError


def open_filesystem(uri: str) -> tuple[fs.FileSystem, str, str]:
    """Return the pyarrow filesystem of a folder or URI, the path in it, and what Spark wants before that path.

    Raises:
        InputError: the URI is of a kind that pyarrow does not read.
    """
    if "://" not in uri:
        return fs.LocalFileSystem(), str(Path(uri).resolve()), "file://"
    scheme, _, rest = uri.partition("://")
    try:
        # s3a is Hadoop's name for what pyarrow calls s3.
        filesystem, path = fs.FileSystem.from_uri(f"s3://{rest}" if scheme == "s3a" else uri)
    except pa.ArrowInvalid as error:
        raise InputError(
            f"{uri!r} can't be opened: {error}; give a folder or a URI such as s3a://bucket/path"
        ) from None
    authority = rest.removesuffix(path) if rest.endswith(path) else ""
    return filesystem, path, f"{scheme}://{authority}"


def table_folder(table: str, business_date: dt.date) -> str:
    """Return the folder of a landing table and date, below the root of the landing zone."""
    return table if table in UNDATED else f"{table}/business_date={business_date}"


def parquet_paths(filesystem: fs.FileSystem, folder: str) -> list[str]:
    """Return the data files in a folder, sorted; names that begin with `_` or `.` are still being written."""
    entries = filesystem.get_file_info(fs.FileSelector(folder, allow_not_found=True))
    named = (entry for entry in entries if entry.is_file and not entry.base_name.startswith(("_", ".")))
    return sorted(entry.path for entry in named if entry.extension == "parquet")


def landing_files(landing: str, table: str, business_date: dt.date) -> list[str]:
    """Return the Parquet files of one landing table and date as Spark reads them, each checked against the contract.

    Raises:
        InputError: no file for the date, a file that is no Parquet, a column that is missing or of another type.
    """
    filesystem, root, prefix = open_filesystem(landing)
    folder = f"{root}/{table_folder(table, business_date)}"
    paths = parquet_paths(filesystem, folder)
    if not paths:
        raise InputError(f"{table} of {business_date} is absent: there is no Parquet file in {folder}")

    def check(path: str) -> None:
        _check_columns(f"{table} of {business_date}", path, filesystem, LANDING[table])

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(check, paths))
    return [f"{prefix}{path}" for path in paths]


def _check_columns(table: str, path: str, filesystem: fs.FileSystem, wanted: pa.Schema) -> None:
    try:
        with filesystem.open_input_file(path) as file:
            found = pq.read_schema(file)
    except pa.ArrowInvalid as error:
        raise InputError(f"{table}: {path} is no Parquet file: {str(error).splitlines()[0]}") from None
    for column in wanted:
        if column.name not in found.names:
            raise InputError(f"{table} lacks column {column.name} ({column.type}) in {path}; found {found.names}")
        found_type = found.field(column.name).type
        if _plain(found_type) != column.type:
            raise InputError(f"{table}: column {column.name} is {found_type} in {path}; wanted {column.type}")


def _plain(found: pa.DataType) -> pa.DataType:
    """Return the type that Parquet stores: Arrow writers differ in how they hold strings in memory."""
    if pa.types.is_dictionary(found):
        found = found.value_type
    return pa.string() if pa.types.is_large_string(found) or pa.types.is_string_view(found) else found
