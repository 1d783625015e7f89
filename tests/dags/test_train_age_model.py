import copy
import importlib
import itertools
import re
import shlex
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

MANUAL = "manual__2026-11-20T10:11:12.123456+00:00_x8QKbTzM"


@pytest.fixture
def rendered(training, template_context):
    """Return the arguments of each task's program in a run."""

    def render(**run):
        commands = {}
        for task in map(copy.copy, training.tasks):  # rendering changes the task itself
            task.render_template_fields(template_context(**run))
            commands[task.task_id] = shlex.split(task.bash_command)
        return commands

    return render


def value_of(arguments, flag):
    return arguments[arguments.index(flag) + 1]


def test_tasks_run_in_order(training):
    order = [task.task_id for task in training.topological_sort()]
    assert order == ["explore", "train", "evaluate", "promote"]
    for before, after in itertools.pairwise(order):
        assert training.get_task(before).downstream_task_ids == {after}


def test_trained_model_is_evaluated_and_promoted(rendered):
    commands = rendered(run_id=MANUAL)
    candidate = value_of(commands["train"], "--out")
    assert value_of(commands["evaluate"], "--model") == candidate
    assert candidate in commands["promote"]
    # The nightly run uses this link.
    assert value_of(commands["evaluate"], "--against") == value_of(commands["promote"], "--store") + "/current"


def test_retries_use_the_same_folder_and_each_run_has_its_own(rendered):
    runs = [MANUAL, "manual__2026-11-20T10:11:12.123457+00:00_x8QKbTzM", "scheduled__2026-12-01T10:00:00+00:00"]
    # The context has no try number, clock or logical date: a command that used them would not render.
    folders = [value_of(rendered(run_id=run)["train"], "--out") for run in runs]
    assert folders == [value_of(rendered(run_id=run)["train"], "--out") for run in runs]
    assert len(set(folders)) == len(runs)


@pytest.mark.parametrize("run_id", [MANUAL, "..", "~a:b+c", "--help", "labels of November/../; rm -rf $HOME"])
def test_run_id_cannot_change_the_folder_of_the_output(rendered, run_id):
    commands = rendered(run_id=run_id)
    assert re.fullmatch(r"/srv/models/candidates/age-[\w-]+", value_of(commands["train"], "--out"))
    assert re.fullmatch(r"/srv/model reports/explore-[\w-]+\.html", value_of(commands["explore"], "--out"))
    assert re.fullmatch(r"/srv/model reports/evaluation-[\w-]+", value_of(commands["evaluate"], "--out"))
    assert [len(arguments) for arguments in commands.values()] == [7, 9, 11, 6]


def test_each_program_accepts_its_command(rendered):
    import tyro  # noqa: PLC0415

    for name, (_, _, module, *arguments) in rendered(preset="quick").items():
        program = importlib.import_module(module)
        assert tyro.cli(program.Settings, args=arguments), name
        assert callable(program.main)


def test_presets_are_those_of_model_train(training):
    from model.training.recipe import PRESETS  # noqa: PLC0415

    assert set(training.params.get_param("preset").schema["enum"]) == set(PRESETS)


def test_default_preset_can_be_configured(load_dags, monkeypatch):
    monkeypatch.setenv("BREAD_SALT_PRESET", "quick")
    assert load_dags().dags["train_age_model"].params["preset"] == "quick"
    monkeypatch.setenv("BREAD_SALT_PRESET", "small")
    (error,) = load_dags().import_errors.values()
    assert "BREAD_SALT_PRESET is 'small'; it must be one of quick, full, original" in error


def test_unknown_preset_is_rejected_when_the_run_is_triggered(training):
    from airflow.sdk.exceptions import ParamValidationError  # noqa: PLC0415

    with pytest.raises(ParamValidationError, match="Invalid input for param preset"):
        training.params["preset"] = "huge"


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Auckland", "America/Los_Angeles"])
def test_dag_runs_once_a_month_during_the_day(zone, load_dags, monkeypatch, scheduled_runs):
    monkeypatch.setenv("BREAD_SALT_TIME_ZONE", zone)
    local = ZoneInfo(zone)
    year = datetime(2026, 1, 1, tzinfo=local), datetime(2026, 12, 31, 23, 59, tzinfo=local)
    runs = [run_after for _, run_after in scheduled_runs(load_dags().dags["train_age_model"], *year)]
    assert runs == [datetime(2026, month, 1, 10, 0, tzinfo=local) for month in range(1, 13)]


def test_tasks_on_the_gpu_use_the_pool(load_dags, monkeypatch):
    monkeypatch.setenv("BREAD_SALT_SCORING_POOL", "gpu")
    pools = {task.task_id: task.pool for task in load_dags().dags["train_age_model"].tasks}
    assert pools == {"explore": "default_pool", "train": "gpu", "evaluate": "gpu", "promote": "default_pool"}


@pytest.fixture
def exit_with(load_dags, template_context, tmp_path, monkeypatch):
    """Execute a task with a fake interpreter that only exits."""

    def execute(task_id, exit_code):
        program = tmp_path / "a python"
        program.write_text(f"#!/bin/sh\nexit {exit_code}\n")
        program.chmod(0o755)
        monkeypatch.setenv("BREAD_SALT_PYTHON", str(program))
        task = load_dags().dags["train_age_model"].get_task(task_id)
        task.render_template_fields(template_context())
        task.execute({})

    return execute


def test_every_task_runs_its_program_with_the_program_operator(training):
    assert {type(task).__name__ for task in training.tasks} == {"ProgramOperator"}


@pytest.mark.parametrize(("exit_code", "is_final"), [(2, True), (1, False), (22, False), (137, False)])
def test_program_is_retried_except_after_exit_code_2(exit_with, exit_code, is_final):
    from airflow.sdk.exceptions import AirflowException, AirflowFailException  # noqa: PLC0415

    with pytest.raises(AirflowException) as raised:
        exit_with("train", exit_code)
    assert isinstance(raised.value, AirflowFailException) == is_final


def test_program_that_times_out_is_ended_and_not_retried(
    *, load_dags, template_context, tmp_path, monkeypatch, wait_until_ended
):
    from airflow.sdk.exceptions import AirflowFailException, AirflowTaskTimeout  # noqa: PLC0415

    program, pid = tmp_path / "python", tmp_path / "pid"
    program.write_text(f"#!/bin/sh\nsleep 300 & echo $! > {pid}; echo started; wait\n")
    program.chmod(0o755)
    monkeypatch.setenv("BREAD_SALT_PYTHON", str(program))
    task = load_dags().dags["train_age_model"].get_task("train")
    task.render_template_fields(template_context())

    def log(message, *_):
        if message == "%s":  # a line of output
            raise AirflowTaskTimeout

    monkeypatch.setattr(task.subprocess_hook.log, "info", log)
    with pytest.raises(AirflowFailException, match="train reached its execution_timeout; clear it to continue"):
        task.execute({})
    wait_until_ended(int(pid.read_text()))
    with task.subprocess_hook.sub_process:
        pass  # Airflow does not close it after a timeout


def test_promote_is_skipped_if_the_model_is_not_better(exit_with):
    from airflow.sdk.exceptions import AirflowSkipException  # noqa: PLC0415

    from model.promote import NOT_BETTER  # noqa: PLC0415

    with pytest.raises(AirflowSkipException):
        exit_with("promote", NOT_BETTER)
    exit_with("promote", 0)
