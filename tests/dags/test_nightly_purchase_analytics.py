import shlex
from contextlib import nullcontext, suppress
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

# Clock changes of 2026: Auckland 5 April and 27 September, Vienna 29 March and 25 October,
# Los Angeles 8 March and 1 November. In Vienna and Los Angeles they are at 02:00.
ZONES = ["UTC", "Pacific/Auckland", "Europe/Vienna", "America/Los_Angeles"]


@pytest.fixture
def nightly_in(load_dags, monkeypatch):
    def load(zone):
        monkeypatch.setenv("BREAD_SALT_TIME_ZONE", zone)
        return load_dags().dags["nightly_purchase_analytics"]

    return load


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("run_type", ["scheduled", "backfill"])
def test_a_year_of_runs_has_each_business_date_exactly_once(
    zone, run_type, nightly_in, scheduled_runs, template_context
):
    dag, local = nightly_in(zone), ZoneInfo(zone)
    business_date = dag.user_defined_macros["business_date"]
    runs = scheduled_runs(dag, datetime(2026, 2, 1, tzinfo=local), datetime(2026, 12, 31, 23, 59, tzinfo=local))
    dates = []
    for start, _ in runs:
        context = template_context(run_type=run_type, data_interval_start=start)
        dates.append(business_date(context["params"], context["dag_run"]))
    assert dates == [str(date(2026, 2, 1) + timedelta(days=n)) for n in range(334)]


@pytest.mark.parametrize("zone", ZONES)
def test_run_starts_in_the_night_after_its_business_date(zone, nightly_in, scheduled_runs):
    local = ZoneInfo(zone)
    midnight = datetime(2026, 11, 15, tzinfo=local)
    ((_, run_after),) = scheduled_runs(nightly_in(zone), midnight, midnight + timedelta(hours=23))
    assert run_after == datetime(2026, 11, 16, 2, 0, tzinfo=local)


@pytest.mark.parametrize("run_type", ["scheduled", "backfill", "manual", "asset_triggered"])
def test_given_business_date_has_priority(run_type, nightly, template_context):
    context = template_context(
        business_date="2026-11-09",
        run_type=run_type,
        data_interval_start=datetime(2026, 11, 20, 2, 0, tzinfo=UTC),
    )
    business_date = nightly.user_defined_macros["business_date"]
    assert business_date(context["params"], context["dag_run"]) == "2026-11-09"


@pytest.mark.parametrize("run_type", ["manual", "asset_triggered"])
def test_manual_run_without_a_business_date_fails(run_type, nightly, template_context):
    from airflow.sdk.exceptions import AirflowFailException  # noqa: PLC0415

    context = template_context(run_type=run_type, data_interval_start=datetime(2026, 11, 20, 2, 0, tzinfo=UTC))
    with pytest.raises(AirflowFailException, match="--conf"):
        nightly.get_task("await_landing").render_template_fields(context)


@pytest.mark.parametrize("wrong", ["09.11.2026", "2026-02-30", "yesterday", 20261109])
def test_invalid_business_date_is_rejected_when_the_run_is_triggered(wrong, nightly):
    from airflow.sdk.exceptions import ParamValidationError  # noqa: PLC0415

    with pytest.raises(ParamValidationError, match="Invalid input for param business_date"):
        nightly.params["business_date"] = wrong


def test_error_names_the_missing_airflow_variable(nightly, template_context):
    from jinja2 import UndefinedError  # noqa: PLC0415

    context = template_context(business_date="2026-11-09") | {"var": {"value": {}}}
    with pytest.raises(UndefinedError, match="bread_salt_landing"):
        nightly.get_task("score_photos").render_template_fields(context)


def test_sensor_frees_its_slot_and_times_out(nightly):
    sensor = nightly.get_task("await_landing")
    assert sensor.reschedule
    assert sensor.retry_exit_code == 75
    assert timedelta(hours=1) <= timedelta(seconds=sensor.timeout) <= timedelta(hours=12)


def test_tasks_run_in_order_and_end_with_checks_and_warnings(nightly):
    following = {task.task_id: task.downstream_task_ids for task in nightly.tasks}
    assert following == {
        "await_landing": {"score_photos"},
        "score_photos": {"match_receipts"},
        "match_receipts": {"count_purchases"},
        "count_purchases": {"build_affinity", "screen_cashiers", "watch_ages"},
        "build_affinity": {"checks"},
        "screen_cashiers": {"checks"},
        "watch_ages": {"warnings"},  # what watches the cameras must not stop the tables
        "checks": set(),
        "warnings": set(),
    }


