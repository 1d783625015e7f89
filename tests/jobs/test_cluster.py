"""`score_photos` on a Spark standalone cluster: GPU addresses, and a worker that is killed while it scores."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from deltalake import DeltaTable

from jobs import sample_chain, score_photos
from tests.conftest import JAVA_OPTIONS

PROJECT = Path(__file__).resolve().parents[2]
DATE = sample_chain.Settings.first_date


def photo_ages(warehouse):
    rows = DeltaTable(str(warehouse / "restricted" / "photo_ages")).to_pyarrow_table()
    return sorted(rows.to_pylist(), key=lambda row: row["photo_id"])


@pytest.fixture(scope="module")
def model(model_folder, tmp_path_factory):
    """The model without a compiled package, which takes 14 s to build."""
    folder = shutil.copytree(model_folder, tmp_path_factory.mktemp("model") / "model", copy_function=os.link)
    folder.with_name("model.compiled").touch()  # in place of the folder of the package
    return folder


@pytest.fixture(scope="module")
def cluster():
    """Run `make cluster`'s program; return the environment that it prints. At the end it must leave nothing behind."""
    command = [sys.executable, PROJECT / "tests" / "cluster" / "standalone.py"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as program:
        printed = ""
        for line in program.stdout:
            printed += line
            if line == "Ctrl-C ends it.\n":
                break
        else:
            pytest.fail(printed)
        environment = {name: shlex.split(value)[0] for name, value in re.findall(r"export (\w+)=(.*)", printed)}
        folder = Path(environment["SPARK_CONF_DIR"]).parent
        yield environment
        program.send_signal(signal.SIGTERM)
        assert program.wait(30) == 0
    assert processes_of(folder) == []
    assert not folder.exists()


def processes_of(folder):
    """Return the processes that a cluster has started, directly or not; its folder is in their environment."""
    processes = psutil.process_iter(["environ", "status"])
    started = (each for each in processes if each.info["status"] != psutil.STATUS_ZOMBIE)
    return [each for each in started if str(folder) in str(each.info["environ"])]


@pytest.fixture(scope="module")
def submit(cluster, chain, model, tmp_path_factory):
    """Start `spark-submit` of score_photos on the cluster; return its process, its output and the warehouse."""
    master = re.search(r"spark://[\d.:]+", cluster["AIRFLOW_CONN_SPARK_DEFAULT"])[0]
    options = ["--master", master, "--conf", "spark.log.level=WARN"]

    started = []

    def start():
        folder = tmp_path_factory.mktemp("submitted")
        flags = {"business-date": DATE, "landing": chain / "landing", "warehouse": folder / "warehouse", "model": model}
        job = [PROJECT / "jobs" / "score_photos.py", *(f"--{name}={value}" for name, value in flags.items())]
        with (folder / "output").open("w") as output:
            process = subprocess.Popen(
                ["spark-submit", *options, *job],
                env=os.environ | cluster | {"JAVA_TOOL_OPTIONS": JAVA_OPTIONS},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        started.append(process)
        return process, folder / "output", folder / "warehouse"

    yield start
    for process in started:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def local_rows(spark, chain, model, tmp_path_factory):
    assert spark
    warehouse = tmp_path_factory.mktemp("warehouse")
    places = {"landing": str(chain / "landing"), "warehouse": str(warehouse), "model": model}
    score_photos.main(score_photos.Settings(business_date=DATE, **places))
    return photo_ages(warehouse)


def test_photos_are_scored_on_the_gpus_that_spark_assigns_and_elsewhere_if_a_worker_is_killed(
    submit, cluster, local_rows, wait_until
):
    folder = Path(cluster["SPARK_CONF_DIR"]).parent
    process, output, warehouse = submit()

    def scoring():
        """Return the workers that score, and the GPU of each."""
        logs = folder.glob("work/*/*/*/stderr")
        found = {log.parts[-4]: re.findall(r"a task on \S+, GPU (\d+)\n", log.read_text()) for log in logs}
        return {worker: set(gpus) for worker, gpus in found.items() if gpus}

    wait_until(scoring)
    first = min(scoring())
    (worker,) = (each for each in processes_of(folder) if str(folder / "work" / first) in each.cmdline())
    secret = re.search(r"spark.authenticate.secret (\w+)", (folder / "conf" / "spark-defaults.conf").read_text())[1]
    assert not any(secret in str(each.cmdline()) for each in processes_of(folder))
    os.killpg(worker.pid, signal.SIGKILL)  # the worker and its executor
    assert process.wait(240) == 0, output.read_text()
    text = output.read_text()
    assert "Lost executor" in text
    assert scoring() == {"worker-0": {"100"}, "worker-1": {"101"}}
    n, other = len(local_rows), {"worker-0": 101, "worker-1": 100}[first]
    # All of them: the killed executor had not finished a task.
    assert re.search(rf"{n} scored in [\d.]+ s, {n} on \S+, GPU {other} \(cpu\)\n", text)
    assert "warning: CUDA can't use 1 of the assigned GPUs" in text
    assert photo_ages(warehouse) == local_rows
