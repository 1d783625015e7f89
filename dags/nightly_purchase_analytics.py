r"""### What each age group bought, one business date per night.

**Does**: waits for the files of a date in the landing zone, estimates the age on every till photo
(`score_photos`), assigns the ages to receipts (`match_receipts`), counts the purchases by age
(`count_purchases`), publishes what each age band buys over the last days (`build_affinity`), screens the cashiers
who sell age-restricted goods (`screen_cashiers`), compares the estimated ages with those of earlier dates
(`watch_ages`), and checks the written tables (`checks`). `warnings` prints which stores and tills have changed; it
never fails the run.

**Writes** that date of the Delta tables under `<warehouse>/restricted` and `<warehouse>/analytics`. A run
replaces its date in every table, so repeating it is safe.

**Read by** category managers and the offers team (`analytics`), auditors (`restricted`; the tables
of cashiers only by named ones). A DAG that needs
a checked date is scheduled on the asset `bread_salt_analytics`: only `checks` updates it, and the event's `extra`
contains the `business_date`, because a backfill checks others than the newest. A DAG
that also reads earlier dates is scheduled on `bread_salt_windows` instead, see `rebuild_windows`.

**A missed run** loses no data, because the landing zone keeps its files. Until it is repeated, readers have
no tables for that date, and the windows of the next 27 dates contain one day less (`n_days` is the number
of days in a window). When it has been repeated, the DAG `rebuild_windows` publishes those windows again.

**Business date**: the day on which the data interval starts in the chain's time zone; the run starts at
02:00 on the following day. A manually triggered run has no usable interval and needs the date:

    airflow dags trigger nightly_purchase_analytics --conf '{"business_date": "2026-11-15"}'

**Backfill** one date at a time. The windows of later dates that contain a repeated date are rebuilt by the DAG
`rebuild_windows`, once after the whole backfill. Give the times with the chain's offset (without an offset they
are UTC), and an end after 02:00 of the last day:

    airflow backfill create --dag-id nightly_purchase_analytics --max-active-runs 1 \
        --reprocess-behavior completed --from-date 2026-11-09T00:00+01:00 --to-date 2026-11-15T23:59+01:00

Nightly and backfill runs may overlap: writers of different dates do not conflict. `keep_house` deletes old versions of
all tables: a task that reads one of their files at that moment fails and is retried.

**What a failure means and what to type**: `README.md` beside this file.

**Setup** on every Airflow machine:

- Airflow Variables `bread_salt_landing`, `bread_salt_warehouse` (paths or URIs) and `bread_salt_model` (a
  folder: `<store>/current` where `train_age_model` runs), or in the environment as
  `AIRFLOW_VAR_BREAD_SALT_LANDING` and so on.
- Connection `spark_default` of `score_photos` as JSON, `{"conn_type": "spark", "host": "spark://HOST:7077"}`. Without
  it the job runs locally, `local[*]`. `spark-submit` on the `PATH`. GPUs, Kubernetes and deploy modes: `README.md` of
  the project. In cluster deploy mode (on YARN and Kubernetes only, because Spark's own clusters run no Python driver
  there) the job's exit code is read from the output of `spark-submit`; if the output does not show it, a job with wrong
  input is retried in vain.
- `BREAD_SALT_AGE_BANDS`: names of the age bands, separated by spaces, such as
  `under_18 18-29 30-44 45-59 60_plus`, which is the default. They must cover the ages 0 to 120. Dates are counted
  by year of age, so new bands need no recount: the next run publishes all its windows with them.
- `BREAD_SALT_MIN_RECEIPTS`: the smallest count that is published, at least 10, which is the default.
- `BREAD_SALT_OFFER_AGE_RESTRICTED`: `true` offers products with a legal age, to bands that begin at 30 or later.
  Default: `false`.
- `BREAD_SALT_KERNEL_PHOTOS`: a labelled set (`labels.csv`, `final_files/`) of photos from the chain's own tills, from
  which the errors of the ages are measured. Default: the photos that the model held out.
- `BREAD_SALT_SCREENING_FLAGS`: flags of `screen_cashiers`, such as `--hour-blocks 6 14 20 --review-ratio 0.6`. Default:
  none. A chain whose receipts have no `cashier_id` has no screening. Before the first night with one, meet the
  conditions in `sql/auditor/README.md`, such as a data protection impact assessment.
- `BREAD_SALT_MAX_LINE_FIGURE`: the largest amount and quantity of a receipt line, for a currency with small units.
  Default: 1,000,000.
- `BREAD_SALT_DRIVER_MEMORY`: memory of the Spark driver of `score_photos`. Default: `4g`.
- `BREAD_SALT_DUCKDB_MEMORY`: memory of DuckDB in each program, such as `8GB`. Default: `4GB` in the jobs that read
  the landing zone, which write the rest to temporary files (`TMPDIR`), and 80 % of the machine in the others.
- `BREAD_SALT_TIME_ZONE`: the chain's time zone, such as `Europe/Vienna`. Default: `UTC`.
- `BREAD_SALT_PYTHON`: the interpreter, on workers and executors, in which this project is installed. Default:
  the interpreter that runs Airflow.
- `BREAD_SALT_SCORING_POOL`: if nightly runs and backfills share GPUs, a pool with one slot, because a job takes all
  GPUs of the cluster (`airflow pools set gpu 1 "a job takes all GPUs"`). Default: `default_pool`.
"""

