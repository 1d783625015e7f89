import shlex
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest


def test_programs_wait_until_no_night_is_running(housekeeping):
    sensor = housekeeping.get_task("await_nightly_runs")
    assert sensor.watched_dag_id == "nightly_purchase_analytics"
    assert sensor.downstream_task_ids == {"keep_house", "retire_models"}
    assert sensor.reschedule
    assert sensor.timeout < timedelta(days=7).total_seconds()  # otherwise the next run waits for this one


def test_dag_needs_no_operator_and_never_runs_twice_at_once(housekeeping):
    assert housekeeping.is_paused_upon_creation is False
    assert housekeeping.max_active_runs == 1
    assert housekeeping.catchup is False


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Auckland", "America/Los_Angeles"])
def test_dag_runs_on_sundays_at_noon(zone, load_dags, monkeypatch, scheduled_runs):
    monkeypatch.setenv("BREAD_SALT_TIME_ZONE", zone)
    local = ZoneInfo(zone)
    runs = scheduled_runs(
        load_dags().dags["keep_house"], datetime(2026, 11, 1, tzinfo=local), datetime(2026, 11, 30, tzinfo=local)
    )
    assert [run_after for _, run_after in runs] == [
        datetime(2026, 11, day, 12, tzinfo=local) for day in range(1, 30, 7)
    ]


def test_a_new_installation_begins_on_the_next_sunday(housekeeping):
    from airflow.serialization.serialized_objects import DagSerialization  # noqa: PLC0415
    from airflow.timetables.base import TimeRestriction  # noqa: PLC0415

    timetable = DagSerialization.from_dict(DagSerialization.to_dict(housekeeping)).timetable
    never = TimeRestriction(earliest=housekeeping.start_date, latest=None, catchup=False)
    first = timetable.next_dagrun_info(last_automated_data_interval=None, restriction=never)
    assert first.run_after > datetime.now(UTC)


def test_retention_of_the_environment_is_passed_to_keep_house(load_dags, monkeypatch, template_context):
    import tyro  # noqa: PLC0415

    from jobs import keep_house  # noqa: PLC0415

    monkeypatch.setenv("BREAD_SALT_RETENTION_FLAGS", "--keep-ages-days 35")
    task = load_dags().dags["keep_house"].get_task("keep_house")
    task.render_template_fields(template_context())
    arguments = shlex.split(task.bash_command)
    settings = tyro.cli(keep_house.Settings, args=arguments[arguments.index("jobs.keep_house") + 1 :])
    assert settings == keep_house.Settings(warehouse="/srv/bread salt/warehouse", delete=True, keep_ages_days=35)


def test_models_are_retired_only_if_the_chain_has_a_model_store(load_dags, fake_python, template_context, tmp_path):
    from airflow.sdk.exceptions import AirflowSkipException  # noqa: PLC0415

    fake_python(f'printf "%s\\n" "$@" > {tmp_path}/arguments')

    def retire(variables):
        task = load_dags().dags["keep_house"].get_task("retire_models")
        task.render_template_fields(template_context() | {"var": {"value": variables}})
        task.execute({})

    with pytest.raises(AirflowSkipException):
        retire({})
    assert not (tmp_path / "arguments").exists()
    retire({"bread_salt_model_store": "/srv/our models"})
    assert (tmp_path / "arguments").read_text().splitlines() == ["-m", "model.retire", "/srv/our models", "--delete"]
