import copy
import importlib
import itertools
import re
import shlex
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest

MANUAL = "manual__2026-11-20T10:11:12.123456+00:00_x8QKbTzM"


@pytest.fixture
def rendered(training, template_context):
    """Return the arguments of each task's program in a run, without what the shell does before it."""

    def render(**run):
        commands = {}
        for task in map(copy.copy, training.tasks):  # rendering changes the task itself
            if hasattr(task, "bash_command"):
                task.render_template_fields(template_context(**run))
                arguments = shlex.split(task.bash_command)
                commands[task.task_id] = arguments[arguments.index("-m") - 1 :]
        return commands

    return render


def value_of(arguments, flag):
    return arguments[arguments.index(flag) + 1]


def test_tasks_run_in_order(training):
    order = [task.task_id for task in training.topological_sort()]
    assert order == ["explore", "train", "evaluate", "promote", "ask", "promote_approved"]
    for before, after in itertools.pairwise(order):
        assert training.get_task(before).downstream_task_ids == {after}


def test_trained_model_is_evaluated_and_promoted(rendered):
    commands = rendered(run_id=MANUAL)
    candidate = value_of(commands["train"], "--out")
    assert value_of(commands["evaluate"], "--model") == candidate
    assert candidate in commands["promote"]
    assert candidate in commands["promote_approved"]
    assert value_of(commands["promote"], "--store") == value_of(commands["promote_approved"], "--store")


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
    assert [len(arguments) for arguments in commands.values()] == [7, 9, 10, 7, 8]


def test_each_program_accepts_its_command(rendered):
    import tyro  # noqa: PLC0415

    for name, (_, _, module, *arguments) in rendered(preset="quick").items():
        program = importlib.import_module(module)
        given = [argument for argument in arguments if argument != "$@"]  # --against, if the store has a model
        assert tyro.cli(program.Settings, args=given), name
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
    assert {task for task, pool in pools.items() if pool == "gpu"} == {"train", "evaluate"}


@pytest.fixture
def exit_with(load_dags, template_context, fake_python):
    """Execute a task with a fake interpreter that only exits."""

    def execute(task_id, exit_code):
        fake_python(f"exit {exit_code}")
        task = load_dags().dags["train_age_model"].get_task(task_id)
        task.render_template_fields(template_context())
        task.execute({"task": task, "ti": SimpleNamespace(map_index=-1, xcom_push=lambda **_: None)})

    return execute


def test_every_task_but_the_question_runs_its_program_with_the_program_operator(training):
    types = {task.task_id: type(task).__name__ for task in training.tasks}
    assert types.pop("ask") == "ApprovalOperator"
    assert types.pop("promote") == "AskingProgramOperator"
    assert set(types.values()) == {"ProgramOperator"}


@pytest.mark.parametrize(("exit_code", "is_final"), [(2, True), (1, False), (22, False), (75, False), (137, False)])
def test_program_is_retried_except_after_exit_code_2(exit_with, exit_code, is_final):
    from airflow.sdk.exceptions import AirflowException, AirflowFailException  # noqa: PLC0415

    with pytest.raises(AirflowException) as raised:
        exit_with("train", exit_code)
    assert isinstance(raised.value, AirflowFailException) == is_final


def test_program_that_times_out_is_ended_and_not_retried(
    *, load_dags, template_context, fake_python, tmp_path, monkeypatch, wait_until_ended
):
    from airflow.sdk.exceptions import AirflowFailException, AirflowTaskTimeout  # noqa: PLC0415

    pid = tmp_path / "pid"
    fake_python(f"sleep 300 & echo $! > {pid}; echo started; wait")
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


def test_a_person_is_asked_only_if_the_models_were_not_compared(exit_with):
    from airflow.sdk.exceptions import AirflowException, DownstreamTasksSkipped  # noqa: PLC0415

    from model.promote import NOT_COMPARED  # noqa: PLC0415

    exit_with("promote", NOT_COMPARED)
    with pytest.raises(DownstreamTasksSkipped) as skipped:
        exit_with("promote", 0)
    assert skipped.value.tasks == ["ask"]
    with pytest.raises(AirflowException, match="exit code 1"):
        exit_with("promote", 1)


@pytest.fixture
def answer(training, template_context, monkeypatch):
    """Let a person answer the question of a run, or nobody; return the question."""
    from airflow.providers.standard.operators import hitl  # noqa: PLC0415
    from airflow.sdk.exceptions import TaskAwaitingInput  # noqa: PLC0415

    asked = {}
    monkeypatch.setattr(hitl, "upsert_hitl_detail", lambda **detail: asked.update(detail))

    def give(**event):
        ask = copy.copy(training.get_task("ask"))
        ask.render_template_fields(template_context())
        instance = SimpleNamespace(id=1, map_index=-1, xcom_push=lambda **_: None)
        context = {"task": ask, "ti": instance, "task_instance": instance}
        with pytest.raises(TaskAwaitingInput) as waiting:
            ask.execute(context)
        asked["timeout"] = waiting.value.timeout
        ask.execute_complete(context, {"params_input": {}, "responded_by_user": None} | event)

    give.asked = asked
    return give


def test_the_question_names_the_model_and_its_evaluation_and_has_an_end(answer):
    answer(chosen_options=["Approve"], responded_at=datetime.now(UTC))
    assert "/srv/models/candidates/age-scheduled__2026-12-01T10-00-00-00-00" in answer.asked["body"]
    assert "/srv/model reports/evaluation-scheduled__2026-12-01T10-00-00-00-00" in answer.asked["body"]
    assert timedelta(days=7) <= answer.asked["timeout"] < timedelta(days=28)  # the next run waits for this one


def test_a_rejected_model_is_not_promoted(answer):
    from airflow.sdk.exceptions import DownstreamTasksSkipped  # noqa: PLC0415

    with pytest.raises(DownstreamTasksSkipped) as skipped:
        answer(chosen_options=["Reject"], responded_at=datetime.now(UTC))
    assert skipped.value.tasks == ["promote_approved"]


def test_a_question_that_nobody_answers_fails_once(answer, training):
    from airflow.providers.standard.exceptions import HITLTimeoutError  # noqa: PLC0415

    with pytest.raises(HITLTimeoutError):
        answer(error="nobody answered", error_type="timeout")
    assert training.get_task("ask").retries == 0


def test_an_approved_model_is_promoted_with_a_reason_that_names_the_run(rendered):
    arguments = rendered(run_id="manual__it's")["promote_approved"]
    assert value_of(arguments, "--force") == "approved in run manual__it's"


def test_the_model_is_compared_only_if_the_store_has_one(load_dags, fake_python, template_context, tmp_path):
    store = tmp_path / "our models"
    fake_python(f'printf "%s\\n" "$@" > {tmp_path}/arguments')

    def arguments():
        context = template_context()
        context["var"]["value"] = context["var"]["value"] | {"bread_salt_model_store": str(store)}
        task = load_dags().dags["train_age_model"].get_task("evaluate")
        task.render_template_fields(context)
        task.execute({})
        return (tmp_path / "arguments").read_text().splitlines()

    assert "--against" not in arguments()
    (store / "current").mkdir(parents=True)
    assert value_of(arguments(), "--against") == f"{store}/current"
