import shlex
from datetime import timedelta

import pytest


def test_dag_waits_for_nightly_runs_and_then_rebuilds(rebuilding):
    assert [task.task_id for task in rebuilding.topological_sort()] == ["await_nightly_runs", "rebuild"]
    assert rebuilding.get_task("await_nightly_runs").downstream_task_ids == {"rebuild"}


def test_dag_is_triggered_by_the_last_task_of_the_nightly_run_and_never_by_itself(rebuilding, nightly):
    (trigger,) = rebuilding.schedule
    assert trigger in nightly.get_task("checks").outlets
    own = [asset.name for task in rebuilding.tasks for asset in task.outlets]
    assert own == ["bread_salt_windows"]
    assert trigger.name not in own


def test_dag_needs_no_operator_and_never_runs_twice_at_once(rebuilding):
    assert rebuilding.is_paused_upon_creation is False
    assert rebuilding.max_active_runs == 1
    assert rebuilding.catchup is False


class TaskInstance:
    """Answers the question of the sensor for runs in the given states."""

    def __init__(self, **runs):
        self.runs = runs

    def get_dr_count(self, dag_id, *, states):
        return sum(state in states for state in self.runs[dag_id])


@pytest.mark.parametrize(
    ("states", "is_over"),
    [
        ([], True),
        (["success", "failed"], True),
        (["success", "running"], False),
        (["queued"], False),  # the later dates of a backfill
        (["queued", "running", "success"], False),
    ],
)
def test_sensor_waits_for_queued_and_running_nightly_runs(states, is_over, rebuilding):
    instance = TaskInstance(nightly_purchase_analytics=states, rebuild_windows=["running"])
    assert rebuilding.get_task("await_nightly_runs").poke({"ti": instance}) is is_over


def test_sensor_frees_its_slot_and_waits_for_a_long_backfill(rebuilding):
    sensor = rebuilding.get_task("await_nightly_runs")
    assert sensor.reschedule
    assert timedelta(days=2) <= timedelta(seconds=sensor.timeout)


def test_airflow_answers_the_question_of_the_sensor():
    from airflow.sdk.types import TaskInstance as Real  # noqa: PLC0415 - after AIRFLOW_HOME is set

    assert {"dag_id", "states"} <= set(Real.get_dr_count.__annotations__)


@pytest.mark.parametrize(
    ("variables", "settings"),
    [
        ({}, {}),
        ({"AGE_BANDS": "under_18  18-39 40_plus"}, {"age_bands": ("under_18", "18-39", "40_plus")}),
        ({"OFFER_AGE_RESTRICTED": "true"}, {"offer_age_restricted": True}),
        ({"OFFER_AGE_RESTRICTED": "false"}, {}),
        ({"MIN_RECEIPTS": "20"}, {"min_receipts": 20}),
    ],
)
def test_both_dags_publish_with_the_settings_of_the_environment(
    variables, settings, load_dags, monkeypatch, template_context
):
    import tyro  # noqa: PLC0415

    from jobs import build_affinity, rebuild_windows  # noqa: PLC0415

    for name, value in variables.items():
        monkeypatch.setenv(f"BREAD_SALT_{name}", value)
    dags, warehouse = load_dags().dags, "/srv/bread salt/warehouse"

    def parsed(dag_id, task_id, program):
        task = dags[dag_id].get_task(task_id)
        task.render_template_fields(template_context(business_date="2026-11-09"))
        arguments = shlex.split(task.bash_command)
        return tyro.cli(program.Settings, args=arguments[arguments.index(program.__name__) + 1 :])

    assert parsed("rebuild_windows", "rebuild", rebuild_windows) == rebuild_windows.Settings(
        warehouse=warehouse, **settings
    )
    nightly = vars(parsed("nightly_purchase_analytics", "build_affinity", build_affinity))
    assert nightly == nightly | {"warehouse": warehouse, **settings}
