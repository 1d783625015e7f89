"""The landing zone: its location, the files of a table and date, and their check against the contract.

Uses Arrow only.
"""

import datetime as dt
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from jobs.tables.schemas import LANDING, UNDATED
from model.cli import InputError

FIRST_DATE, LAST_DATE = dt.date(2000, 1, 1), dt.date(2100, 1, 1)
"""Other business dates are typing errors. Windows and retention add days to a date, which overflows near year 9999."""

UNFINISHED = (".tmp", ".part", "._copying_")
"""Endings of files that a transfer is still writing; the last one is that of `hdfs dfs -put`."""

N_NAMES_SHOWN = 5

_UNSAFE_FOR_DELTA = re.compile(r"[\[\]|^\\]|%[0-9A-Fa-f]{2}|[\x00-\x1f\x7f]")
"""delta-rs 1.6 crashes on brackets, `|` and `^`, takes a backslash for `/`, and decodes `%41` in some calls only."""


class Place(NamedTuple):
    """A folder or URI, opened. It can be pickled, so that Spark's workers can use it."""

    uri: str
    """As given; a local path is absolute."""
    filesystem: fs.FileSystem
    path: str
    """Path within the filesystem."""


def open_place(uri: str, flag: str = "folder") -> Place:
    """Open a folder or URI. A leading `~` is the home folder.

    Args:
        uri: folder or URI.
        flag: name of the setting, for messages.

    Raises:
        InputError: the text is empty or no path, or pyarrow does not support this kind of URI.
    """
    wanted = "give a folder or a URI such as s3://bucket/path"
    if not uri.strip() or "\0" in uri or uri != uri.encode(errors="ignore").decode():
        raise InputError(f"{flag} {uri!r} is empty or not a path; {wanted}")
    if "://" not in uri:
        try:
            path = str(Path(uri).expanduser().resolve())
        except (RuntimeError, OSError) as error:  # no home folder; a loop of links
            raise InputError(f"{flag} {uri!r} can't be opened: {error}; {wanted}") from None
        return Place(path, fs.LocalFileSystem(), path)
    scheme, _, rest = uri.partition("://")
    try:
        # s3a is Hadoop's name for what pyarrow calls s3.
        filesystem, path = fs.FileSystem.from_uri(f"s3://{rest}" if scheme == "s3a" else uri)
    except pa.ArrowInvalid as error:
        raise InputError(f"{flag} {uri!r} can't be opened: {error}; {wanted}") from None
    except OSError as error:
        if not re.search("libjvm|libhdfs", str(error)):
            raise
        reason = str(error).partition("\n")[0]
        wanted = "set JAVA_HOME, HADOOP_HOME and CLASSPATH (the output of `hadoop classpath --glob`)"
        raise InputError(f"{flag} {uri!r} can't be opened: {reason}; {wanted}") from None
    if isinstance(filesystem, fs.LocalFileSystem):
        return Place(path, filesystem, path)
    return Place(uri.rstrip("/"), filesystem, path)


def open_warehouse(uri: str) -> Place:
    """Open the root of the warehouse.

    Raises:
        InputError: as in `open_place`, or the path has characters that the Delta library does not support.
    """
    place = open_place(uri, "--warehouse")
    if unsafe := _UNSAFE_FOR_DELTA.search(place.path):
        raise InputError(
            f"--warehouse {uri!r} contains {unsafe[0]!r}, which Delta tables do not support; choose a path without "
            r"[ ] | ^ \ control characters, and % followed by two hexadecimal digits"
        )
    return place


def check_business_date(date: dt.date) -> None:
    """Check that a business date can be one.

    Raises:
        InputError: it is before `FIRST_DATE` or after `LAST_DATE`.
    """
    if not FIRST_DATE <= date <= LAST_DATE:
        raise InputError(f"--business-date {date} is not between {FIRST_DATE} and {LAST_DATE}")


def table_folder(table: str, business_date: dt.date) -> str:
    """Return the folder of a landing table and date, below the root of the landing zone.

    >>> table_folder("receipts", dt.date(2026, 11, 9))
    'receipts/business_date=2026-11-09'
    >>> table_folder("products", dt.date(2026, 11, 9))
    'products'
    """
    return table if table in UNDATED else f"{table}/business_date={business_date}"


class Landed(NamedTuple):
    """The entries of a landing folder, sorted."""

    files: list[str]
    """Paths of the Parquet files."""
    unfinished: list[str]
    """Names of files that a transfer is still writing."""


