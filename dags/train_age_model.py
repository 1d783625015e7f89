r"""### A new age model each month, put into use only if it is better.

**Does**: describes the labelled set (`explore`), trains a model on it (`train`), evaluates that model beside
the current one (`evaluate`), and makes it the current model if the paired comparison shows that it is better
(`promote`). If it is not better, `promote` is skipped and the run succeeds.

**Writes** the pages `explore-<run>.html` and `evaluation-<run>/evaluation.html` into the reports. They show photos of
people. Into the model store it writes the model `candidates/age-<run>`, its copy `<version>`, the link `current` and
`history.jsonl`.

**Read by** `nightly_purchase_analytics`, whose Variable `bread_salt_model` is `<store>/current`. A nightly run that
has started keeps its model to the end. Data scientists read the pages.

**A missed run** costs a month: the current model stays in use. An interrupted training continues from its last epoch
when the task is retried or cleared. If ImageNet weights have become available or unavailable since then, remove
`candidates/age-<run>.training` first.

**Manual run** at any time, here with the small preset:

    airflow dags trigger train_age_model --conf '{"preset": "quick"}'

**If photos are added** to the labelled set, two models are compared on the photos that both held out; a photo stays
in its part. `promote` fails if these photos are too few, and `evaluate` fails if the store has no model. Then decide
yourself. This command promotes without comparison:

    python -m model.promote <store>/candidates/age-<run> --store <store> --force "labels of November"

The same command with `<store>/<version>` returns to an earlier model. `promote` prints it each time.

**Setup** on every Airflow machine, in addition to the setup of `nightly_purchase_analytics`:

- A store with a first model, promoted manually after somebody has looked at its evaluation.
- Airflow Variables `bread_salt_labelled` (the labelled set), `bread_salt_model_store` and `bread_salt_reports`, all
  folders, or in the environment as `AIRFLOW_VAR_BREAD_SALT_LABELLED` and so on.
- `BREAD_SALT_PRESET=quick` on machines without a GPU. The default, `full`, needs a GPU.
- `BREAD_SALT_PYTHON` and `BREAD_SALT_TIME_ZONE` as in `nightly_purchase_analytics`. `train` and `evaluate` also use
  the pool `BREAD_SALT_SCORING_POOL`.
"""

import os
import re
import shlex
from datetime import datetime, timedelta

from airflow.sdk import DAG, CronTriggerTimetable, Param
from airflow.sdk.types import DagRunProtocol
from bread_salt import POOL, QUOTED_PYTHON, TIME_ZONE, ProgramOperator

PRESETS = ["quick", "full", "original"]
PRESET = os.environ.get("BREAD_SALT_PRESET", "full")
if PRESET not in PRESETS:
    raise ValueError(f"BREAD_SALT_PRESET is {PRESET!r}; it must be one of {', '.join(PRESETS)}")


def run_name(dag_run: DagRunProtocol) -> str:
    """Return the run's id as part of a file name. It is the same in each retry and needs no logical date."""
    return re.sub(r"[^A-Za-z0-9_]+", "-", dag_run.run_id)


with DAG(
    dag_id="train_age_model",
    doc_md=__doc__,
    # At 10:00 the nightly run has ended, and the GPU is free again before the next one. No data interval is needed.
    schedule=CronTriggerTimetable("0 10 1 * *", timezone=str(TIME_ZONE)),
    start_date=datetime(2026, 1, 1, tzinfo=TIME_ZONE),
    catchup=False,  # the labelled set of an earlier month no longer exists
    max_active_runs=1,  # scheduled runs only; manual runs are limited only by the pool
    params={"preset": Param(PRESET, enum=PRESETS, description="see python -m model.train --help")},
    user_defined_macros={"run_name": run_name},
    user_defined_filters={"quote": shlex.quote},
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    tags=["bread-salt"],
) as dag:
    explore = ProgramOperator(
        task_id="explore",
        bash_command=f"{QUOTED_PYTHON} -m model.explore"
        " --data {{ var.value.bread_salt_labelled | quote }}"
        " --out {{ var.value.bread_salt_reports | quote }}/explore-{{ run_name(dag_run) }}.html",
        execution_timeout=timedelta(hours=1),
    )

    train = ProgramOperator(
        task_id="train",
        bash_command=f"{QUOTED_PYTHON} -m model.train"
        " --data {{ var.value.bread_salt_labelled | quote }}"
        " --out {{ var.value.bread_salt_model_store | quote }}/candidates/age-{{ run_name(dag_run) }}"
        " --preset {{ params.preset | quote }}",
        pool=POOL,
        # Of each of three tries: the last one must end before the nightly run, which needs the GPU.
        execution_timeout=timedelta(hours=5),
    )

    evaluate = ProgramOperator(
        task_id="evaluate",
        bash_command=f"{QUOTED_PYTHON} -m model.evaluate"
        " --model {{ var.value.bread_salt_model_store | quote }}/candidates/age-{{ run_name(dag_run) }}"
        " --data {{ var.value.bread_salt_labelled | quote }}"
        " --against {{ var.value.bread_salt_model_store | quote }}/current"
        " --out {{ var.value.bread_salt_reports | quote }}/evaluation-{{ run_name(dag_run) }}",
        pool=POOL,
        execution_timeout=timedelta(hours=1),
    )

    promote = ProgramOperator(
        task_id="promote",
        bash_command=f"{QUOTED_PYTHON} -m model.promote"
        " {{ var.value.bread_salt_model_store | quote }}/candidates/age-{{ run_name(dag_run) }}"
        " --store {{ var.value.bread_salt_model_store | quote }}",
        skip_on_exit_code=99,  # the model is not better than the current one
        execution_timeout=timedelta(minutes=30),
    )

    explore >> train >> evaluate >> promote
