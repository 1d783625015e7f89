r"""### The warehouse tidied every week: personal data are kept no longer than stated.

**Does**: waits until no run of `nightly_purchase_analytics` is queued or running (`await_nightly_runs`). Then it
deletes rows that are older than the retention allows, the files of replaced and deleted rows, what interrupted programs
left behind, and old entries of the logs (`keep_house`), and models that were replaced or not promoted
(`retire_models`; skipped where no Airflow Variable `bread_salt_model_store` exists, because nobody trains there).

**Writes** all Delta tables of the warehouse, and deletes folders of the model store. The log of the tasks lists what
was deleted and what stays.

**Read by** nobody. A program that reads one of the deleted files at that moment fails with exit code 75, and Airflow
retries it: an analyst repeats the query.

**A missed run** keeps personal data a week longer than stated, and the warehouse grows. The next run makes up for it.

**Run it by hand** at any time; it waits for the nightly runs. The second command only shows what would be deleted:

    airflow dags trigger keep_house

    python -m jobs.keep_house --warehouse WAREHOUSE

It is not paused at first. **Setup** beyond that of `nightly_purchase_analytics`: `BREAD_SALT_RETENTION_FLAGS`, flags of
`jobs.keep_house` such as `--keep-ages-days 60 --keep-quarantine-days 28`. Default: none;
`python -m jobs.keep_house --help` lists how long each table is kept, and why.
"""

import shlex
from datetime import timedelta

from airflow.sdk import DAG, CronTriggerTimetable
from bread_salt import ONE_THREAD, QUOTED_PYTHON, RETENTION_FLAGS, TIME_ZONE, NoActiveRunSensor, ProgramOperator

MODEL_STORE = '{{ var.value.get("bread_salt_model_store", "") | quote }}'

with DAG(
    dag_id="keep_house",
    doc_md=__doc__,
    # On Sundays the nightly run has ended at noon, and nobody queries the warehouse. No data interval is needed.
    schedule=CronTriggerTimetable("0 12 * * 0", timezone=str(TIME_ZONE), run_immediately=timedelta(0)),
    start_date=None,  # with one, a new installation runs it at once and fails, because it has no warehouse
    catchup=False,  # one run deletes everything that is due
    max_active_runs=1,
    is_paused_upon_creation=False,  # otherwise personal data are kept until somebody notices
    user_defined_filters={"quote": shlex.quote},
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    tags=["bread-salt"],
) as dag:
    await_nightly_runs = NoActiveRunSensor(
        task_id="await_nightly_runs",
        watched_dag_id="nightly_purchase_analytics",
        mode="reschedule",  # frees the worker slot between two checks
        poke_interval=timedelta(minutes=2),
        timeout=timedelta(days=6),  # of a long backfill; the next run is due a day later
        execution_timeout=timedelta(minutes=5),  # of one check
    )

    keep_house = ProgramOperator(
        task_id="keep_house",
        bash_command=f"{QUOTED_PYTHON} -m jobs.keep_house"
        " --warehouse {{ var.value.bread_salt_warehouse | quote }} --delete" + RETENTION_FLAGS,
        env=ONE_THREAD,
        append_env=True,
        execution_timeout=timedelta(hours=4),  # of each of three tries: the last one ends before the next night
    )

    retire_models = ProgramOperator(
        task_id="retire_models",
        bash_command=f"[ -n {MODEL_STORE} ] || exit 99; {QUOTED_PYTHON} -m model.retire {MODEL_STORE} --delete",
        skip_on_exit_code=99,  # no model store
        execution_timeout=timedelta(minutes=30),
    )

    await_nightly_runs >> [keep_house, retire_models]
