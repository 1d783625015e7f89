r"""### Windows that contain a repeated date, published again.

**Does**: waits until no run of `nightly_purchase_analytics` is queued or running (`await_nightly_runs`). Then it finds
the dates whose windows contain a date that has been run again since, publishes and screens them again from the daily
counts, and runs the checks for them (`rebuild`). It reads no landing zone. A whole backfill causes one rebuild. After
an ordinary night nothing is out of date, and `rebuild` ends within seconds.

**Writes** these dates of the Delta tables under `<warehouse>/analytics`, with the current age bands, and of the
screening of cashiers under `<warehouse>/restricted`. In each table,
readers see either the old or the new rows of a date; the tables are replaced one after the other.

**Read by** the readers of `analytics`. When `rebuild` succeeds, all windows are up to date and it updates the asset
`bread_salt_windows`, also if it had nothing to rebuild. Schedule a DAG on that asset if it reads several dates, and on
`bread_salt_analytics` if it reads only the newest one. `rebuild` does not update `bread_salt_analytics`, on which this
DAG is scheduled: it would trigger itself.

**A missed run** leaves windows with the old counts of repeated dates. The next run rebuilds them, so nothing is lost.
An interrupted run is continued in the same way. If a check fails, `rebuild` fails and names the dates; they stay out
of date, so each further run publishes and checks them again until they pass.

**Run it by hand** at any time; it waits for the nightly runs:

    airflow dags trigger rebuild_windows

It needs no setup beyond that of `nightly_purchase_analytics`, and is not paused at first. While
`nightly_purchase_analytics` is paused with queued runs, it waits for them.
"""

import shlex
from datetime import datetime, timedelta

from airflow.sdk import DAG, Asset
from bread_salt import (
    ONE_THREAD,
    PUBLICATION_FLAGS,
    QUOTED_PYTHON,
    SCREENING_FLAGS,
    TIME_ZONE,
    NoActiveRunSensor,
    ProgramOperator,
)

with DAG(
    dag_id="rebuild_windows",
    doc_md=__doc__,
    schedule=[Asset("bread_salt_analytics")],
    start_date=datetime(2026, 1, 1, tzinfo=TIME_ZONE),
    catchup=False,
    # While a run waits, Airflow collects the updates of the asset, and triggers at most one further run.
    max_active_runs=1,
    is_paused_upon_creation=False,  # otherwise windows stay out of date until somebody notices
    user_defined_filters={"quote": shlex.quote},
    tags=["bread-salt"],
) as dag:
    await_nightly_runs = NoActiveRunSensor(
        task_id="await_nightly_runs",
        watched_dag_id="nightly_purchase_analytics",
        mode="reschedule",  # frees the worker slot between two checks
        poke_interval=timedelta(minutes=2),
        timeout=timedelta(days=7),  # of a long backfill
        execution_timeout=timedelta(minutes=5),  # of one check
        retries=2,
        retry_delay=timedelta(minutes=5),
    )

    rebuild = ProgramOperator(
        task_id="rebuild",
        bash_command=f"{QUOTED_PYTHON} -m jobs.rebuild_windows"
        " --warehouse {{ var.value.bread_salt_warehouse | quote }}" + PUBLICATION_FLAGS + SCREENING_FLAGS,
        env=ONE_THREAD,
        append_env=True,
        retries=2,  # a nightly run may start meanwhile and write the same date
        retry_delay=timedelta(minutes=5),
        execution_timeout=timedelta(hours=4),
        outlets=[Asset("bread_salt_windows")],
    )

    await_nightly_runs >> rebuild
