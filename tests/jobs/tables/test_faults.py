"""Faults of real files and programs, each as one readable line."""

import datetime as dt
import re
import shutil
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake.exceptions import CommitFailedError, DeltaError

from jobs.tables import faults, spark as spark_module
from jobs.tables.duck import connect, execute
from jobs.tables.faults import explain, explained
from jobs.tables.schemas import WAREHOUSE
from jobs.tables.spark import check_java, check_worker_python
from jobs.tables.warehouse import Warehouse
from model.cli import InputError, TryAgainError

DATE = dt.date(2026, 11, 9)
COUNTS = "restricted/daily_counts"


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("written")
    warehouse = Warehouse(str(root))
    warehouse.create_tables()
    counts = [{"age_year": n % 90, "level": "product", "item": f"p{n}", "n_receipts": n} for n in range(3000)]
    rows = pa.Table.from_pylist(counts, schema=WAREHOUSE[COUNTS].row_schema)
    warehouse.replace(COUNTS, rows, DATE)
    return root


@pytest.fixture
def warehouse(written, tmp_path) -> Path:
    return shutil.copytree(written, tmp_path / "warehouse")


def by_arrow(root):
    Warehouse(str(root)).rows(COUNTS)


def by_duckdb(root):
    with connect(str(root), restricted=True) as connection:
        execute(connection, "SELECT SUM(n_receipts), MAX(item), SUM(age_year) FROM restricted.daily_counts", {})


@pytest.mark.parametrize("spoiled", [(30, 9000), (-80, -20), (-8, None)], ids=["page", "footer", "end"])
@pytest.mark.parametrize("read", [by_arrow, by_duckdb])
def test_a_damaged_file_of_the_warehouse_is_named_with_its_table(warehouse, read, spoiled, flip):
    file = next((warehouse / COUNTS).rglob("*.parquet"))
    flip(file, *spoiled)
    with pytest.raises(InputError) as error, explained(str(warehouse)):
        read(warehouse)
    assert str(error.value).startswith(f"{COUNTS}: {file} is damaged: ")
    assert str(error.value).endswith("; run the jobs again for 2026-11-09")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("read", [by_arrow, by_duckdb])
def test_a_file_that_another_job_removed_means_retry(warehouse, read):
    file = next((warehouse / COUNTS).rglob("*.parquet"))
    file.unlink()
    message = f"{COUNTS}: .*{file.name} was removed while it was read; run again$"
    with pytest.raises(TryAgainError, match=message), explained(str(warehouse)):
        read(warehouse)


@pytest.mark.parametrize("open_it", [lambda root: Warehouse(str(root)).check_schemas(), by_duckdb])
def test_a_damaged_delta_log_is_named(warehouse, open_it):
    log = warehouse / "analytics" / "run_quality" / "_delta_log"
    (log / "00000000000000000000.json").write_text("{no json\n")
    message = f"^analytics/run_quality: {log} is damaged: .*; restore it from a backup$"
    with pytest.raises(InputError, match=message), explained(str(warehouse)):
        open_it(warehouse)


def write_to_a_full_device():
    with Path("/dev/full").open("w") as file:
        file.write("x")


def write_delta_to_a_full_disk():
    # As recorded on a full disk, which a test can't make without the rights of root.
    raise DeltaError("External: Generic LocalFileSystem error: Unable to copy data to file: No space left on device")


def shuffle_to_a_full_disk():
    raise RuntimeError(
        "An error occurred while calling o57.collectToPython.\n: org.apache.spark.SparkException: Job aborted due to "
        "stage failure: Task 0 in stage 1.0 failed 1 times\n\tat org.apache.spark\n"
        "Caused by: java.io.IOException: No space left on device"
    )


