r"""### A new age model each month, in use only where it is better.

**Does**: studies the labelled set (`explore`), trains a model on it (`train`), judges that beside the one in use
(`judge`), and makes it the one in use if the paired comparison says that it is better (`promote`). A model that is
not better is a normal end: `promote` is then skipped, and nobody is called.

**Writes** the pages `explore-<run>.html` and `judgement-<run>/judgement.html` into the reports, which show photos
of people, and into the store the model `candidates/age-<run>`, its copy `<version>`, the link `current` and
`history.jsonl`.

**Read by** `nightly_purchase_analytics`, whose Variable `bread_salt_model` is `<store>/current`: a night that is
under way ends with the model it began with. Data scientists read the pages.

**A missed run** costs nothing but a month: the model in use stays. A training that was cut off goes on where it
was when the task is tried again, or cleared; if ImageNet weights can be reached that could not be before, or the other
way round, remove `candidates/age-<run>.training` first.

**By hand** at any time, here with the small preset:

    airflow dags trigger train_age_model --conf '{"preset": "quick"}'

**When photos are added** to the labelled set, models are compared on those that both held out: photos keep
their sides. `promote` fails where those are too few, and `judge` where the store has no model yet; a person
then decides. The other command goes back to the model before:

    python -m model.promote <store>/candidates/age-<run> --store <store> --force "labels of November"
    python -m model.promote --store <store> --rollback

**Setup** on every Airflow machine, beside that of `nightly_purchase_analytics`:

- A store with a first model, promoted by hand: no model comes into use that nobody has looked at.
- Airflow Variables `bread_salt_labelled` (the labelled set), `bread_salt_model_store` and `bread_salt_reports`,
  folders all three, or in the environment as `AIRFLOW_VAR_BREAD_SALT_LABELLED` and so on.
- `BREAD_SALT_PRESET=quick` where there is no GPU: `full`, which is the default, is not for a CPU.
- `BREAD_SALT_PYTHON` and `BREAD_SALT_TIME_ZONE` as there. `BREAD_SALT_SCORING_POOL` holds `train` and `judge` too.
"""

import os
import re
import shlex
import sys
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, Context, CronTriggerTimetable, Param
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowTaskTimeout
from airflow.sdk.types import DagRunProtocol

PYTHON = shlex.quote(os.environ.get("BREAD_SALT_PYTHON", sys.executable))
POOL = os.environ.get("BREAD_SALT_SCORING_POOL", "default_pool")

PRESETS = ["quick", "full", "original"]
PRESET = os.environ.get("BREAD_SALT_PRESET", "full")
if PRESET not in PRESETS:
    raise ValueError(f"BREAD_SALT_PRESET is {PRESET!r}; it must be one of {', '.join(PRESETS)}")

try:
    TIME_ZONE = ZoneInfo(os.environ.get("BREAD_SALT_TIME_ZONE", "UTC"))
except (ZoneInfoNotFoundError, ValueError) as error:
    raise ValueError(f"BREAD_SALT_TIME_ZONE must be an IANA time zone such as Europe/Vienna: {error}") from error


def run_name(dag_run: DagRunProtocol) -> str:
    """Return the run's id as a part of file names: the same at each try, and there without a logical date too."""
    return re.sub(r"[^A-Za-z0-9_]+", "-", dag_run.run_id)


class ProgramOperator(BashOperator):
    """Runs one of our programs. Not retried: exit code 2, which a person must mend, and what took too long."""

    def execute(self, context: Context) -> Any:
        """Run the program and fail for good where a retry could only fail again."""
        try:
            return super().execute(context)
        except AirflowException as error:
            if str(error).endswith("exit code 2."):
                raise AirflowFailException(f"{self.task_id}: see the line 'error: ...' above") from error
            raise
        except AirflowTaskTimeout as error:
            self.on_kill()  # Airflow calls it only for its own exception
            raise AirflowFailException(
                f"{self.task_id} took too long; clear it to go on, when nothing waits"
            ) from error


with DAG(
    dag_id="train_age_model",
    doc_md=__doc__,
    # 10:00: the night is over, and the next one finds the GPU free. No date is worked on, so no interval is needed.
    schedule=CronTriggerTimetable("0 10 1 * *", timezone=str(TIME_ZONE)),
    start_date=datetime(2026, 1, 1, tzinfo=TIME_ZONE),
    catchup=False,  # the labelled set of a past month is gone
    max_active_runs=1,  # of scheduled runs; those started by hand count apart, and only a pool holds them back
    params={"preset": Param(PRESET, enum=PRESETS, description="see python -m model.train --help")},
    user_defined_macros={"run_name": run_name},
    user_defined_filters={"quote": shlex.quote},
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    tags=["bread-salt"],
) as dag:
    explore = ProgramOperator(
        task_id="explore",
        bash_command=f"{PYTHON} -m model.explore"
        " --data {{ var.value.bread_salt_labelled | quote }}"
        " --out {{ var.value.bread_salt_reports | quote }}/explore-{{ run_name(dag_run) }}.html",
        execution_timeout=timedelta(hours=1),
    )

    train = ProgramOperator(
        task_id="train",
        bash_command=f"{PYTHON} -m model.train"
        " --data {{ var.value.bread_salt_labelled | quote }}"
        " --out {{ var.value.bread_salt_model_store | quote }}/candidates/age-{{ run_name(dag_run) }}"
        " --preset {{ params.preset | quote }}",
        pool=POOL,
        # Each try has its own time, and the last of three is to end before the night, which needs the GPU.
        execution_timeout=timedelta(hours=5),
    )

    judge = ProgramOperator(
        task_id="judge",
        bash_command=f"{PYTHON} -m model.evaluate"
        " --model {{ var.value.bread_salt_model_store | quote }}/candidates/age-{{ run_name(dag_run) }}"
        " --data {{ var.value.bread_salt_labelled | quote }}"
        " --against {{ var.value.bread_salt_model_store | quote }}/current"
        " --out {{ var.value.bread_salt_reports | quote }}/judgement-{{ run_name(dag_run) }}",
        pool=POOL,
        execution_timeout=timedelta(hours=1),
    )

    promote = ProgramOperator(
        task_id="promote",
        bash_command=f"{PYTHON} -m model.promote"
        " {{ var.value.bread_salt_model_store | quote }}/candidates/age-{{ run_name(dag_run) }}"
        " --store {{ var.value.bread_salt_model_store | quote }}",
        skip_on_exit_code=99,  # sound, but not better than the one in use
        execution_timeout=timedelta(minutes=30),
    )

    explore >> train >> judge >> promote