def landed(place: Place, folder: str) -> Landed:
    """List a landing folder. Names that start with `_` or `.` are ignored.

    Args:
        place: the landing zone.
        folder: from `table_folder`.

    Raises:
        InputError: the folder has entries that no job would read, or is none; the message names them.
    """
    path = f"{place.path}/{folder}"
    _check_folder(place, path)
    try:
        entries = place.filesystem.get_file_info(fs.FileSelector(path, allow_not_found=True))
        shown = sorted((entry for entry in entries if entry.base_name[:1] not in ("_", ".")), key=lambda e: e.path)
    except UnicodeDecodeError as error:
        raise InputError(f"{path} contains a name that is not UTF-8: {error.object!r}; rename it") from None
    files, unfinished, strays = [], [], _dangling_links(place, path, {entry.base_name for entry in shown})
    for entry in shown:
        name = entry.base_name.lower()
        if entry.is_file and name.endswith(UNFINISHED):
            unfinished.append(entry.base_name)
        elif entry.is_file and name.endswith(".parquet"):
            files.append(entry.path)
        else:
            strays.append(f"{entry.base_name!r} ({_KINDS[entry.type]})")
    if strays:
        raise InputError(
            f"{path} contains {_listed(strays)}; only files that end in .parquet are read. Move or rename the others "
            "(names that start with _ or . are ignored)"
        )
    return Landed(files, unfinished)


def _check_folder(place: Place, path: str) -> None:
    """Refuse a local file, or a link to nothing, in the place of a folder: it would look as if nothing had landed."""
    for each in (Path(path), Path(path).parent) if isinstance(place.filesystem, fs.LocalFileSystem) else ():
        if each.is_symlink() and not each.exists():
            raise InputError(f"{each} is a link to a missing folder")
        if each.exists() and not each.is_dir():
            raise InputError(f"{each} is a file; it must be a folder")


_KINDS = {fs.FileType.File: "file", fs.FileType.Directory: "folder", fs.FileType.Unknown: "no regular file"}


def _dangling_links(place: Place, path: str, listed: set[str]) -> list[str]:
    """Describe the entries of a local folder that Arrow does not list."""
    if not (isinstance(place.filesystem, fs.LocalFileSystem) and Path(path).is_dir()):
        return []
    names = sorted(name for name in os.listdir(path) if name[0] not in "_." and name not in listed)  # noqa: PTH208
    return [f"{name!r} (link to a missing file)" for name in names if not Path(path, name).exists()]


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - N_NAMES_SHOWN} more" if len(names) > N_NAMES_SHOWN else ""
    return ", ".join(names[:N_NAMES_SHOWN]) + more


def check_root(landing: Place) -> None:
    """Fail if the landing zone does not exist, because then no table is missing.

    Raises:
        InputError: it is not a folder.
    """
    if landing.filesystem.get_file_info(landing.path).type != fs.FileType.Directory:
        raise InputError(f"--landing {landing.uri}: the folder does not exist")


def landing_files(landing: Place, table: str, business_date: dt.date) -> list[str]:
    """Return the Parquet files of a landing table and date, after a check against the contract.

    Raises:
        InputError: there is no file for the date, an entry is not a complete Parquet file, or a column is missing,
            occurs twice or has a wrong type.
    """
    folder = table_folder(table, business_date)
    paths, unfinished = landed(landing, folder)
    if unfinished:
        raise InputError(
            f"{table} of {business_date} is not complete: {landing.path}/{folder} has {_listed(unfinished)}"
        )
    if not paths:
        check_root(landing)
        raise InputError(f"{table} of {business_date} is missing: there is no Parquet file in {landing.path}/{folder}")

    def check(path: str) -> None:
        _check_columns(f"{table} of {business_date}", path, landing.filesystem, LANDING[table])

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(check, paths))
    return paths


def _check_columns(table: str, path: str, filesystem: fs.FileSystem, expected: pa.Schema) -> None:
    try:
        with filesystem.open_input_file(path) as file:
            schema = pq.read_schema(file)
    except PermissionError:
        raise InputError(f"permission denied: {table}: {path}; give the account of the jobs access") from None
    except (pa.ArrowInvalid, OSError, UnicodeDecodeError) as error:
        # Arrow raises OSError for damaged footers too. A fault of a disk has a number; one of an object store has none.
        if isinstance(error, OSError) and (
            error.errno if isinstance(filesystem, fs.LocalFileSystem) else "thrift" not in str(error)
        ):
            raise
        raise InputError(f"{table}: {path} is not a Parquet file: {str(error).splitlines()[0]}") from None
    for column in expected:
        same = [name for name in schema.names if name.lower() == column.name]  # DuckDB ignores case
        if len(same) > 1:
            raise InputError(f"{table}: column {column.name} occurs {len(same)} times in {path}: {', '.join(same)}")
        if column.name not in same:
            raise InputError(f"{table} lacks column {column.name} ({column.type}) in {path}; found {schema.names}")
        column_type = schema.field(column.name).type
        if parquet_type(column_type) != column.type:
            raise InputError(f"{table}: column {column.name} is {column_type} in {path}; wanted {column.type}")


def parquet_type(arrow_type: pa.DataType) -> pa.DataType:
    """Return the type as stored in Parquet, which does not distinguish Arrow's string types."""
    if pa.types.is_dictionary(arrow_type):
        arrow_type = arrow_type.value_type
    return pa.string() if pa.types.is_large_string(arrow_type) or pa.types.is_string_view(arrow_type) else arrow_type
