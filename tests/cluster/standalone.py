"""A Spark standalone cluster on this machine: a master and workers, each with a GPU that does not exist.

Spark schedules by GPU as on a real cluster, and the CPU does the work. `make cluster` runs it until Ctrl-C; tests use
`spark_cluster`. Every process binds to 127.0.0.1 only, on free ports, and all files are in one temporary folder.
"""

import json
import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from urllib.request import urlopen

import pyspark

HOST = "127.0.0.1"
START_SECONDS = 60

FIRST_GPU = 100
"""No machine has it. A GPU that exists would be used, and the rows would differ from those of a CPU."""

DAEMON = {
    "SPARK_DAEMON_MEMORY": "256m",
    "SPARK_DAEMON_JAVA_OPTS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",  # half of the CPU time of a start
    "SPARK_LOCAL_IP": HOST,  # otherwise the web pages bind to every address
    "SPARK_NO_DAEMONIZE": "1",
}

SETTINGS = {
    "spark.master.rest.enabled": "false",  # it would bind to the fixed port 6066
    "spark.executor.memory": "1g",
    "spark.executor.cores": "1",
    "spark.executor.extraJavaOptions": DAEMON["SPARK_DAEMON_JAVA_OPTS"],
    "spark.executor.resource.gpu.amount": "1",
    "spark.task.resource.gpu.amount": "1",
    "spark.ui.enabled": "false",  # of the driver
    "spark.driver.host": HOST,
    "spark.driver.bindAddress": HOST,
    "spark.network.timeout": "60s",
    "spark.worker.resource.gpu.amount": "1",
}
"""`spark-defaults.conf`. Master, workers and `spark-submit` read the same file, with a secret that is drawn for it."""


class Cluster(NamedTuple):
    """A running cluster."""

    master: str
    """Master URL."""
    status_url: str
    """The master's state, as JSON."""
    folder: Path
    """`conf/` for SPARK_CONF_DIR, `work/` with the files of the executors, and the logs."""
    workers: list[subprocess.Popen[bytes]]

    def environment(self) -> dict[str, str]:
        """Return what programs need that submit to this cluster, Airflow included."""
        return {
            "SPARK_CONF_DIR": str(self.folder / "conf"),
            "SPARK_LOCAL_IP": HOST,
            "AIRFLOW_CONN_SPARK_DEFAULT": json.dumps({"conn_type": "spark", "host": self.master}),
        }

    def status(self) -> dict[str, Any]:
        """Return the master's state."""
        with urlopen(self.status_url, timeout=10) as answer:  # noqa: S310  our own URL
            return dict(json.load(answer))


@contextmanager
def spark_cluster(n_workers: int = 2) -> Iterator[Cluster]:
    """Start a master and workers, wait until they are registered, and end them all at the end.

    Worker 0 has the GPU with address `FIRST_GPU`, and so on.

    Raises:
        RuntimeError: a process ended, or a worker was not registered in time. The message shows its log.
    """
    processes: list[subprocess.Popen[bytes]] = []
    with TemporaryDirectory(prefix="spark-cluster-", ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch)
        port, page = free_ports(2)
        master = f"spark://{HOST}:{port}"
        # Otherwise every user of this machine could submit programs, which run as the one who has started the cluster.
        # The secret is in files of this folder, which is closed to others, and never in a command.
        settings = {**SETTINGS, "spark.authenticate": "true", "spark.authenticate.secret": secrets.token_hex(32)}
        try:
            _configure(folder / "conf", settings)
            arguments = ["--port", str(port), "--webui-port", str(page)]
            processes.append(_start(folder, "master", "master.Master", arguments, folder / "conf"))
            for number in range(n_workers):
                name = f"worker-{number}"
                script = folder / f"gpu-of-{name}"
                script.write_text(f"""#!/bin/sh\necho '{{"name": "gpu", "addresses": ["{FIRST_GPU + number}"]}}'\n""")
                script.chmod(0o755)
                _configure(folder / name, {**settings, "spark.worker.resource.gpu.discoveryScript": str(script)})
                arguments = ["--webui-port", "0", "--cores", "1", "--memory", "2g"]
                arguments += ["--work-dir", str(folder / "work" / name), master]
                processes.append(_start(folder, name, "worker.Worker", arguments, folder / name))
            cluster = Cluster(master, f"http://{HOST}:{page}/json/", folder, processes[1:])
            _wait_for(cluster, processes)
            yield cluster
        finally:
            _end(processes)


def free_ports(n: int) -> list[int]:
    """Return ports that nobody uses now."""
    sockets = [socket.create_server((HOST, 0)) for _ in range(n)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _configure(folder: Path, settings: Mapping[str, str]) -> None:
    folder.mkdir()
    (folder / "spark-defaults.conf").write_text("".join(f"{name} {value}\n" for name, value in settings.items()))


def _start(folder: Path, name: str, kind: str, arguments: list[str], conf: Path) -> subprocess.Popen[bytes]:
    home = Path(pyspark.__file__).parent
    environment = os.environ | DAEMON | {
        "SPARK_HOME": str(home),
        "SPARK_CONF_DIR": str(conf),
        "SPARK_LOCAL_DIRS": str(folder / "local"),
        "PYSPARK_PYTHON": sys.executable,
    }  # fmt: skip
    with (folder / f"{name}.log").open("wb") as log:
        return subprocess.Popen(
            [home / "bin" / "spark-class", f"org.apache.spark.deploy.{kind}", "--host", HOST, *arguments],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # the executors of a worker are in its process group
        )


def _wait_for(cluster: Cluster, processes: list[subprocess.Popen[bytes]]) -> None:
    deadline = time.monotonic() + START_SECONDS
    n_registered = 0
    while n_registered < len(cluster.workers):
        if time.monotonic() > deadline or any(process.poll() is not None for process in processes):
            logs = "\n".join(log.read_text()[-2000:] for log in sorted(cluster.folder.glob("*.log")))
            raise RuntimeError(f"{n_registered} of {len(cluster.workers)} workers are registered:\n{logs}")
        time.sleep(0.1)
        with suppress(OSError):  # the master is not listening yet
            n_registered = cluster.status()["aliveworkers"]


def _end(processes: list[subprocess.Popen[bytes]]) -> None:
    """End the processes and their executors; Python workers end with their executor."""
    for sent, seconds in ((signal.SIGTERM, 10), (signal.SIGKILL, 10)):
        for process in reversed(processes):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, sent)
        with suppress(subprocess.TimeoutExpired):
            for process in processes:
                process.wait(seconds)


def main() -> None:
    """Run a cluster until SIGINT, SIGTERM or SIGHUP."""
    stopped = threading.Event()
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # An exception could arrive when a process is started but not yet in the list of those to end.
        signal.signal(each, lambda *_: stopped.set())
    with spark_cluster() as cluster:
        print(f"{cluster.master} has {len(cluster.workers)} workers with one GPU each; {cluster.status_url}")
        for name, value in cluster.environment().items():
            print(f"export {name}={shlex.quote(value)}")
        print("Ctrl-C ends it.", flush=True)
        stopped.wait()


if __name__ == "__main__":
    main()
