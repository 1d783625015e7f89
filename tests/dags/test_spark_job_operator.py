"""How a Spark job ends: its exit code, in client and cluster mode, and a kill."""

import json

import pytest


@pytest.fixture
def fake_spark_submit(tmp_path, monkeypatch):
    def put_on_path(script):
        program = tmp_path / "spark-submit"
        program.write_text(f"#!/bin/bash\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    return put_on_path


@pytest.mark.parametrize(("exit_code", "is_final"), [(2, True), (1, False), (22, False), (75, False), (137, False)])
def test_job_is_retried_except_after_exit_code_2(exit_code, is_final, nightly, template_context, fake_spark_submit):
    from airflow.sdk.exceptions import AirflowException, AirflowFailException  # noqa: PLC0415

    fake_spark_submit(f"exit {exit_code}")
    task = nightly.get_task("score_photos")
    task.render_template_fields(template_context(business_date="2026-11-09"))
    with pytest.raises(AirflowException) as raised:
        task.execute({})
    task._hook._submit_sp.stdout.close()  # the provider does not close it
    assert isinstance(raised.value, AirflowFailException) == is_final


def test_killed_job_also_ends_its_driver(
    *, nightly, template_context, fake_spark_submit, tmp_path, monkeypatch, wait_until_ended
):
    """Spark-submit becomes the JVM, and the Python driver is its child. The provider kills only the JVM."""
    from airflow.sdk.exceptions import AirflowException  # noqa: PLC0415

    fake_spark_submit(f"sleep 300 & echo $! > {tmp_path}/driver; echo started; wait")
    task = nightly.get_task("score_photos")
    task.render_template_fields(template_context(business_date="2026-11-09"))
    task._hook = task._get_hook()
    # Airflow calls on_kill in a signal handler, while the operator reads the output of spark-submit.
    monkeypatch.setattr(task._hook, "_process_spark_submit_log", lambda lines: (next(lines), task.on_kill()))
    with pytest.raises(AirflowException, match="Error code is: -15"):
        task.execute({})
    task._hook._submit_sp.stdout.close()
    wait_until_ended(int((tmp_path / "driver").read_text()))


CLUSTER = {
    "kubernetes": ("k8s://https://cluster", "echo 'Container final statuses: exit code: {code}'; exit 0"),
    "kubernetes, newer spark-submit": ("k8s://https://cluster", "echo 'exit code: {code}'; exit {code}"),
    "yarn": ("yarn", "echo 'diagnostics: User application exited with status {code}'; exit 1"),
}


@pytest.mark.parametrize(("exit_code", "is_final"), [(2, True), (1, False), (22, False), (75, False), (137, False)])
@pytest.mark.parametrize("cluster", CLUSTER)
def test_exit_code_is_recognised_in_cluster_mode(
    *, cluster, exit_code, is_final, nightly, template_context, fake_spark_submit, monkeypatch
):
    from airflow.providers.apache.spark.hooks import spark_submit  # noqa: PLC0415
    from airflow.sdk.exceptions import AirflowException, AirflowFailException  # noqa: PLC0415

    # The provider needs a package for Kubernetes that is not installed here, only to follow the pod.
    monkeypatch.setattr(spark_submit, "kube_client", object(), raising=False)
    master, script = CLUSTER[cluster]
    connection = {"conn_type": "spark", "host": master, "extra": {"deploy-mode": "cluster", "namespace": "chain"}}
    monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", json.dumps(connection))
    fake_spark_submit(script.format(code=exit_code))
    task = nightly.get_task("score_photos")
    task.render_template_fields(template_context(business_date="2026-11-09"))
    with pytest.raises(AirflowException) as raised:
        task.execute({})
    task._hook._submit_sp.stdout.close()
    assert isinstance(raised.value, AirflowFailException) == is_final


@pytest.mark.parametrize(
    ("text", "is_final"),
    [
        ("Spark application a failed (phase=Failed exit_code=2 reason=Error)", True),
        ("Spark application a failed (phase=Failed exit_code=21 reason=Error)", False),
        ("Driver driver-20261109020000-0002 exited with status FAILED", False),  # the exit code is unknown
    ],
)
def test_exit_code_is_recognised_where_the_provider_follows_the_driver(text, is_final, nightly, monkeypatch):
    """The provider polls the driver in some modes, and raises RuntimeError."""
    from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator  # noqa: PLC0415
    from airflow.sdk.exceptions import AirflowFailException  # noqa: PLC0415

    def execute(_operator, _context):
        raise RuntimeError(text)

    monkeypatch.setattr(SparkSubmitOperator, "execute", execute)
    with pytest.raises(AirflowFailException if is_final else RuntimeError):
        nightly.get_task("score_photos").execute({})
