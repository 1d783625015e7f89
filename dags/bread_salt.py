"""What the DAGs share: settings from the environment, and the operators for our programs. This file is not a DAG."""

import functools
import os
import re
import shlex
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from airflow.providers.apache.spark.hooks.spark_submit import SparkSubmitHook
from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import BaseHook, BaseSensorOperator, Context
from airflow.sdk.bases.skipmixin import SkipMixin
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowNotFoundException,
    AirflowTaskTimeout,
)

JOBS = Path(__file__).resolve().parents[1] / "jobs"

PYTHON = os.environ.get("BREAD_SALT_PYTHON", sys.executable)
QUOTED_PYTHON = shlex.quote(PYTHON)
"""For shell commands."""

# A task whose pool does not exist is never scheduled, so using another pool is opt-in.
POOL = os.environ.get("BREAD_SALT_SCORING_POOL", "default_pool")
"""Pool of the tasks that use a GPU."""

try:
    TIME_ZONE = ZoneInfo(os.environ.get("BREAD_SALT_TIME_ZONE", "UTC"))
except (ZoneInfoNotFoundError, ValueError) as error:
    raise ValueError(f"BREAD_SALT_TIME_ZONE must be an IANA time zone such as Europe/Vienna: {error}") from error

AGE_BANDS = os.environ.get("BREAD_SALT_AGE_BANDS", "").split()

OFFER_AGE_RESTRICTED = os.environ.get("BREAD_SALT_OFFER_AGE_RESTRICTED", "false")
if OFFER_AGE_RESTRICTED not in ("true", "false"):
    raise ValueError(f"BREAD_SALT_OFFER_AGE_RESTRICTED is {OFFER_AGE_RESTRICTED!r}; it must be true or false")

MIN_RECEIPTS = os.environ.get("BREAD_SALT_MIN_RECEIPTS", "10")
if not MIN_RECEIPTS.isdecimal() or int(MIN_RECEIPTS) < 10:
    raise ValueError(f"BREAD_SALT_MIN_RECEIPTS is {MIN_RECEIPTS!r}; it must be a whole number, at least 10")

BAND_FLAGS = f" --age-bands {shlex.join(AGE_BANDS)}" if AGE_BANDS else ""

PUBLICATION_FLAGS = (
    BAND_FLAGS
    + (f" --min-receipts {MIN_RECEIPTS}" if MIN_RECEIPTS != "10" else "")
    + (" --offer-age-restricted" if OFFER_AGE_RESTRICTED == "true" else "")
)
"""For the shell commands of the programs that publish windows, so that they all publish the same."""


def _flags(variable: str) -> str:
    """Return the flags that an environment variable contains, each after a space and quoted for the shell."""
    value = os.environ.get(variable, "")
    try:
        return "".join(f" {shlex.quote(flag)}" for flag in shlex.split(value))
    except ValueError as error:
        raise ValueError(f"{variable} is {value!r}; it must be flags as in a shell: {error}") from error


SCREENING_FLAGS = _flags("BREAD_SALT_SCREENING_FLAGS")
"""For the shell commands of the programs that screen cashiers."""

RETENTION_FLAGS = _flags("BREAD_SALT_RETENTION_FLAGS")
"""For the shell command of `jobs.keep_house`."""

ONE_THREAD = {"OMP_NUM_THREADS": "1"}
"""Environment of the same programs: their matrices are small. On two busy cores, several threads took 81 s of CPU
instead of 30, because they wait for each other.
"""

_SHUTDOWN_SECONDS = 3
"""Airflow sends SIGKILL to the task five seconds after SIGTERM."""


_EXIT_CODE_2 = re.compile(
    r"Error code is: 2\."  # of spark-submit in client mode
    r"|Kubernetes spark exit code is: 2\b"
    r"|exit_code=2\b"  # Kubernetes, where the provider follows the pod
    r"|User application exited with status 2\b"  # YARN's diagnostics
)
"""How the errors of the Spark provider show that the job ended with exit code 2.

Spark's own clusters run no Python driver in cluster mode, and their errors (`Driver ... exited with status FAILED`)
show no exit code.
"""


