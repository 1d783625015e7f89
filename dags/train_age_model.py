r"""### A new age model each month, put into use only if it is better.

**Does**: describes the labelled set (`explore`), trains a model on it (`train`), evaluates that model beside
the current one (`evaluate`), and makes it the current model if the paired comparison shows that it is better
(`promote`). If it is not better, `promote` is skipped and the run succeeds. If the two can't be compared, or the store
has no model yet, a person is asked (`ask`): after an approval the model becomes current (`promote_approved`), after a
rejection nothing changes.

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
in its part. If these photos are too few, the run waits up to two weeks for a person, like the first run of a store.
Read the evaluation page and the log of `promote`, then choose Approve or Reject under "Required Actions" of the run.
The question occupies no worker. Without an answer `ask` fails; clear it to ask again.

This command returns to an earlier model; `promote` prints it each time:

    python -m model.promote <store>/<version> --store <store> --force "worse at the tills"

**Setup** on every Airflow machine, in addition to the setup of `nightly_purchase_analytics`:

- A store: an empty folder. The first run asks a person before it promotes the first model.
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

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import DAG, CronTriggerTimetable, Param
from airflow.sdk.types import DagRunProtocol
from bread_salt import POOL, QUOTED_PYTHON, TIME_ZONE, AskingProgramOperator, ProgramOperator

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
        # The first model is evaluated alone.
        bash_command="store={{ var.value.bread_salt_model_store | quote }};"
        ' [ -e "$store/current" ] && set -- --against "$store/current";'
        f" {QUOTED_PYTHON} -m model.evaluate"
        " --model {{ var.value.bread_salt_model_store | quote }}/candidates/age-{{ run_name(dag_run) }}"
        " --data {{ var.value.bread_salt_labelled | quote }}"
        " --out {{ var.value.bread_salt_reports | quote }}/evaluation-{{ run_name(dag_run) }}"
        ' "$@"',
        pool=POOL,
        execution_timeout=timedelta(hours=1),
    )

    promote = AskingProgramOperator(
        task_id="promote",
        bash_command=f"{QUOTED_PYTHON} -m model.promote"
        " {{ var.value.bread_salt_model_store | quote }}/candidates/age-{{ run_name(dag_run) }}"
        " --store {{ var.value.bread_salt_model_store | quote }} --compared-only",
        skip_on_exit_code=99,  # the model is not better than the current one
        ask_on_exit_code=98,  # the models were not compared
        execution_timeout=timedelta(minutes=30),
    )

    ask = ApprovalOperator(
        task_id="ask",
        subject="Use the new age model without a comparison?",
        body="The store has no current model, or the two models can't be compared: the log of `promote` says why.\n\n"
        "- Model: `{{ var.value.bread_salt_model_store }}/candidates/age-{{ run_name(dag_run) }}`\n"
        "- Evaluation: `{{ var.value.bread_salt_reports }}/evaluation-{{ run_name(dag_run) }}/evaluation.html`\n\n"
        "Approve: the nightly runs use it from now on. Reject: nothing changes.",
        response_timeout=timedelta(days=14),  # the next run, a month later, waits for this one
        retries=0,  # a retry would ask again
    )

    promote_approved = ProgramOperator(
        task_id="promote_approved",
        bash_command=f"{QUOTED_PYTHON} -m model.promote"
        " {{ var.value.bread_salt_model_store | quote }}/candidates/age-{{ run_name(dag_run) }}"
        " --store {{ var.value.bread_salt_model_store | quote }}"
        " --force {{ ('approved in run ' ~ dag_run.run_id) | quote }}",
        execution_timeout=timedelta(minutes=30),
    )

    explore >> train >> evaluate >> promote >> ask >> promote_approved