def test_screening_flags_are_passed_to_both_programs_that_screen(load_dags, monkeypatch):
    monkeypatch.setenv("BREAD_SALT_SCREENING_FLAGS", "--hour-blocks 6 14 --review-ratio 0.6; rm x")
    dags = load_dags().dags
    for dag_id, task_id in (("nightly_purchase_analytics", "screen_cashiers"), ("rebuild_windows", "rebuild")):
        command = dags[dag_id].get_task(task_id).bash_command
        assert command.endswith(" --hour-blocks 6 14 --review-ratio '0.6;' rm x")


def test_the_time_zone_is_passed_to_count_purchases(nightly_in):
    command = nightly_in("Europe/Vienna").get_task("count_purchases").bash_command
    assert command.endswith(" --time-zone Europe/Vienna")


def test_only_the_checks_update_the_asset(nightly):
    outlets = {task.task_id: [asset.name for asset in task.outlets] for task in nightly.tasks if task.outlets}
    assert outlets == {"checks": ["bread_salt_analytics"]}


@pytest.fixture
def run_checks(fake_python, load_dags, template_context):
    """Run the checks, which exit with a code, and what Airflow calls after them; return the events of assets."""
    from airflow.sdk.execution_time.context import OutletEventAccessors  # noqa: PLC0415

    def run(exit_code, **run):
        fake_python(f"exit {exit_code}")
        task = load_dags().dags["nightly_purchase_analytics"].get_task("checks")
        context = template_context(**run) | {"outlet_events": OutletEventAccessors()}
        task.render_template_fields(context)
        task._post_execute_hook(context, task.execute(context))
        return context["outlet_events"]

    return run


@pytest.mark.parametrize(
    ("run", "date"),
    [
        ({"run_type": "backfill", "data_interval_start": datetime(2026, 11, 7, 2, 0, tzinfo=UTC)}, "2026-11-07"),
        ({"business_date": "2026-11-09"}, "2026-11-09"),
    ],
)
def test_the_event_of_the_asset_carries_the_business_date(run, date, run_checks, nightly):
    (asset,) = nightly.get_task("checks").outlets
    assert run_checks(0, **run)[asset].extra == {"business_date": date}


def test_checks_that_fail_cause_no_event(run_checks):
    from airflow.sdk.exceptions import AirflowException  # noqa: PLC0415

    with pytest.raises(AirflowException, match="exit code 1"):
        run_checks(1, business_date="2026-11-09")


@pytest.mark.parametrize(("exit_code", "is_final"), [(1, True), (2, True), (75, False), (137, False)])
def test_checks_are_retried_unless_they_have_found_rows_or_wrong_input(exit_code, is_final, run_checks, nightly):
    from airflow.sdk.exceptions import AirflowException, AirflowFailException  # noqa: PLC0415

    with pytest.raises(AirflowException) as raised:
        run_checks(exit_code, business_date="2026-11-09")
    assert isinstance(raised.value, AirflowFailException) == is_final
    assert nightly.get_task("checks").retries == nightly.get_task("build_affinity").retries


@pytest.mark.parametrize("exit_code", [0, 1, 2, 75])
def test_warnings_never_fail_the_run(exit_code, fake_python, load_dags, template_context):
    from airflow.sdk.exceptions import AirflowSkipException  # noqa: PLC0415

    fake_python(f"exit {exit_code}")
    task = load_dags().dags["nightly_purchase_analytics"].get_task("warnings")
    task.render_template_fields(template_context(business_date="2026-11-09"))
    with suppress(AirflowSkipException) if exit_code else nullcontext():
        task.execute({})


@pytest.fixture
def hanging_warnings(fake_python, load_dags, template_context, tmp_path):
    """The task `warnings` with a slow program and a limit of half a second; the file that the program would remove."""
    pid = tmp_path / "pid"
    fake_python(f"echo $$ > {pid}; echo started; sleep 20 >/dev/null 2>&1; rm {pid}")
    task = load_dags().dags["nightly_purchase_analytics"].get_task("warnings")
    task.render_template_fields(template_context(business_date="2026-11-09"))
    task.bash_command = task.bash_command.replace(" 1200 ", " 0.5 ")
    return task, pid


