import subprocess
import sys
from pathlib import Path

import pytest

DAG_IDS = {"keep_house", "nightly_purchase_analytics", "rebuild_windows", "train_age_model"}


def test_dags_folder_contains_exactly_the_expected_dags(load_dags):
    bag = load_dags()
    assert bag.import_errors == {}
    assert set(bag.dags) == DAG_IDS


def test_each_file_except_bread_salt_contains_the_dag_of_its_name(load_dags, project):
    files = {path.stem: str(path) for path in (project / "dags").glob("*.py") if path.stem != "bread_salt"}
    assert files == {dag_id: dag.fileloc for dag_id, dag in load_dags().dags.items()}


def test_airflow_does_not_parse_bread_salt_as_a_dag_file(project):
    from airflow.utils.file import list_py_file_paths  # noqa: PLC0415 - after AIRFLOW_HOME is set

    assert {Path(path).stem for path in list_py_file_paths(project / "dags")} == DAG_IDS


def test_dag_docs_state_output_readers_and_cost_of_a_missed_run(load_dags):
    for dag in load_dags().dags.values():
        for topic in ("**Does**", "**Writes**", "**Read by**", "**A missed run**"):
            assert topic in (dag.doc_md or ""), (dag.dag_id, topic)


def test_parsing_the_dags_imports_neither_heavy_packages_nor_our_code(project):
    program = (
        f"import sys; sys.path.append('dags'); import {', '.join(sorted(DAG_IDS))};"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=project, capture_output=True, text=True, check=True)
    unwanted = {
        "torch",
        "pandas",
        "pyspark",
        "pyarrow",
        "numpy",
        "deltalake",
        "duckdb",
        "jobs",
        "model",
        "sql",
    }
    imported = set(done.stdout.split())
    assert imported >= DAG_IDS
    assert unwanted.isdisjoint(imported)


def test_every_task_has_a_time_limit(load_dags):
    """A task that hangs would block the DAG, because of max_active_runs=1."""
    unlimited = [
        f"{dag.dag_id}.{task.task_id}"
        for dag in load_dags().dags.values()
        for task in dag.tasks
        if task.execution_timeout is None
        and getattr(task, "response_timeout", None) is None  # of a question
        and not getattr(task, "bash_command", "").startswith("timeout ")
    ]
    assert unlimited == []


def test_unknown_time_zone_is_an_import_error_of_each_dag(load_dags, monkeypatch):
    monkeypatch.setenv("BREAD_SALT_TIME_ZONE", "Mars/Olympus")
    errors = load_dags().import_errors
    assert len(errors) == len(DAG_IDS)
    for error in errors.values():
        assert "BREAD_SALT_TIME_ZONE must be an IANA time zone" in error
        assert "Mars/Olympus" in error


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("OFFER_AGE_RESTRICTED", "yes", "true or false"),
        ("MIN_RECEIPTS", "9", "a whole number, at least 10"),
        ("MIN_RECEIPTS", "ten", "a whole number, at least 10"),
        ("MAX_LINE_FIGURE", "abc", "a whole number, at least 1"),
        ("MAX_LINE_FIGURE", "0", "a whole number, at least 1"),
        ("SCREENING_FLAGS", "--review-ratio 'x", "flags as in a shell: No closing quotation"),
        ("RETENTION_FLAGS", "--keep-ages-days '60", "flags as in a shell: No closing quotation"),
    ],
)
def test_a_wrong_setting_is_an_import_error_that_names_it(name, value, wanted, load_dags, monkeypatch):
    monkeypatch.setenv(f"BREAD_SALT_{name}", value)
    errors = load_dags().import_errors.values()
    assert errors
    for error in errors:
        assert f"BREAD_SALT_{name} is {value!r}; it must be {wanted}" in error
