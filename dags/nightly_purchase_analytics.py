r"""### What each age group bought, one business date a night.

**Does**: waits for a date's files in the landing zone, estimates the age on every till photo
(`score_photos`), gives the ages to receipts (`match_receipts`), counts what each age band buys over the
last days (`build_affinity`), and checks what was written (`checks`).

**Writes** that date of the Delta tables under `<warehouse>/restricted` and `<warehouse>/analytics`. A run
replaces its date in every table, so repeating it is safe.

**Read by** category managers and the offers team (`analytics`), auditors (`restricted`). Whoever needs
checked data schedules on the asset `bread_salt_analytics`: only `checks`, the last task, updates it.

**A missed run** loses nothing for good, as the landing zone keeps its files, but readers have no tables for
that date, and the windows of the next 27 dates count one day less (`n_days` says how many they hold).

**Business date**: the day on which the data interval starts in the chain's time zone; the run starts at
02:00 on the following day. A run triggered by hand has no usable interval and must name its date:

    airflow dags trigger nightly_purchase_analytics --conf '{"business_date": "2026-11-15"}'

**Backfill** oldest date first and one at a time, because a window reads the 27 dates before its own; then
run the 27 dates after it again. Give the times with the chain's offset (without one they are UTC), the end
after 02:00 of the last day:

    airflow backfill create --dag-id nightly_purchase_analytics --max-active-runs 1 \
        --reprocess-behavior completed --from-date 2026-11-09T00:00+01:00 --to-date 2026-11-15T23:59+01:00

Nightly and backfill runs may overlap: writers of different dates do not disturb each other.

**Setup** on every Airflow machine:

- Airflow Variables `bread_salt_landing`, `bread_salt_warehouse` (paths or URIs) and `bread_salt_model` (a
  folder: `<store>/current` where `train_age_model` runs), or in the environment as
  `AIRFLOW_VAR_BREAD_SALT_LANDING` and so on.
- Connection `spark_default` as JSON, `{"conn_type": "spark", "host": "spark://HOST:7077"}`; without one the
  jobs run locally, `local[*]`. `spark-submit` on the `PATH`.
- `BREAD_SALT_DRIVER_MEMORY`: of each Spark driver. Default: `4g`.
- `BREAD_SALT_TIME_ZONE`: the chain's time zone, such as `Europe/Vienna`. Default: `UTC`.
- `BREAD_SALT_PYTHON`: the interpreter, on workers and executors, that has this project installed. Default:
  the one that runs Airflow.
- `BREAD_SALT_SCORING_POOL`: where nights and backfills share GPUs, a pool with one slot for each
  (`airflow pools set gpu 1 "one slot per GPU"`). Default: `default_pool`.
"""

import os
import shlex
import sys
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from airflow.providers.apache.spark.hooks.spark_submit import SparkSubmitHook
from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.sensors.bash import BashSensor
from airflow.sdk import DAG, Asset, BaseHook, Context, CronDataIntervalTimetable, Param
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowNotFoundException
from airflow.sdk.types import DagRunProtocol

JOBS = Path(__file__).resolve().parents[1] / "jobs"
PYTHON = os.environ.get("BREAD_SALT_PYTHON", sys.executable)

try:
    TIME_ZONE = ZoneInfo(os.environ.get("BREAD_SALT_TIME_ZONE", "UTC"))
except (ZoneInfoNotFoundError, ValueError) as error:
    raise ValueError(f"BREAD_SALT_TIME_ZONE must be an IANA time zone such as Europe/Vienna: {error}") from error


def business_date(params: Mapping[str, Any], dag_run: DagRunProtocol) -> str:
    """Return the date that a run is about, as YYYY-MM-DD.

    Only scheduled and backfill runs have the interval of the date they are about; a manual run carries the
    last full interval before now, or none, whatever date was meant.

    Raises:
        AirflowFailException: the run is neither scheduled nor a backfill and names no date; a retry could
            not know it either.
    """
    if params["business_date"]:
        return str(params["business_date"])
    if dag_run.run_type in ("scheduled", "backfill") and dag_run.data_interval_start:
        return dag_run.data_interval_start.astimezone(TIME_ZONE).date().isoformat()
    raise AirflowFailException(
        "only scheduled and backfill runs know their business date; "
        """give this one its own: --conf '{"business_date": "YYYY-MM-DD"}'"""
    )


