"""Airflow without a database: a scratch home, our dags folder, and only these Variables and connections."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

PROJECT = Path(__file__).resolve().parents[2]

VARIABLES = {
    "bread_salt_landing": "s3a://chain/landing",
    "bread_salt_warehouse": "/srv/bread salt/warehouse",  # the shell must not split it at the space
    "bread_salt_model": "/srv/models/age",
    "bread_salt_labelled": "/srv/labelled faces",
    "bread_salt_model_store": "/srv/models",
    "bread_salt_reports": "/srv/model reports",
}


def pytest_addoption(parser):
    parser.addoption("--rebuild-golden", action="store_true", help="overwrite the golden files of the DAGs")


@pytest.fixture(scope="session", autouse=True)
def airflow_environment(tmp_path_factory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.startswith("BREAD_SALT_"):
                patch.delenv(name)
        patch.setenv("AIRFLOW_HOME", str(tmp_path_factory.mktemp("airflow")))
        patch.setenv("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
        patch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", '{"conn_type": "spark", "host": "local[2]"}')
        yield


@pytest.fixture(scope="session")
def project() -> Path:
    return PROJECT


@pytest.fixture
def load_dags(monkeypatch) -> Callable:
    """Parse the dags folder in the current environment, as a new process of the scheduler or a worker does."""
    from airflow.dag_processing.dagbag import DagBag  # noqa: PLC0415 - after AIRFLOW_HOME is set

    monkeypatch.syspath_prepend(PROJECT / "dags")  # Airflow's processes do this

    def parse() -> DagBag:
        sys.modules.pop("bread_salt", None)  # it reads the environment when it is imported
        return DagBag(PROJECT / "dags")

    return parse


@pytest.fixture
def nightly(load_dags):
    return load_dags().dags["nightly_purchase_analytics"]


@pytest.fixture
def rebuilding(load_dags):
    return load_dags().dags["rebuild_windows"]


@pytest.fixture
def housekeeping(load_dags):
    return load_dags().dags["keep_house"]


@pytest.fixture
def training(load_dags):
    return load_dags().dags["train_age_model"]


@pytest.fixture
def fake_python(tmp_path, monkeypatch) -> Callable[[str], None]:
    """Let the DAGs run a shell script instead of our programs, with the same arguments."""

    def write(script: str) -> None:
        program = tmp_path / "a python"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("BREAD_SALT_PYTHON", str(program))

    return write


@pytest.fixture
def scheduled_runs() -> Callable:
    """Every (interval start, run time) of a DAG between two local midnights, as the scheduler computes them."""
    from airflow.serialization.serialized_objects import DagSerialization  # noqa: PLC0415

    def compute(dag, first, last):
        scheduler_dag = DagSerialization.from_dict(DagSerialization.to_dict(dag))
        infos = scheduler_dag.iter_dagrun_infos_between(first, last)
        return [(info.data_interval.start, info.run_after) for info in infos]

    return compute


@pytest.fixture
def template_context() -> Callable:
    """Build the context that a task is rendered with."""

    def make(
        *,
        business_date=None,
        preset="full",
        run_type="manual",
        data_interval_start=None,
        run_id="scheduled__2026-12-01T10:00:00+00:00",
    ):
        return {
            "params": {"business_date": business_date, "preset": preset},
            "dag_run": SimpleNamespace(run_type=run_type, data_interval_start=data_interval_start, run_id=run_id),
            "var": {"value": VARIABLES},
        }

    return make
