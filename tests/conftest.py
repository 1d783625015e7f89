"""One Spark session for all tests, which costs five seconds, and how to wait for processes."""

import atexit
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator

import psutil
import pytest
from pyspark.sql import SparkSession

from jobs.tables.spark import spark_session

# Only Java's first compiler: the second one does not pay off for queries that run once. Saves 30 % of the CPU.
# One thread collects garbage. Programs that tests start with Spark get these options through JAVA_TOOL_OPTIONS.
JAVA_OPTIONS = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"

# Before Spark starts, or its workers run the first python3 of the PATH.
os.environ["PYSPARK_PYTHON"] = sys.executable


@atexit.register  # later than every hook: pytest restores stderr after the last one
def discard_stderr() -> None:
    """Discard what DuckDB's binding prints at interpreter exit, after pytest's summary; the exit code stays.

    It checks whether its types are still referenced, for example from a cycle, and prints 40 lines of
    "nanobind: leaked ...", which look like a failure. It has no setting for this. The price: no other error at exit
    is shown either.
    """
    sys.stderr.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--all-points", action="store_true", help="try each kind of fault at each write of each job (tests/jobs/faults)"
    )


@pytest.fixture
def wait_until() -> Callable[[Callable[[], object]], None]:
    """Wait until a condition holds; fail after two minutes."""

    def wait(condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 120
        while not condition():
            assert time.monotonic() < deadline, "the condition is still false after two minutes"
            time.sleep(0.05)

    return wait


@pytest.fixture
def wait_until_ended(wait_until: Callable[[Callable[[], object]], None]) -> Callable[[int], None]:
    """Wait until a process has ended."""

    def has_ended(pid: int) -> bool:
        try:  # in a container, process 1 may not collect orphans: they stay zombies
            return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    return lambda pid: wait_until(lambda: has_ended(pid))


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    scratch = tmp_path_factory.mktemp("spark")
    session = spark_session(
        "tests",
        spark__master="local[2]",
        spark__driver__memory="2g",
        spark__log__level="ERROR",
        spark__driver__extraJavaOptions=JAVA_OPTIONS,
        spark__ui__enabled="false",  # no port, no start-up of a web server
        spark__default__parallelism="1",  # tests score a handful of photos; a task costs more than they
        spark__sql__adaptive__enabled="false",  # plans again after each stage; a small query takes a fifth longer
        spark__local__dir=str(scratch / "local"),
        spark__sql__warehouse__dir=str(scratch / "warehouse"),
    )
    yield session
    session.stop()
    logging.raiseExceptions = False  # py4j's threads log after pytest has closed its streams