class SparkJobOperator(SparkSubmitOperator):
    """Submits one of our jobs. Exit code 2, an input or a setting that a person must mend, is not retried."""

    def _get_hook(self) -> SparkSubmitHook:
        """Submit locally where there is no connection: the provider would submit to YARN."""
        hook = super()._get_hook()
        try:
            BaseHook.get_connection(self._conn_id)
        except AirflowNotFoundException:
            hook._connection["master"] = "local[*]"  # noqa: SLF001  the hook has no argument for it
        return hook

    def execute(self, context: Context) -> None:
        """Run the job and fail for good where a retry could only fail again."""
        try:
            super().execute(context)
        except AirflowException as error:
            if "Error code is: 2." in str(error):
                raise AirflowFailException(f"{self.task_id}: see the line 'error: ...' above") from error
            raise


with DAG(
    dag_id="nightly_purchase_analytics",
    doc_md=__doc__,
    schedule=CronDataIntervalTimetable("0 2 * * *", timezone=str(TIME_ZONE)),
    start_date=datetime(2026, 1, 1, tzinfo=TIME_ZONE),
    catchup=False,  # unpausing must not start months of dates in no useful order: backfill them on purpose
    max_active_runs=1,  # a night that runs late holds the next one, whose window reads its date
    params={
        "business_date": Param(
            None, type=["null", "string"], format="date", description="YYYY-MM-DD; needed in a manual run"
        )
    },
    user_defined_macros={"business_date": business_date},
    user_defined_filters={"quote": shlex.quote},
    default_args={
        "retries": 2,
        "retry_delay": timedelta(minutes=5),
        # Of the Spark jobs. GPU settings belong to the cluster's own: with a local master they hang.
        "conf": {"spark.log.level": "WARN"},  # about 10 lines of log instead of 119
        "driver_memory": os.environ.get("BREAD_SALT_DRIVER_MEMORY", "4g"),  # with a local master it is all there is
        "env_vars": {"PYSPARK_PYTHON": PYTHON},  # else Spark's workers start any python3 of the PATH
    },
    tags=["bread-salt"],
) as dag:
    await_landing = BashSensor(
        task_id="await_landing",
        bash_command=f"{shlex.quote(PYTHON)} -m jobs.await_landing"
        " --business-date {{ business_date(params, dag_run) | quote }}"
        " --landing {{ var.value.bread_salt_landing | quote }}",
        retry_exit_code=75,
        mode="reschedule",  # no worker slot is held between looks
        poke_interval=timedelta(minutes=5),
        timeout=timedelta(hours=6),  # at 08:00 somebody is there to ask the stores
        execution_timeout=timedelta(minutes=5),  # of one look: an object store that does not answer
    )

    score_photos = SparkJobOperator(
        task_id="score_photos",
        application=str(JOBS / "score_photos.py"),
        name="score_photos",
        application_args=[
            "--business-date={{ business_date(params, dag_run) }}",
            "--landing={{ var.value.bread_salt_landing }}",
            "--warehouse={{ var.value.bread_salt_warehouse }}",
            "--model={{ var.value.bread_salt_model }}",
        ],
        # A named pool that does not exist would leave the task waiting for ever, so naming one is opt-in.
        pool=os.environ.get("BREAD_SALT_SCORING_POOL", "default_pool"),
        execution_timeout=timedelta(hours=4),
    )

    match_receipts = SparkJobOperator(
        task_id="match_receipts",
        application=str(JOBS / "match_receipts.py"),
        name="match_receipts",
        application_args=[
            "--business-date={{ business_date(params, dag_run) }}",
            "--landing={{ var.value.bread_salt_landing }}",
            "--warehouse={{ var.value.bread_salt_warehouse }}",
        ],
        execution_timeout=timedelta(hours=1),
    )

    build_affinity = SparkJobOperator(
        task_id="build_affinity",
        application=str(JOBS / "build_affinity.py"),
        name="build_affinity",
        application_args=[
            "--business-date={{ business_date(params, dag_run) }}",
            "--landing={{ var.value.bread_salt_landing }}",
            "--warehouse={{ var.value.bread_salt_warehouse }}",
        ],
        execution_timeout=timedelta(hours=2),
    )

    checks = BashOperator(
        task_id="checks",
        bash_command=f"{shlex.quote(PYTHON)} -m jobs.query checks --restricted --expect-empty"
        " --param business_date={{ business_date(params, dag_run) | quote }}"
        " --warehouse {{ var.value.bread_salt_warehouse | quote }}",
        retries=0,  # the same tables give the same answer
        execution_timeout=timedelta(minutes=30),
        outlets=[Asset("bread_salt_analytics")],
    )

    await_landing >> score_photos >> match_receipts >> build_affinity >> checks
