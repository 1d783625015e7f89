"""Each task's command line for a date, compared with `golden/<dag_id>.<task_id>.txt`.

After an intended change: `pytest tests/dags --rebuild-golden`, then review the difference.
"""

import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def commands(load_dags, template_context, project) -> dict[str, str]:
    context = template_context(run_type="scheduled", data_interval_start=datetime(2026, 11, 15, 2, 0, tzinfo=UTC))
    rendered = {}
    for dag in load_dags().dags.values():
        for task in dag.tasks:
            if not (hasattr(task, "bash_command") or hasattr(task, "application")):
                continue  # it runs no program
            task.render_template_fields(context)
            text = command(task).replace(sys.executable, "<python>").replace(str(project), "<project>")
            rendered[f"{dag.dag_id}.{task.task_id}.txt"] = text
    return rendered


def command(task) -> str:
    """One argument per line, so that a difference shows the argument."""
    if hasattr(task, "bash_command"):
        arguments = shlex.split(task.bash_command)
    else:
        environment = [f"{name}={value}" for name, value in task.env_vars.items()]
        arguments = environment + task._get_hook()._build_spark_submit_command(task.application)
    return "\n".join(arguments) + "\n"


def test_each_task_runs_the_command_in_its_golden_file(commands, request):
    if request.config.getoption("--rebuild-golden", default=False):
        for old in GOLDEN.glob("*.txt"):
            old.unlink()
        for name, text in commands.items():
            (GOLDEN / name).write_text(text, encoding="utf-8")
    golden = {path.name: path.read_text(encoding="utf-8") for path in GOLDEN.iterdir()}
    assert commands == golden


def test_each_spark_task_submits_an_existing_job(load_dags, project):
    for dag in load_dags().dags.values():
        for task in dag.tasks:
            if hasattr(task, "application"):
                assert Path(task.application).is_file(), task.application
                assert Path(task.application).parent == project / "jobs"


def test_jobs_run_locally_if_the_connection_does_not_exist(load_dags, monkeypatch):
    monkeypatch.delenv("AIRFLOW_CONN_SPARK_DEFAULT")
    task = load_dags().dags["nightly_purchase_analytics"].get_task("score_photos")
    command = task._get_hook()._build_spark_submit_command(task.application)
    assert command[command.index("--master") + 1] == "local[*]"