@pytest.mark.parametrize("write", [write_to_a_full_device, write_delta_to_a_full_disk, shuffle_to_a_full_disk])
def test_a_full_disk_is_one_line_that_says_where_to_make_room(write, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/scratch")
    message = r"^a disk is full: .* the warehouse /w and /scratch .* are, then run again$"
    with pytest.raises(InputError, match=message), explained("/w"):
        write()


@pytest.mark.parametrize(
    "error",
    [
        PermissionError(13, "Permission denied", "/chain/landing"),
        DeltaError("Generic LocalFileSystem error: Unable to create dir\nPermission denied (os error 13)"),
        OSError("Generic LocalFileSystem error: Unable to open file: Permission denied (os error 13)"),
    ],
)
def test_a_lack_of_permission_is_one_line_and_no_damage(error, warehouse):
    known = explain(error, str(warehouse))
    assert isinstance(known, InputError)
    assert re.fullmatch("permission denied: .*ermission denied.*; give the account of the jobs access", str(known))


def test_a_file_without_permission_is_not_called_damaged(warehouse, monkeypatch):
    file = next((warehouse / COUNTS).rglob("*.parquet"))

    def refuse(_):
        raise PermissionError(13, "Permission denied", str(file))

    monkeypatch.setattr(faults.pq, "ParquetFile", refuse)  # the superuser, who may run this test, can read all files
    known = explain(OSError("Parquet file can't be read"), str(warehouse))
    assert str(known) == f"permission denied: {COUNTS}: {file}; give the account of the jobs access"


def test_a_lost_race_means_retry():
    with pytest.raises(TryAgainError, match="another job changed a table at the same time, run again"), explained():
        raise CommitFailedError("Failed to commit transaction: 15")


@pytest.mark.parametrize("error", [ZeroDivisionError("x"), OSError(5, "Input/output error"), DeltaError("new")])
def test_an_unknown_error_stays_as_it_is(error, written):
    with pytest.raises(type(error)) as raised, explained(str(written)):
        raise error
    assert raised.value is error


@pytest.fixture
def program(tmp_path):
    """Return a function that writes a shell script and returns its path."""

    def write(text: str, name: str = "bin/java") -> Path:
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)
        return file

    return write


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("#!/bin/sh\n", "is silent; set JAVA_HOME"),
        ("#!/bin/sh\nexit 3", r"is silent \(exit code 3\); set JAVA_HOME"),
        ("#!/bin/sh\necho 'Could not create the VM' >&2; exit 1", r"is Could not create the VM \(exit code 1\)"),
        ("#!/bin/sh\nexec sleep 60", "does not work: .*timed out after 0.5 seconds"),
        ("no program", "does not work: .*Exec format error"),
        ("#!/nowhere\n", "does not work: .*No such file"),
    ],
)
def test_a_broken_java_is_one_line(program, tmp_path, monkeypatch, script, message):
    program(script)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    monkeypatch.setattr(spark_module, "START_SECONDS", 0.5)
    with pytest.raises(InputError, match=f"Spark needs Java 17 or 21, and .*/bin/java {message}") as error:
        check_java()
    assert "\n" not in str(error.value)


def test_a_wrong_python_of_the_workers_is_one_line(program, monkeypatch):
    def check(python: object) -> None:
        monkeypatch.setenv("PYSPARK_PYTHON", str(python))
        check_worker_python()

    check(sys.executable)
    with pytest.raises(InputError, match=r"PYSPARK_PYTHON /nowhere/python can't run this project: .*No such file"):
        check("/nowhere/python")
    with pytest.raises(InputError, match="can't run this project: exit code 1; wanted: "):
        check("/bin/false")
    bare = program(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"', "bin/python")
    with pytest.raises(
        InputError, match=f"PYSPARK_PYTHON {bare} can't run this project: ModuleNotFoundError: No module"
    ):
        check(bare)


@pytest.mark.parametrize(
    "text",
    [
        'Lost task 0.0: java.io.IOException: Cannot run program "/nowhere/python": error=2, No such file\n',
        "An exception was thrown from the Python worker:\nTraceback\nModuleNotFoundError: No module named 'pandas'\n",
    ],
)
def test_a_wrong_python_on_a_worker_machine_is_one_line(text, monkeypatch):
    monkeypatch.setenv("PYSPARK_PYTHON", "/nowhere/python")
    error = explain(RuntimeError(text))
    assert isinstance(error, InputError)
    assert str(error).startswith("PYSPARK_PYTHON /nowhere/python ")
    assert "\n" not in str(error)
