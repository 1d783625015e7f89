"""`score_photos` on Kubernetes: the command for a connection and its extra. Nothing runs on Kubernetes here."""

import json
import shlex
import sys

import pytest

EXTRA = {"namespace": "chain"}


@pytest.fixture
def score_photos(load_dags, template_context, monkeypatch):
    """Return the rendered task for a connection with this `extra`."""
    from airflow.providers.apache.spark.hooks import spark_submit  # noqa: PLC0415 - after AIRFLOW_HOME is set

    # The provider needs a package for Kubernetes that is not installed here, to follow the pod in cluster mode.
    monkeypatch.setattr(spark_submit, "kube_client", object(), raising=False)

    def render(**extra):
        connection = {"conn_type": "spark", "host": "k8s://https://cluster:6443", "extra": EXTRA | extra}
        monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", json.dumps(connection))
        task = load_dags().dags["nightly_purchase_analytics"].get_task("score_photos")
        task.render_template_fields(template_context(business_date="2026-11-09"))
        return task

    return render


def command(task) -> list[str]:
    return task._get_hook()._build_spark_submit_command(task.application)


def test_the_connection_gives_master_and_namespace_and_sparks_own_files_the_rest(score_photos, project):
    task = score_photos()
    conf = "".join(f" --conf {name}={value}" for name, value in task.conf.items())
    assert command(task) == shlex.split(
        f"spark-submit --master k8s://https://cluster:6443{conf}"
        f" --conf spark.kubernetes.driverEnv.PYSPARK_PYTHON={sys.executable} --conf spark.kubernetes.namespace=chain"
        f" --driver-memory 4g --name score_photos {project}/jobs/score_photos.py --business-date=2026-11-09"
        " --landing=s3a://chain/landing '--warehouse=/srv/bread salt/warehouse' --model=/srv/models/age"
    )


def test_the_extra_of_the_connection_selects_cluster_mode(score_photos):
    arguments = command(score_photos(**{"deploy-mode": "cluster"}))
    assert arguments[arguments.index("--deploy-mode") + 1] == "cluster"


def test_a_driver_on_this_machine_runs_the_interpreter_of_the_setting(score_photos, tmp_path, monkeypatch):
    program = tmp_path / "spark-submit"
    program.write_text(f"#!/bin/sh\necho 'exit code: 0'\necho $PYSPARK_PYTHON > {tmp_path}/python\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.delenv("PYSPARK_PYTHON", raising=False)
    task = score_photos()
    task.execute({})
    task._hook._submit_sp.stdout.close()  # the provider does not close it
    assert (tmp_path / "python").read_text().strip() == sys.executable
