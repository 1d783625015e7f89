"""Known faults of storage, memory, Java, Python workers and damaged files, each as one readable line.

An error that is not known here is a defect and keeps its traceback.
"""

import errno
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError
from pyarrow import fs

from jobs.tables.landing import Place, open_warehouse
from jobs.tables.schemas import LANDING, WAREHOUSE
from model.cli import InputError, TryAgainError

Known = InputError | TryAgainError

Files = tuple[fs.FileSystem, Sequence[str]]
"""Paths of Parquet files within a filesystem."""

READ_BY_THEIR_WRITER = ("restricted/photo_ages", "restricted/cashier_cases")
"""Tables whose old rows their job reads before it replaces them, so that it can't repair them."""

MEMORY_VARIABLE = "BREAD_SALT_DUCKDB_MEMORY"

_FULL = re.compile(r"No space left on device|Disk quota exceeded|'max_temp_directory_size'")
"""The last one is the error of DuckDB when its scratch folder has taken all that was free at its start."""
_GONE = re.compile(r"Object at location (.+?) not found")
_NETWORK = re.compile(
    r"AWS Error NETWORK|curlCode|error sending request|SocketTimeout|ConnectTimeout|UnknownHost|ConnectException|"
    r"NoRouteToHost|operation timed out",
    re.IGNORECASE,
)
_DENIED = re.compile(r"Access_?Denied|403 Forbidden|AccessControlException|Permission denied", re.IGNORECASE)
_NO_BUCKET = re.compile(r"NoSuchBucket|Bucket '[^']*' not found")
_NESTED = re.compile(r"\x1b\[\d+m|↳|<[^>]*>")
"""What delta-rs puts around the causes of an error: colours, arrows, and the XML of an S3 server."""
_ARROW_DAMAGE = re.compile(
    r"thrift|magic bytes|Parquet|corrupt|invalid or truncated|Invalid BYTE_ARRAY|unexpected end|EOF|decompress|"
    r"Requested range was invalid|data page|dictionary|decod|stream registered as",
    re.IGNORECASE,
)


@contextmanager
def explained(warehouse: str | None = None) -> Iterator[None]:
    """Replace known errors by one readable line; see `explain`."""
    try:
        yield
    except Exception as error:
        if known := explain(error, warehouse):
            raise known from error
        raise


def explain(error: BaseException, warehouse: str | None = None, landed: Files | None = None) -> Known | None:
    """Return a known fault as one readable line.

    Args:
        error: any error.
        warehouse: root of the warehouse. Arrow's errors often name no file: then it is searched for the damaged one.
        landed: files of the landing zone that the job reads, which are searched first.

    Returns:
        `InputError` if a person must act, `TryAgainError` if the fault passes by itself, None if it is not known, or
        is readable already.
    """
    chain = list(_chain(error))
    if isinstance(error, InputError | TryAgainError) or not isinstance(error, Exception):
        return None
    text = "\n".join(str(link) for link in chain)
    if any(isinstance(link, CommitFailedError) for link in chain):
        return TryAgainError(f"another job changed a table at the same time, run again: {_first_line(text)}")
    if gone := _GONE.search(text):
        return _removed(gone[1])
    known = _of_space(chain, text, warehouse) or _of_processes(text) or _of_bucket(text) or _of_access(chain, text)
    if known is None and isinstance(error, DeltaError):
        return _of_delta(text, warehouse)
    return known or _of_files(error, text, warehouse, landed)


def _of_space(chain: Sequence[BaseException], text: str, warehouse: str | None) -> Known | None:
    is_full = any(isinstance(link, OSError) and link.errno in (errno.ENOSPC, errno.EDQUOT) for link in chain)
    if is_full or _FULL.search(text):
        output = f"the warehouse {warehouse}" if warehouse else "the output"
        return InputError(
            f"a disk is full: no space left on device; make room where {output} and {tempfile.gettempdir()} (temporary "
            "files, TMPDIR) are, then run again"
        )
    if any(isinstance(link, duckdb.OutOfMemoryException) for link in chain):
        limit = os.environ.get(MEMORY_VARIABLE) or "the default"
        return InputError(
            f"not enough memory: {_first_line(text)}; raise {MEMORY_VARIABLE} (now {limit}), for example to 8GB"
        )
    return None


def _of_processes(text: str) -> Known | None:
    python = f"PYSPARK_PYTHON {os.environ.get('PYSPARK_PYTHON', '')}"
    if "[JAVA_GATEWAY_EXITED]" in text:
        java = os.environ.get("JAVA_HOME", "not set")
        return InputError(f"Spark's Java process ended at its start; its messages are above (JAVA_HOME {java})")
    # ENOENT and EACCES; other numbers, such as a lack of memory, say nothing about the program.
    if missing := re.search(r'Cannot run program "[^"]+"[^\n]*error=(?:2|13)\b[^\n]*', text):
        return InputError(f"{python} does not start for Spark's workers: {missing[0]}")
    if module := re.search(
        r"(?:python worker:?[\s\S]*)(No module named \S+)|\[PYTHON_VERSION_MISMATCH\][^\n]*", text, re.IGNORECASE
    ):
        return InputError(f"{python} can't run this project in Spark's workers: {module[1] or module[0]}")
    return None


