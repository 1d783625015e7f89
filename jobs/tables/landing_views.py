"""The landing tables of a date as views of a DuckDB connection."""

import re
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

from jobs.tables.landing import Place, parquet_type
from jobs.tables.schemas import LANDING


def create_landing_views(connection: duckdb.DuckDBPyConnection, files: Mapping[str, Sequence[str]]) -> None:
    """Create or replace the views `landing.<table>`, with the columns of the contract.

    Args:
        connection: to DuckDB.
        files: Parquet files of each table, checked against the contract; from `local_files`.
    """
    connection.execute("CREATE SCHEMA IF NOT EXISTS landing")
    for table, paths in files.items():
        columns = ", ".join(f"{name} AS {name}" for name in LANDING[table].names)  # in the case of the contract
        listed = ", ".join(map(_quoted, paths))
        # Parquet's statistics leave out NaN. Unless DuckDB expects it, it takes a comparison with NaN for false unseen.
        options = "union_by_name := true, hive_partitioning := false, can_have_nan := true"
        connection.execute(
            f"CREATE OR REPLACE VIEW landing.{table} AS SELECT {columns} FROM read_parquet([{listed}], {options})"  # noqa: S608 - quoted
        )


def _quoted(path: str) -> str:
    """Return a path as a literal. DuckDB takes paths as glob patterns."""
    escaped = re.sub(r"([\[*?])", r"[\1]", path).replace("'", "''")
    return f"'{escaped}'"


def local_files(place: Place, files: Mapping[str, Sequence[str]], scratch: Path) -> Mapping[str, Sequence[str]]:
    """Return files in `scratch` that DuckDB can read: links to local files, and copies of others.

    Links, because DuckDB takes paths as glob patterns, in which a backslash and a bracket can't both be escaped.
    """

    def bring(path: str, name: str) -> str:
        if isinstance(place.filesystem, fs.LocalFileSystem):
            (scratch / name).symlink_to(path)
        else:
            with place.filesystem.open_input_stream(path) as source, (scratch / name).open("wb") as target:
                shutil.copyfileobj(source, target, 2**20)
        return str(scratch / name)

    with ThreadPoolExecutor(16) as threads:
        return {
            table: list(threads.map(bring, paths, [f"{table}-{number}.parquet" for number in range(len(paths))]))
            for table, paths in files.items()
        }


def repaired_files(files: Mapping[str, Sequence[str]], scratch: Path) -> Mapping[str, Sequence[str]]:
    r"""Copy the columns of the contract to `scratch`, with `\xe9` as text for a byte E9 that is not UTF-8.

    Spark and Arrow write such texts, and DuckDB refuses the file. One of them must not stop the night. Different ids
    stay different unless another id has this text, and the backslash makes a path unsafe.
    """
    repaired = {}
    for table, paths in files.items():
        repaired[table] = [str(scratch / f"{table}-{number}-repaired.parquet") for number in range(len(paths))]
        for path, target in zip(paths, repaired[table], strict=True):
            file = pq.ParquetFile(path)
            rows = file.read([name for name in file.schema_arrow.names if name.lower() in LANDING[table].names])
            for number, field in enumerate(rows.schema):
                if parquet_type(field.type) == pa.string():
                    rows = rows.set_column(number, field.name, as_utf8(rows[number]))
            pq.write_table(rows, target)
    return repaired


def as_utf8(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    r"""Return a column of text or bytes as text, with `\xe9` for a byte E9 that is not UTF-8; null stays null."""
    plain = pc.dictionary_decode(texts) if pa.types.is_dictionary(texts.type) else texts
    raw = plain.cast(pa.large_binary())
    try:
        return raw.cast(pa.large_string())
    except pa.ArrowInvalid:
        decoded = [None if text is None else text.decode(errors="backslashreplace") for text in raw.to_pylist()]
        return pa.chunked_array([decoded], pa.large_string())