import os
import shlex
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.sensors.bash import BashSensor
from airflow.sdk import DAG, Asset, Context, CronDataIntervalTimetable, Param
from airflow.sdk.exceptions import AirflowFailException
from airflow.sdk.types import DagRunProtocol
from bread_salt import (
    BAND_FLAGS,
    JOBS,
    ONE_THREAD,
    POOL,
    PUBLICATION_FLAGS,
    PYTHON,
    QUOTED_PYTHON,
    SCREENING_FLAGS,
    TIME_ZONE,
    ProgramOperator,
    SparkJobOperator,
)

ANALYTICS = Asset("bread_salt_analytics")

KERNEL_PHOTOS = os.environ.get("BREAD_SALT_KERNEL_PHOTOS", "")
MAX_LINE_FIGURE = os.environ.get("BREAD_SALT_MAX_LINE_FIGURE", "")
if MAX_LINE_FIGURE and not (MAX_LINE_FIGURE.isdecimal() and int(MAX_LINE_FIGURE)):
    raise ValueError(f"BREAD_SALT_MAX_LINE_FIGURE is {MAX_LINE_FIGURE!r}; it must be a whole number, at least 1")


def business_date(params: Mapping[str, Any], dag_run: DagRunProtocol) -> str:
    """Return the business date of a run, as YYYY-MM-DD.

    Only scheduled and backfill runs have the data interval of their business date. A manual run has the last
    full interval before now, or none.

    Raises:
        AirflowFailException: the run is neither scheduled nor a backfill, and it has no date. A retry would
            fail too.
    """
    if params["business_date"]:
        return str(params["business_date"])
    if dag_run.run_type in ("scheduled", "backfill") and dag_run.data_interval_start:
        return dag_run.data_interval_start.astimezone(TIME_ZONE).date().isoformat()
    raise AirflowFailException(
        "only scheduled and backfill runs have a business date of their own; "
        """set it for this run: --conf '{"business_date": "YYYY-MM-DD"}'"""
    )


def add_business_date(context: Context, _result: Any) -> None:
    """Add the business date to the event of the asset."""
    date = business_date(context["params"], context["dag_run"])
    context["outlet_events"][ANALYTICS].extra = {"business_date": date}