def _of_bucket(text: str) -> Known | None:
    if _NO_BUCKET.search(text):
        return InputError(f"the bucket does not exist: {_first_line(text)}; create it, or correct the URI")
    if "URL scheme is not allowed" in text:
        return InputError(
            f"the object store has an http address: {_first_line(text)}; set AWS_ALLOW_HTTP=true if that is meant"
        )
    return None


def _of_access(chain: Sequence[BaseException], text: str) -> Known | None:
    denied = next((line for line in text.splitlines() if _DENIED.search(line) and "↳" not in line), None)
    if not _DENIED.search(text) and not any(isinstance(link, PermissionError) for link in chain):
        return None
    return InputError(f"permission denied: {denied or _first_line(text)}; give the account of the jobs access")


def _of_delta(text: str, warehouse: str | None) -> Known | None:
    if _NETWORK.search(text):
        return TryAgainError(f"warehouse {warehouse}: the storage did not answer: {_first_line(text)}")
    log = _damaged_log(warehouse) if warehouse else None
    return InputError(f"{log} is damaged: {_first_line(text)}; restore it from a backup") if log else None


def _of_files(error: Exception, text: str, warehouse: str | None, landed: Files | None) -> Known | None:
    of_storage = isinstance(error, OSError) and error.errno is None
    # What DuckDB raised for 600 damaged files; another error is one of a statement. The files may have many gigabytes.
    of_duckdb = type(error) is duckdb.Error or isinstance(error, duckdb.IOException | duckdb.InvalidInputException)
    if not (of_storage or of_duckdb or isinstance(error, FileNotFoundError | pa.ArrowInvalid)):
        return None
    if of_storage and _NETWORK.search(text):
        return TryAgainError(f"the storage did not answer: {_first_line(text)}")
    named = re.search(r"'__(restricted|analytics)_(\w+)'", text)  # DuckDB names the table that it scans
    if landed and not named and (known := _in_files(*landed)):
        return known
    if not (warehouse and _ARROW_DAMAGE.search(text)):
        return None
    tables = [f"{named[1]}/{named[2]}"] if named else list(WAREHOUSE)
    place = open_warehouse(warehouse)
    return _in_files(place.filesystem, _files_of(place, tables))


def _removed(file: str) -> TryAgainError:
    return TryAgainError(f"{_described(file)} was removed while it was read; run again")


def _damaged(file: str, reason: str) -> InputError:
    table = _table(file)
    if table in LANDING:
        remedy = "deliver the file again"
    elif table in READ_BY_THEIR_WRITER:
        remedy = "restore the file from a backup, or remove the folder of the table and run its dates again"
    else:
        date = re.search(r"business_date=([\d-]+)", file)
        remedy = f"run the jobs again for {date[1]}" if date else "run the jobs of its date again"
    return InputError(f"{_described(file)} is damaged: {reason}; {remedy}")


def _described(file: str) -> str:
    table = _table(file)
    return f"{table}: {file}" if table else file


def _table(file: str) -> str:
    """Return the table of a file by its path, or an empty text."""
    parts = file.split("/")[:-1]
    while parts and "=" in parts[-1]:
        parts.pop()
    qualified = "/".join(parts[-2:])
    return qualified if qualified in WAREHOUSE else next((name for name in parts[-1:] if name in LANDING), "")


def _in_files(filesystem: fs.FileSystem, paths: Iterable[str]) -> Known | None:
    """Read Parquet files until one fails, and name it."""
    for path in paths:
        try:
            with filesystem.open_input_file(path) as opened:
                for _ in pq.ParquetFile(opened).iter_batches():
                    pass
        except PermissionError:
            return InputError(f"permission denied: {_described(path)}; give the account of the jobs access")
        except FileNotFoundError:
            return _removed(path)
        except (OSError, pa.ArrowException) as error:
            reason = _first_line(str(error))
            if _NETWORK.search(reason):
                return TryAgainError(f"{_described(path)}: the storage did not answer: {reason}")
            return _damaged(path, reason)
    return None


def _files_of(place: Place, tables: Iterable[str]) -> Iterator[str]:
    for name in tables:
        uri = f"{place.uri}/{name}"
        if DeltaTable.is_deltatable(uri):
            n_parts = len(WAREHOUSE[name].partition_by) + 1
            for file in DeltaTable(uri).file_uris():
                yield "/".join([place.path, name, *file.split("/")[-n_parts:]])


def _damaged_log(warehouse: str) -> str | None:
    """Return the log folder of the first table that can't be opened."""
    uri = open_warehouse(warehouse).uri
    for name in WAREHOUSE:
        try:
            if DeltaTable.is_deltatable(f"{uri}/{name}"):
                DeltaTable(f"{uri}/{name}")
        except (DeltaError, OSError, ValueError):
            return f"{name}: {uri}/{name}/_delta_log"
    return None


def _first_line(text: str) -> str:
    """Return the first line that has text, with the causes that delta-rs writes below it."""
    first, *below = [line for line in text.splitlines() if line.strip()] or [""]
    causes = [_NESTED.sub("", line).strip() for line in takewhile(lambda line: "↳" in line, below)]
    return ": ".join([first.strip(), *filter(None, causes)])


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
