"""One Spark session for the whole run: starting one costs five seconds."""

import os
import sys
from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession

from jobs.session import spark_session

# Before Spark starts, or its workers run the first python3 of the PATH.
os.environ["PYSPARK_PYTHON"] = sys.executable


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    scratch = tmp_path_factory.mktemp("spark")
    settings = {
        "spark.master": "local[2]",
        "spark.driver.memory": "2g",
        "spark.log.level": "ERROR",
        "spark.ui.enabled": "false",  # a port per run, and nobody looks
        "spark.sql.shuffle.partitions": "2",  # a handful of rows
        "spark.local.dir": str(scratch / "local"),
        "spark.sql.warehouse.dir": str(scratch / "warehouse"),
    }
    for name, value in settings.items():
        SparkSession.builder.config(name, value)
    session = spark_session("tests")
    yield session
    session.stop()
