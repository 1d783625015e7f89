"""The Spark session, with the same settings under spark-submit, `python -m` and the tests."""

import logging
import os
import re
import shutil
import subprocess
import sys

from pyspark.sql import SparkSession

from model.cli import InputError

PROGRESS_SECONDS = 5

START_SECONDS = 60.0
"""Java and Python start in seconds, also on a busy machine."""


def spark_session(app_name: str, **settings: str) -> SparkSession:
    """Return the running session, or start one.

    Args:
        app_name: shown in Spark's UI.
        **settings: further Spark settings, dots written as `__`. Driver settings of spark-submit take precedence.
    """
    # Spark's default for workers is the first python3 on PATH.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    logging.getLogger("py4j").setLevel(logging.WARNING)
    running = SparkSession.getActiveSession()
    if running is not None:
        return running
    builder = SparkSession.builder.appName(app_name)
    submitted = "PYSPARK_GATEWAY_PORT" in os.environ
    if not submitted:
        builder = builder.master("local[*]").config("spark.driver.memory", "4g").config("spark.log.level", "WARN")
    for name, value in settings.items():
        builder = builder.config(name.replace("__", "."), value)
    return (
        builder.config("spark.ui.showConsoleProgress", "true")
        # Under Airflow each update is a line of the log.
        .config("spark.ui.consoleProgress.update.interval", f"{PROGRESS_SECONDS}s")
        .getOrCreate()
    )


def check_java() -> None:
    """Check for a Java version that Spark 4.2 supports.

    Raises:
        InputError: Java is missing or has another version.
    """
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=f"{home}/bin" if home else None)
    if java is None:
        place = f"JAVA_HOME ({home})" if home else "the PATH"
        raise InputError(f"Spark needs Java 17 or 21, and {place} has none: apt-get install openjdk-17-jre-headless")
    try:
        command = [java, "-version"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=START_SECONDS, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(f"Spark needs Java 17 or 21, and {java} does not work: {error}; set JAVA_HOME") from None
    output = f"{done.stderr}{done.stdout}"
    version = re.search(r'version "(\d+)', output)
    if done.returncode or version is None or version[1] not in ("17", "21"):
        found = next(iter(output.splitlines()), "silent") + (
            f" (exit code {done.returncode})" if done.returncode else ""
        )
        raise InputError(f"Spark needs Java 17 or 21, and {java} is {found}; set JAVA_HOME")


def check_worker_python() -> None:
    """Check that Spark's workers can run this project, if the environment names another Python for them.

    Raises:
        InputError: PYSPARK_PYTHON does not start, or lacks a package.
    """
    python = os.environ.get("PYSPARK_PYTHON", sys.executable)
    if python == sys.executable or "PYSPARK_GATEWAY_PORT" in os.environ:  # a cluster may unpack its own
        return
    try:
        command = [python, "-c", "import pandas, pyarrow, pyspark, jobs.tables.landing"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=START_SECONDS, check=False)  # noqa: S603
        problem = (done.stderr.splitlines() or [f"exit code {done.returncode}"])[-1] if done.returncode else ""
    except (OSError, subprocess.TimeoutExpired) as error:
        problem = str(error)
    if problem:
        raise InputError(f"PYSPARK_PYTHON {python} can't run this project: {problem}; wanted: {sys.executable}")