with DAG(
    dag_id="nightly_purchase_analytics",
    doc_md=__doc__,
    schedule=CronDataIntervalTimetable("0 2 * * *", timezone=str(TIME_ZONE)),
    start_date=datetime(2026, 1, 1, tzinfo=TIME_ZONE),
    catchup=False,  # otherwise unpausing starts months of dates in parallel; use a backfill
    max_active_runs=1,  # a run reads the tables of the date before
    params={
        "business_date": Param(
            None, type=["null", "string"], format="date", description="YYYY-MM-DD; required in a manual run"
        )
    },
    user_defined_macros={"business_date": business_date},
    user_defined_filters={"quote": shlex.quote},
    default_args={
        "retries": 2,
        "retry_delay": timedelta(minutes=5),
        # For the Spark job. Configure GPUs in the cluster: with a local master these settings hang.
        "conf": {
            "spark.log.level": "WARN",  # 10 log lines instead of 119
            "spark.python.worker.faulthandler.enabled": "true",  # a crash in native code (torch, Arrow) shows its stack
            # Shows where a worker hangs. A healthy task ends sooner.
            "spark.python.worker.tracebackDumpIntervalSeconds": "600",
        },
        "driver_memory": os.environ.get("BREAD_SALT_DRIVER_MEMORY", "4g"),  # a local master has no other memory
        "env_vars": {"PYSPARK_PYTHON": PYTHON},  # otherwise Spark's workers start the first python3 on the PATH
        "durable": False,  # on YARN, reconnecting to a running driver needs the address of its REST API
    },
    tags=["bread-salt"],
) as dag:
    await_landing = BashSensor(
        task_id="await_landing",
        # The sensor waits for its program even if it is killed or times out, so the program gets a limit of its own:
        # the object store may not answer. After 124 and 137, which tell that it was ended, the sensor checks again.
        # With the other flags, what can't become right by waiting fails now and not in six hours.
        bash_command=f"timeout --kill-after=10 240 {QUOTED_PYTHON} -m jobs.await_landing"
        " --business-date {{ business_date(params, dag_run) | quote }}"
        " --landing {{ var.value.bread_salt_landing | quote }}"
        " --warehouse {{ var.value.bread_salt_warehouse | quote }}"
        " --model {{ var.value.bread_salt_model | quote }}"
        f"{BAND_FLAGS} || case $? in 124 | 137) exit 75;; *) exit $?;; esac",
        retry_exit_code=75,
        mode="reschedule",  # frees the worker slot between two checks
        poke_interval=timedelta(minutes=5),
        timeout=timedelta(hours=6),  # until 08:00, when staff can contact the stores
        execution_timeout=timedelta(minutes=5),  # of one check
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
            *([f"--kernel-photos={KERNEL_PHOTOS}"] if KERNEL_PHOTOS else []),
        ],
        pool=POOL,
        execution_timeout=timedelta(hours=4),
    )

    match_receipts = ProgramOperator(
        task_id="match_receipts",
        bash_command=f"{QUOTED_PYTHON} -m jobs.match_receipts"
        " --business-date {{ business_date(params, dag_run) | quote }}"
        " --landing {{ var.value.bread_salt_landing | quote }}"
        " --warehouse {{ var.value.bread_salt_warehouse | quote }}",
        execution_timeout=timedelta(hours=1),
    )

    count_purchases = ProgramOperator(
        task_id="count_purchases",
        bash_command=f"{QUOTED_PYTHON} -m jobs.count_purchases"
        " --business-date {{ business_date(params, dag_run) | quote }}"
        " --landing {{ var.value.bread_salt_landing | quote }}"
        " --warehouse {{ var.value.bread_salt_warehouse | quote }}"
        f" --time-zone {TIME_ZONE}" + (f" --max-line-figure {MAX_LINE_FIGURE}" if MAX_LINE_FIGURE else ""),
        execution_timeout=timedelta(hours=2),
    )

    build_affinity = ProgramOperator(
        task_id="build_affinity",
        bash_command=f"{QUOTED_PYTHON} -m jobs.build_affinity"
        " --business-date {{ business_date(params, dag_run) | quote }}"
        " --warehouse {{ var.value.bread_salt_warehouse | quote }}" + PUBLICATION_FLAGS,
        env=ONE_THREAD,
        append_env=True,
        execution_timeout=timedelta(hours=1),
    )

    screen_cashiers = ProgramOperator(
        task_id="screen_cashiers",
        bash_command=f"{QUOTED_PYTHON} -m jobs.screen_cashiers"
        " --business-date {{ business_date(params, dag_run) | quote }}"
        " --warehouse {{ var.value.bread_salt_warehouse | quote }}" + SCREENING_FLAGS,
        env=ONE_THREAD,
        append_env=True,
        execution_timeout=timedelta(hours=1),
    )

    watch_ages = ProgramOperator(
        task_id="watch_ages",
        bash_command=f"{QUOTED_PYTHON} -m jobs.watch_ages"
        " --business-date {{ business_date(params, dag_run) | quote }}"
        " --warehouse {{ var.value.bread_salt_warehouse | quote }}",
        env=ONE_THREAD,
        append_env=True,
        execution_timeout=timedelta(hours=1),
    )

    checks = ProgramOperator(
        task_id="checks",
        bash_command=f"{QUOTED_PYTHON} -m jobs.query checks --restricted --expect-empty"
        " --param business_date={{ business_date(params, dag_run) | quote }}"
        " --warehouse {{ var.value.bread_salt_warehouse | quote }}",
        fail_on_exit_code=1,  # a check has returned rows: a second run would give the same result
        execution_timeout=timedelta(minutes=30),
        outlets=[ANALYTICS],
        post_execute=add_business_date,
    )

    warnings = BashOperator(
        task_id="warnings",
        # Only the number of rows: a log has more readers than the tables. An execution_timeout would fail the run.
        # With --foreground, timeout stays in the process group to which on_kill sends SIGTERM.
        bash_command=f"timeout --foreground --kill-after=10 1200 {QUOTED_PYTHON}"
        " -m jobs.query warnings --restricted --expect-empty"
        " --param business_date={{ business_date(params, dag_run) | quote }}"
        " --warehouse {{ var.value.bread_salt_warehouse | quote }} || exit 99",
        skip_on_exit_code=99,  # a person reads warnings: if they can't be printed, the tables are right nevertheless
        retries=0,
    )

    await_landing >> score_photos >> match_receipts >> count_purchases
    count_purchases >> [build_affinity, screen_cashiers] >> checks
    count_purchases >> watch_ages >> warnings  # beside the checks: what watches the cameras must not stop the tables
