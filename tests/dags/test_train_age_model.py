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
    """The arguments of each task's program in a run."""

    def render(**run):
        commands = {}
        for task in map(copy.copy, training.tasks):  # rendering changes the task itself
            task.render_template_fields(template_context(**run))
            commands[task.task_id] = shlex.split(task.bash_command)
        return commands

    return render


def value_of(arguments, flag):
    return arguments[arguments.index(flag) + 1]


def test_the_tasks_follow_one_another(training):
    order = [task.task_id for task in training.topological_sort()]
    assert order == ["explore", "train", "judge", "promote"]
    for before, after in itertools.pairwise(order):
        assert training.get_task(before).downstream_task_ids == {after}


def test_what_was_trained_is_judged_and_promoted(rendered):
    commands = rendered(run_id=MANUAL)
    candidate = value_of(commands["train"], "--out")
    assert value_of(commands["judge"], "--model") == candidate
    assert candidate in commands["promote"]
    # The nightly run is given this link; here it is what the candidate is judged against.
    assert value_of(commands["judge"], "--against") == value_of(commands["promote"], "--store") + "/current"


def test_each_try_of_a_run_goes_on_in_the_same_folder_and_each_run_has_its_own(rendered):
    runs = [MANUAL, "manual__2026-11-20T10:11:12.123457+00:00_x8QKbTzM", "scheduled__2026-12-01T10:00:00+00:00"]
    # No try number, clock or logical date is in the context: a command that used one would not render.
    folders = [value_of(rendered(run_id=run)["train"], "--out") for run in runs]
    assert folders == [value_of(rendered(run_id=run)["train"], "--out") for run in runs]
    assert len(set(folders)) == len(runs)


@pytest.mark.parametrize("run_id", [MANUAL, "..", "~a:b+c", "--help", "labels of November/../; rm -rf $HOME"])
def test_whatever_a_run_is_called_its_files_lie_where_they_should(rendered, run_id):
    commands = rendered(run_id=run_id)
    assert re.fullmatch(r"/srv/models/candidates/age-[\w-]+", value_of(commands["train"], "--out"))
    assert re.fullmatch(r"/srv/model reports/explore-[\w-]+\.html", value_of(commands["explore"], "--out"))
    assert re.fullmatch(r"/srv/model reports/judgement-[\w-]+", value_of(commands["judge"], "--out"))
    assert [len(arguments) for arguments in commands.values()] == [7, 9, 11, 6]


def test_each_command_is_one_that_its_program_takes(rendered):
    import tyro  # noqa: PLC0415

    for name, (_, _, module, *arguments) in rendered(preset="quick").items():
        package = importlib.import_module(module)
        program = importlib.import_module(f"{module}.__main__") if hasattr(package, "__path__") else package
        assert tyro.cli(program.Settings, args=arguments), name
        assert callable(program.main)


def test_the_presets_are_those_of_the_program(training):
    from model.training.recipe import PRESETS  # noqa: PLC0415

    assert set(training.params.get_param("preset").schema["enum"]) == set(PRESETS)


def test_a_chain_without_a_gpu_says_once_how_to_train(load_dags, monkeypatch):
    monkeypatch.setenv("BREAD_SALT_PRESET", "quick")
    assert load_dags().dags["train_age_model"].params["preset"] == "quick"
    monkeypatch.setenv("BREAD_SALT_PRESET", "small")
    (error,) = load_dags().import_errors.values()
    assert "BREAD_SALT_PRESET is 'small'; it must be one of quick, full, original" in error


def test_an_unknown_preset_is_refused_when_the_run_is_triggered(training):
    from airflow.sdk.exceptions import ParamValidationError  # noqa: PLC0415

    with pytest.raises(ParamValidationError, match="Invalid input for param preset"):
        training.params["preset"] = "huge"


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Auckland", "America/Los_Angeles"])
def test_it_runs_once_a_month_by_day(zone, load_dags, monkeypatch, scheduled_runs):
    monkeypatch.setenv("BREAD_SALT_TIME_ZONE", zone)
    local = ZoneInfo(zone)
    year = datetime(2026, 1, 1, tzinfo=local), datetime(2026, 12, 31, 23, 59, tzinfo=local)
    runs = [run_after for _, run_after in scheduled_runs(load_dags().dags["train_age_model"], *year)]
    assert runs == [datetime(2026, month, 1, 10, 0, tzinfo=local) for month in range(1, 13)]


def test_what_uses_the_gpu_waits_for_it(load_dags, monkeypatch):
    monkeypatch.setenv("BREAD_SALT_SCORING_POOL", "gpu")
    pools = {task.task_id: task.pool for task in load_dags().dags["train_age_model"].tasks}
    assert pools == {"explore": "default_pool", "train": "gpu", "judge": "gpu", "promote": "default_pool"}


@pytest.fixture
def exit_with(load_dags, template_context, tmp_path, monkeypatch):
    """Execute a task whose interpreter does nothing but exit."""

    def execute(task_id, exit_code):
        program = tmp_path / "a python"
        program.write_text(f"#!/bin/sh\nexit {exit_code}\n")
        program.chmod(0o755)
        monkeypatch.setenv("BREAD_SALT_PYTHON", str(program))
        task = load_dags().dags["train_age_model"].get_task(task_id)
        task.render_template_fields(template_context())
        task.execute({})

    return execute


@pytest.mark.parametrize("task_id", ["explore", "train", "judge", "promote"])
@pytest.mark.parametrize(("exit_code", "is_final"), [(2, True), (1, False), (22, False), (137, False)])
def test_a_program_is_tried_again_unless_a_person_must_mend_its_input(exit_with, task_id, exit_code, is_final):
    from airflow.sdk.exceptions import AirflowException, AirflowFailException  # noqa: PLC0415

    with pytest.raises(AirflowException) as raised:
        exit_with(task_id, exit_code)
    assert isinstance(raised.value, AirflowFailException) == is_final


def test_what_took_too_long_is_ended_and_not_begun_again(load_dags, monkeypatch):
    from airflow.providers.standard.operators.bash import BashOperator  # noqa: PLC0415
    from airflow.sdk.exceptions import AirflowFailException, AirflowTaskTimeout  # noqa: PLC0415

    task = load_dags().dags["train_age_model"].get_task("train")
    ended = []

    def too_long(*_):
        raise AirflowTaskTimeout

    monkeypatch.setattr(BashOperator, "execute", too_long)
    monkeypatch.setattr(BashOperator, "on_kill", lambda task: ended.append(task.task_id))
    with pytest.raises(AirflowFailException, match="train took too long; clear it to go on"):
        task.execute({})
    assert ended == ["train"]


def test_a_model_that_is_not_better_is_skipped_and_no_failure(exit_with):
    from airflow.sdk.exceptions import AirflowSkipException  # noqa: PLC0415

    from model.promote import NOT_BETTER  # noqa: PLC0415

    with pytest.raises(AirflowSkipException):
        exit_with("promote", NOT_BETTER)
    exit_with("promote", 0)