class SparkJobOperator(SparkSubmitOperator):
    """Submits one of our jobs. Does not retry after exit code 2: wrong input or configuration.

    Any other exit code is retried, also 75, which a job gives for a temporary fault.
    """

    def _get_hook(self) -> SparkSubmitHook:
        """Submit locally if the connection does not exist (the provider would submit to YARN)."""
        hook = super()._get_hook()
        try:
            BaseHook.get_connection(self._conn_id)
        except AirflowNotFoundException:
            hook._connection["master"] = "local[*]"  # noqa: SLF001  the hook has no argument for it
        # On YARN and Kubernetes the provider sets these variables for a driver in cluster mode alone.
        hook._env = hook._env_vars  # noqa: SLF001
        # A process group of its own, so that on_kill reaches the Python driver, which is a child of the JVM.
        hook.submit = functools.partial(hook.submit, start_new_session=True)
        return hook

    def execute(self, context: Context) -> None:
        """Run the job."""
        try:
            super().execute(context)
        except (AirflowException, RuntimeError) as error:
            if _EXIT_CODE_2.search(str(error)):
                place = "above, or in cluster mode in the log of the driver"
                raise AirflowFailException(f"{self.task_id}: see the line 'error: ...' {place}") from error
            raise

    def on_kill(self) -> None:
        """End the JVM and the Python driver; the provider kills only the JVM, and the driver could go on writing.

        Spark's Python workers are in a group of their own. They exit when the JVM closes their input.
        """
        process = self._hook._submit_sp if self._hook else None  # noqa: SLF001
        if process and process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(_SHUTDOWN_SECONDS)  # the JVM deletes its scratch files
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
        super().on_kill()


class ProgramOperator(BashOperator):
    """Runs one of our programs. Does not retry after exit code 2 (wrong input or configuration) or a timeout.

    `on_kill` of BashOperator sends SIGTERM to the shell's process group, which includes the program.

    Args:
        fail_on_exit_code: a further exit code after which the program is not retried.
    """

    def __init__(self, *, fail_on_exit_code: int = 2, **options: Any) -> None:
        super().__init__(**options)
        self.fail_on_exit_code = fail_on_exit_code

    def execute(self, context: Context) -> Any:
        """Run the program."""
        try:
            return super().execute(context)
        except AirflowException as error:
            if str(error).endswith(("exit code 2.", f"exit code {self.fail_on_exit_code}.")):
                raise AirflowFailException(f"{self.task_id}: see the last lines above. {error}") from error
            raise
        except AirflowTaskTimeout as error:
            self.on_kill()  # Airflow calls it only for AirflowTaskTimeout, which is converted here
            raise AirflowFailException(f"{self.task_id} reached its execution_timeout; clear it to continue") from error


class AskingProgramOperator(ProgramOperator, SkipMixin):
    """Runs one of our programs. The tasks that follow ask a person; they run only if the program says so.

    Args:
        ask_on_exit_code: with this exit code the task succeeds and the next tasks run. With 0 they are skipped.
    """

    inherits_from_skipmixin = True

    def __init__(self, *, ask_on_exit_code: int, **options: Any) -> None:
        super().__init__(**options)
        self.ask_on_exit_code = ask_on_exit_code

    def execute(self, context: Context) -> None:
        """Run the program."""
        try:
            super().execute(context)
        except AirflowException as error:
            if str(error).endswith(f"exit code {self.ask_on_exit_code}."):
                return
            raise
        self.skip(context["ti"], context["task"].get_direct_relatives(upstream=False))


class NoActiveRunSensor(BaseSensorOperator):
    """Waits until no run of another DAG is queued or running. The runs of a backfill are queued when it is created.

    Args:
        watched_dag_id: the other DAG.
    """

    def __init__(self, *, watched_dag_id: str, **options: Any) -> None:
        super().__init__(**options)
        self.watched_dag_id = watched_dag_id

    def poke(self, context: Context) -> bool:
        """Return whether no run is active."""
        n_active = context["ti"].get_dr_count(dag_id=self.watched_dag_id, states=["queued", "running"])
        self.log.info("%d runs of %s are queued or running", n_active, self.watched_dag_id)
        return n_active == 0
