"""The landing tables of a date as views of a DuckDB connection."""

import re
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from jobs.tables.landing import Place
from jobs.tables.schemas import LANDING


def create_landing_views(connection: duckdb.DuckDBPyConnection, files: Mapping[str, Sequence[str]]) -> None:
    """Create or replace the views `landing.<table>`, with the columns of the contract.

    Args:
        connection: to DuckDB.
        files: local Parquet files of each table, checked against the contract.
    """
    connection.execute("CREATE SCHEMA IF NOT EXISTS landing")
    for table, paths in files.items():
        source = f"__landing_{table}"
        # DuckDB takes paths as glob patterns.
        escaped = [re.sub(r"([\[*?])", r"[\1]", path) for path in paths]
        rows = connection.read_parquet(escaped, union_by_name=True, hive_partitioning=False)
        rows.create_view(source)
        columns = ", ".join(f"{name} AS {name}" for name in LANDING[table].names)  # the case of names may differ
        connection.execute(f"CREATE OR REPLACE VIEW landing.{table} AS SELECT {columns} FROM {source}")  # noqa: S608 - no user input


def local_files(place: Place, files: Mapping[str, Sequence[str]], scratch: Path) -> Mapping[str, Sequence[str]]:
    """Return files that DuckDB can read: those of another filesystem are copied to `scratch`."""
    if isinstance(place.filesystem, fs.LocalFileSystem):
        return files

    def copy(path: str, name: str) -> str:
        with place.filesystem.open_input_stream(path) as source, (scratch / name).open("wb") as target:
            shutil.copyfileobj(source, target, 2**20)
        return str(scratch / name)

    with ThreadPoolExecutor(16) as threads:
        return {
            table: list(threads.map(copy, paths, [f"{table}-{number}.parquet" for number in range(len(paths))]))
            for table, paths in files.items()
        }


def repaired_files(files: Mapping[str, Sequence[str]], scratch: Path) -> Mapping[str, Sequence[str]]:
    """Copy files to `scratch`, with U+FFFD for each byte of a text that is not UTF-8.

    Spark and Arrow write such texts, and DuckDB refuses the file. One of them must not stop the night.
    """
    repaired = {}
    for table, paths in files.items():
        repaired[table] = [str(scratch / f"{table}-{number}-repaired.parquet") for number in range(len(paths))]
        for path, target in zip(paths, repaired[table], strict=True):
            rows = pq.read_table(path)
            for number, field in enumerate(rows.schema):
                if pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
                    rows = rows.set_column(number, field, _as_utf8(rows[number]))
            pq.write_table(rows, target)
    return repaired


def _as_utf8(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        raw = texts.cast(pa.large_binary()).to_pylist()
        return pa.chunked_array([[None if text is None else text.decode(errors="replace") for text in raw]], texts.type)
    return texts
