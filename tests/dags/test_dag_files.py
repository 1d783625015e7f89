import subprocess
import sys

import pytest

DAG_IDS = {"nightly_purchase_analytics", "train_age_model"}


def test_the_folder_holds_exactly_the_expected_dags(load_dags):
    bag = load_dags()
    assert bag.import_errors == {}
    assert set(bag.dags) == DAG_IDS


def test_each_dag_has_the_name_of_its_file(load_dags, project):
    files = {path.stem for path in (project / "dags").glob("*.py")}
    assert files == set(load_dags().dags)


def test_each_dag_says_what_it_writes_who_reads_it_and_what_a_missed_run_costs(load_dags):
    for dag in load_dags().dags.values():
        for topic in ("**Does**", "**Writes**", "**Read by**", "**A missed run**"):
            assert topic in (dag.doc_md or ""), (dag.dag_id, topic)


@pytest.mark.parametrize("dag_id", sorted(DAG_IDS))
def test_parsing_a_dag_loads_nothing_heavy_and_nothing_of_ours(dag_id, project):
    program = (
        f"import runpy, sys; runpy.run_path('dags/{dag_id}.py');"
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
    assert unwanted.isdisjoint(done.stdout.split())


def test_an_unknown_time_zone_is_refused_by_name(load_dags, monkeypatch):
    monkeypatch.setenv("BREAD_SALT_TIME_ZONE", "Mars/Olympus")
    errors = load_dags().import_errors
    assert len(errors) == len(DAG_IDS)
    for error in errors.values():
        assert "BREAD_SALT_TIME_ZONE must be an IANA time zone" in error
        assert "Mars/Olympus" in error
