"""A night by Airflow's scheduler on a Spark cluster that loses a worker, compared with the same night without both.

Airflow's services, master and workers are real processes; the GPUs do not exist. The worker and its executor are killed
while they score. Prints the tasks; exit code 1 if the run fails, a table differs, or no executor was lost meanwhile.
"""

import datetime as dt
import json
import os
import secrets
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from standalone import HOST, Cluster, free_ports, spark_cluster
from tabulate import tabulate

from jobs import nightly, sample_chain
from jobs.demo import airflow_environment
from jobs.tables.duck import connect
from jobs.tables.schemas import WAREHOUSE
from model.network import AgeNetwork, NetworkConfig
from model.release import checkpoint

DAG = "nightly_purchase_analytics"
DATE = (dt.datetime.now(dt.UTC) - dt.timedelta(hours=26)).date()
"""The business date of the run that starts when the DAG is unpaused."""

SERVICES = (("api-server", "--workers", "1"), ("scheduler", "--skip-serve-logs"), ("dag-processor",))


@contextmanager
def airflow(workdir: Path, cluster: Cluster) -> Iterator[sqlite3.Connection]:
    """Run Airflow's services on this machine with a pool for the GPUs; yield its database.

    The scheduler starts the night as soon as the DAG is parsed.
    """
    port = free_ports(1)[0]
    environment = airflow_environment(workdir) | cluster.environment()
    environment |= {
        "AIRFLOW__API__HOST": HOST,
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://{HOST}:{port}/execution/",
        "AIRFLOW__CORE__PARALLELISM": "2",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "BREAD_SALT_SCORING_POOL": "gpu",
    }
    home = workdir / "airflow"
    (home / "dags").mkdir(parents=True)
    for name in ("bread_salt", DAG):  # the other DAGs would run too
        (home / "dags" / f"{name}.py").symlink_to(Path(environment["AIRFLOW__CORE__DAGS_FOLDER"]) / f"{name}.py")
    environment["AIRFLOW__CORE__DAGS_FOLDER"] = str(home / "dags")
    with (workdir / "airflow.log").open("w") as log:
        for command in (["db", "migrate"], ["pools", "set", "gpu", "1", "a job takes all GPUs"]):
            subprocess.run(["airflow", *command], env=environment, stdout=log, stderr=log, check=True)
        services = [
            subprocess.Popen(["airflow", *service], env=environment, stdout=log, stderr=log, start_new_session=True)
            for service in SERVICES
        ]
        try:
            yield sqlite3.connect(f"file:{home / 'airflow.db'}?mode=ro", uri=True)
        finally:
            for sent in (signal.SIGTERM, signal.SIGKILL):
                for service in services:
                    with suppress(ProcessLookupError):
                        os.killpg(service.pid, sent)
                with suppress(subprocess.TimeoutExpired):
                    for service in services:
                        service.wait(20)


def wait_for(condition: Callable[[], object], what: str, seconds: float) -> None:
    """Wait until a condition holds.

    Raises:
        TimeoutError: it does not.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.1)


def kill_a_scoring_worker(cluster: Cluster, seconds: float) -> None:
    """Kill a worker and its executor as soon as it scores photos."""

    def scores() -> bool:
        outputs = (cluster.folder / "work" / "worker-0").glob("*/*/stderr")
        return any("score_photos: a task on" in output.read_text(errors="replace") for output in outputs)

    wait_for(scores, "worker 0 scores photos", seconds)
    os.killpg(cluster.workers[0].pid, signal.SIGKILL)
    print("killed worker 0 and its executor", flush=True)


def rows(warehouse: Path) -> dict[str, list[tuple[object, ...]]]:
    """Return all rows of all tables."""
    with connect(str(warehouse), restricted=True) as connection:
        return {
            name: sorted(connection.sql(f"FROM {name.replace('/', '.')}").fetchall(), key=str) for name in WAREHOUSE
        }


def run_with_airflow(workdir: Path) -> str:
    """Run the night on a cluster that loses a worker; print the tasks, and return the state of the run.

    It is "success, but no executor was lost" if the worker was killed too late.
    """
    with spark_cluster() as cluster, airflow(workdir, cluster) as database:
        kill_a_scoring_worker(cluster, 300)
        ended = "SELECT state FROM dag_run WHERE state IN ('success', 'failed')"
        wait_for(lambda: database.execute(ended).fetchall(), "the end of the run", 1200)
        tasks = database.execute(
            "SELECT task_id, state, try_number, ROUND(duration) FROM task_instance ORDER BY start_date"
        )
        print(tabulate(tasks, ["task", "state", "try", "seconds"]))
        logs = sorted(workdir.glob("airflow/logs/**/task_id=score_photos/*.log"))
        events = [str(json.loads(line)["event"]) for log in logs for line in log.read_text().splitlines()]
        print(*(event for event in events if "score_photos: " in event or "Lost executor" in event), sep="\n")
        state = str(database.execute(ended).fetchone()[0])
        return state if any("Lost executor" in event for event in events) else f"{state}, but no executor was lost"


def main() -> None:
    """Draw a chain, run the night twice, compare."""
    os.environ["SPARK_LOCAL_IP"] = HOST
    with TemporaryDirectory(prefix="cluster-night-") as scratch:
        workdir = Path(scratch)
        chain = sample_chain.Settings(out=workdir / "chain", first_date=DATE, receipts_per_day=600, stores=3)
        sample_chain.write_chain(chain)
        torch.manual_seed(0)
        checkpoint.save(workdir / "model", AgeNetwork(NetworkConfig(image_size=64)), {})
        state = run_with_airflow(workdir)
        places = {"landing": str(workdir / "chain" / "landing"), "warehouse": str(workdir / "local")}
        nightly.main(nightly.Settings(business_date=(DATE,), model=workdir / "model", **places))
        local, remote = rows(workdir / "local"), rows(workdir / "warehouse")
    differing = [name for name in WAREHOUSE if local[name] != remote[name]]
    print(
        f"the run: {state}; {sum(map(len, remote.values()))} rows; tables that differ: {', '.join(differing) or 'none'}"
    )
    sys.exit(state != "success" or bool(differing))


if __name__ == "__main__":
    main()