def test_warnings_that_hang_are_ended_and_do_not_fail_the_run(hanging_warnings, wait_until_ended):
    from airflow.sdk.exceptions import AirflowSkipException  # noqa: PLC0415

    task, pid = hanging_warnings
    with pytest.raises(AirflowSkipException):
        task.execute({})
    wait_until_ended(int(pid.read_text()))


def test_killed_warnings_also_end_their_program(hanging_warnings, wait_until_ended, monkeypatch):
    from airflow.sdk.exceptions import AirflowException  # noqa: PLC0415

    task, pid = hanging_warnings
    task.bash_command = task.bash_command.replace(" 0.5 ", " 300 ")

    def log(message, *_):
        if message == "%s":  # a line of output
            task.on_kill()

    monkeypatch.setattr(task.subprocess_hook.log, "info", log)
    with pytest.raises(AirflowException):
        task.execute({})
    wait_until_ended(int(pid.read_text()))


@pytest.mark.parametrize(("exit_code", "lands_later"), [(75, True), (124, True), (137, True), (0, False)])
def test_sensor_checks_again_if_a_table_is_missing_or_the_storage_is_silent(
    exit_code, lands_later, fake_python, load_dags, template_context
):
    fake_python(f"exit {exit_code}")
    sensor = load_dags().dags["nightly_purchase_analytics"].get_task("await_landing")
    sensor.render_template_fields(template_context(business_date="2026-11-09"))
    assert sensor.poke({}) is not lands_later


@pytest.mark.parametrize("exit_code", [1, 2, 126, 127])  # 127: BREAD_SALT_PYTHON does not exist
def test_sensor_fails_at_once_if_waiting_is_useless(exit_code, fake_python, load_dags, template_context):
    from airflow.sdk.exceptions import AirflowFailException  # noqa: PLC0415

    fake_python(f"exit {exit_code}")
    sensor = load_dags().dags["nightly_purchase_analytics"].get_task("await_landing")
    sensor.render_template_fields(template_context(business_date="2026-11-09"))
    with pytest.raises(AirflowFailException):
        sensor.poke({})


def test_scoring_uses_the_configured_pool(nightly_in, monkeypatch):
    assert nightly_in("UTC").get_task("score_photos").pool == "default_pool"
    monkeypatch.setenv("BREAD_SALT_SCORING_POOL", "gpu")
    assert nightly_in("UTC").get_task("score_photos").pool == "gpu"


def test_age_bands_are_checked_first_and_passed_to_build_affinity(load_dags, monkeypatch, template_context):
    import tyro  # noqa: PLC0415

    from jobs import await_landing, build_affinity  # noqa: PLC0415
    from jobs.tables.bands import DEFAULT_BANDS  # noqa: PLC0415

    def bands():
        tasks = {task.task_id: task for task in load_dags().dags["nightly_purchase_analytics"].tasks}
        for program in (await_landing, build_affinity):
            task = tasks[program.__name__.removeprefix("jobs.")]
            task.render_template_fields(template_context(business_date="2026-11-09"))
            arguments = shlex.split(task.bash_command.partition("||")[0])
            flags = arguments[arguments.index(program.__name__) + 1 :]
            yield tyro.cli(program.Settings, args=flags).age_bands

    assert list(bands()) == [DEFAULT_BANDS] * 2
    monkeypatch.setenv("BREAD_SALT_AGE_BANDS", "under_18  18-39 40_plus")
    assert list(bands()) == [("under_18", "18-39", "40_plus")] * 2


def test_kernel_photos_are_passed_to_score_photos_only_if_they_are_set(load_dags, monkeypatch, template_context):
    import tyro  # noqa: PLC0415

    from jobs import score_photos  # noqa: PLC0415

    def settings():
        task = load_dags().dags["nightly_purchase_analytics"].get_task("score_photos")
        task.render_template_fields(template_context(business_date="2026-11-09"))
        return tyro.cli(score_photos.Settings, args=task.application_args)

    assert settings().kernel_photos is None
    monkeypatch.setenv("BREAD_SALT_KERNEL_PHOTOS", "/srv/till photos")
    assert str(settings().kernel_photos) == "/srv/till photos"
