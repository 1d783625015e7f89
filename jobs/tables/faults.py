"""Known faults of storage, Java, Python workers and damaged files, each as one readable line.

An error that is not known here is a defect and keeps its traceback.
"""

import errno
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError

from jobs.tables.landing import open_warehouse
from jobs.tables.schemas import LANDING, WAREHOUSE
from model.cli import InputError, TryAgainError

Known = InputError | TryAgainError

READ_BY_THEIR_WRITER = ("restricted/photo_ages", "restricted/cashier_cases")
"""Tables whose old rows their job reads before it replaces them, so that it can't repair them."""

_FULL = re.compile(r"No space left on device|Disk quota exceeded")
_SPARK_FILE = re.compile(
    r"\[FAILED_READ_FILE\.(\w+)\] Encountered error while reading file (.+?\.parquet)\b", re.IGNORECASE
)
_GONE = re.compile(r"\[PATH_NOT_FOUND\] Path does not exist: (.+?)\. SQLSTATE|Object at location (.+?) not found")
_CAUSE = re.compile(r"^Caused by: (?:[\w.$]+[.$])?(\w+)(?:: (.*))?$", re.MULTILINE)
_NETWORK = re.compile(
    r"AWS Error NETWORK|curlCode|error sending request|SocketTimeout|ConnectTimeout|UnknownHost|ConnectException|"
    r"NoRouteToHost|SdkClientException|operation timed out",
    re.IGNORECASE,
)
_DENIED = re.compile(r"AccessDenied|AccessControlException|Permission denied", re.IGNORECASE)
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


def explain(error: BaseException, warehouse: str | None = None) -> Known | None:
    """Return a known fault as one readable line.

    Args:
        error: any error.
        warehouse: root of the warehouse. Arrow's errors often name no file: then it is searched for the damaged one.

    Returns:
        `InputError` if a person must act, `TryAgainError` if the fault passes by itself, None if it is not known, or
        is readable already.
    """
    chain = list(_chain(error))
    if isinstance(error, InputError | TryAgainError) or not isinstance(error, Exception):
        return None
    text = "\n".join(str(link) for link in chain)
    if any(isinstance(link, OSError) and link.errno in (errno.ENOSPC, errno.EDQUOT) for link in chain) or _FULL.search(
        text
    ):
        scratch = os.environ.get("SPARK_LOCAL_DIRS") or tempfile.gettempdir()
        output = f"the warehouse {warehouse}" if warehouse else "the output"
        return InputError(
            f"a disk is full: no space left on device; make room where {output} and {scratch} (temporary files, "
            "spark.local.dir) are, then run again"
        )
    if any(isinstance(link, CommitFailedError) for link in chain):
        return TryAgainError(f"another job changed a table at the same time, run again: {_first_line(text)}")
    return _of_processes(text) or _of_spark_file(text) or _of_access(chain, text) or _of_arrow(error, text, warehouse)


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


def _of_spark_file(text: str) -> Known | None:
    if found := _SPARK_FILE.search(text):
        kind, file = found[1], _path(found[2])
        causes = [f"{name}: {message}" if message else name for name, message in _CAUSE.findall(text)]
        reason = causes[-1] if causes else "it can't be read"
        if kind == "FILE_NOT_EXIST":
            return _removed(file)
        if _NETWORK.search(text):
            return TryAgainError(f"{file}: the storage did not answer: {reason}")
        if _DENIED.search(text):
            return InputError(f"{file} can't be read: {reason}")
        return _damaged(file, reason)
    gone = _GONE.search(text)
    return _removed(_path(gone[1] or gone[2])) if gone else None


def _of_access(chain: Sequence[BaseException], text: str) -> Known | None:
    denied = next((line for line in text.splitlines() if _DENIED.search(line)), None)
    if denied is None and not any(isinstance(link, PermissionError) for link in chain):
        return None
    return InputError(f"permission denied: {denied or _first_line(text)}; give the account of the jobs access")


def _of_arrow(error: Exception, text: str, warehouse: str | None) -> Known | None:
    if isinstance(error, DeltaError):
        if _NETWORK.search(text):
            return TryAgainError(f"warehouse {warehouse}: the storage did not answer: {_first_line(text)}")
        log = _damaged_log(warehouse) if warehouse else None
        return InputError(f"{log} is damaged: {_first_line(text)}; restore it from a backup") if log else None
    of_storage = isinstance(error, OSError) and error.errno is None
    if not (of_storage or isinstance(error, pa.ArrowInvalid) or type(error).__module__.endswith("duckdb")):
        return None
    if of_storage and _NETWORK.search(text):
        return TryAgainError(f"the storage did not answer: {_first_line(text)}")
    if not (warehouse and _ARROW_DAMAGE.search(text)):
        return None
    named = re.search(r"'__(restricted|analytics)_(\w+)'", text)  # DuckDB names the table that it scans
    return _in_files(warehouse, [f"{named[1]}/{named[2]}"] if named else list(WAREHOUSE), _first_line(text))


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


def _in_files(warehouse: str, tables: Sequence[str], reason: str) -> Known | None:
    """Read tables until a file fails, and name it."""
    place = open_warehouse(warehouse)
    for name in tables:
        uri = f"{place.uri}/{name}"
        if not DeltaTable.is_deltatable(uri):
            continue
        n_parts = len(WAREHOUSE[name].partition_by) + 1
        for file in DeltaTable(uri).file_uris():
            path = "/".join([place.path, name, *file.split("/")[-n_parts:]])
            try:
                with place.filesystem.open_input_file(path) as opened:
                    for _ in pq.ParquetFile(opened).iter_batches():
                        pass
            except PermissionError:
                return InputError(f"permission denied: {_described(path)}; give the account of the jobs access")
            except (OSError, pa.ArrowException):
                return _damaged(path, reason)
    return None


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


def _path(file: str) -> str:
    """Return a path as it is in the file system: Spark writes `file://` before local ones."""
    return re.sub("^file:/+", "/", file)


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
