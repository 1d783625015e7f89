"""The Spark session, the same whether started by spark-submit, by `python -m` or by a test."""

import logging
import os
import re
import shutil
import subprocess
import sys

from pyspark.sql import SparkSession

from model.cli import InputError

PROGRESS_SECONDS = 5


def spark_session(app_name: str, **settings: str) -> SparkSession:
    """Return the running session, or start one.

    Args:
        app_name: shown in Spark's own pages.
        **settings: further Spark settings, dots written as `__`. The driver's settings of spark-submit win.

    Raises:
        InputError: there is no Java that Spark runs on.
    """
    # Spark starts workers with the first python3 on PATH unless told otherwise.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    logging.getLogger("py4j").setLevel(logging.WARNING)
    running = SparkSession.getActiveSession()
    if running is not None:
        return running
    check_java()
    builder = SparkSession.builder.appName(app_name)
    submitted = "PYSPARK_GATEWAY_PORT" in os.environ
    if not submitted:
        builder = builder.master("local[*]").config("spark.driver.memory", "4g").config("spark.log.level", "WARN")
    for name, value in settings.items():
        builder = builder.config(name.replace("__", "."), value)
    spark = (
        builder.config("spark.ui.showConsoleProgress", "true")
        # Under Airflow each refresh is a line of the log.
        .config("spark.ui.consoleProgress.update.interval", f"{PROGRESS_SECONDS}s")
        .config("spark.sql.session.timeZone", "UTC")
        # INT96, Spark's default, would become a timestamp without a zone in Delta.
        .config("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS")
        .getOrCreate()
    )
    context = spark.sparkContext
    if (context.master or "").startswith("local") and not context.getConf().contains("spark.sql.shuffle.partitions"):
        # Spark's 200 partitions cost one second for each shuffle on two cores when a date is small.
        spark.conf.set("spark.sql.shuffle.partitions", max(8, 4 * context.defaultParallelism))
    return spark


def check_java() -> None:
    """Check that there is a Java that Spark 4.2 runs on.

    Raises:
        InputError: there is none, or it has another version.
    """
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=f"{home}/bin" if home else None)
    if java is None:
        place = f"JAVA_HOME ({home})" if home else "the PATH"
        raise InputError(f"Spark needs Java 17 or 21, and {place} has none: apt-get install openjdk-17-jre-headless")
    printed = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr  # noqa: S603
    version = re.search(r'version "(\d+)', printed)
    if version is None or version[1] not in ("17", "21"):
        raise InputError(f"Spark needs Java 17 or 21, and {java} is {printed.splitlines()[0]}; set JAVA_HOME")
