"""One Spark session for the whole run: starting one costs five seconds."""

import os
import sys
from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession

from jobs.tables.spark import spark_session

# Before Spark starts, or its workers run the first python3 of the PATH.
os.environ["PYSPARK_PYTHON"] = sys.executable


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    scratch = tmp_path_factory.mktemp("spark")
    session = spark_session(
        "tests",
        spark__master="local[2]",
        spark__driver__memory="2g",
        spark__log__level="ERROR",
        spark__ui__enabled="false",  # a port per run, and nobody looks
        spark__sql__shuffle__partitions="2",  # a handful of rows
        spark__local__dir=str(scratch / "local"),
        spark__sql__warehouse__dir=str(scratch / "warehouse"),
    )
    yield session
    session.stop()
