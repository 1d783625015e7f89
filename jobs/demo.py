"""One night of a synthetic chain: draw it, train a small model, run the DAG with Airflow, compare with the truth.

Everything is written to `--workdir`: `chain/` (landing zone, truth, labelled photos), `model/`, `warehouse/` and
`airflow/`. A second run uses the existing chain and model. SIGTERM and Ctrl-C also end the started programs.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import psutil  # type: ignore[import-untyped]  # installed with Airflow

from jobs import compare_truth, sample_chain
from model.cli import run

DATE = sample_chain.Settings.first_date
DAG = "nightly_purchase_analytics"
SHOWN = re.compile(
    r"\b(?:score_photos|match_receipts|count_purchases|build_affinity|screen_cashiers|watch_ages|warning|checks/\w+): "
    r".*?(?= \[airflow|$)"
)
"""The part of Airflow's log that is shown on the screen."""

SHUTDOWN_SECONDS = 5


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Flags of the demo."""

    workdir: Path = Path(".demo")
    """Folder to write to."""
    receipts: int = 3000
    """Number of receipts of the night."""
    labelled: int = 3000
    """Number of labelled photos to train on."""


def airflow_environment(workdir: Path) -> dict[str, str]:
    """Return the environment for Airflow: its home, our DAGs, and the Variables that an operator has to set."""
    root = workdir.resolve()
    environment = {
        "AIRFLOW_HOME": str(root / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(Path(__file__).resolve().parents[1] / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW_VAR_BREAD_SALT_LANDING": str(root / "chain" / "landing"),
        "AIRFLOW_VAR_BREAD_SALT_WAREHOUSE": str(root / "warehouse"),
        "AIRFLOW_VAR_BREAD_SALT_MODEL": str(root / "model"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",  # spark-submit is there
    }
    return os.environ | environment


@contextmanager
def child(command: list[str], **options: Any) -> Iterator["subprocess.Popen[str]"]:
    """Start a program, wait for its end, and end it with all its descendants if the block is left early.

    Raises:
        CalledProcessError: the exit code is not 0.
    """
    # In its own session, so that Ctrl-C reaches only this process.
    process = subprocess.Popen(command, start_new_session=True, text=True, **options)  # noqa: S603
    try:
        yield process
        process.wait()
    finally:
        if process.poll() is None:
            end(process.pid)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)


def end(pid: int) -> None:
    """End a process and its descendants, whatever their process group: SIGTERM, after five seconds SIGKILL."""
    processes = []
    with suppress(psutil.NoSuchProcess):
        processes = [*psutil.Process(pid).children(recursive=True), psutil.Process(pid)]
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    for process in psutil.wait_procs(processes, timeout=SHUTDOWN_SECONDS)[1]:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def exit_on_signal(number: int, _frame: object) -> NoReturn:
    """Leave every `with` block; 130 after Ctrl-C, 143 after SIGTERM, as a shell reports them."""
    sys.exit(128 + number)


def train_model(labelled: Path, model: Path) -> None:
    """Train a small model: held-out error about 9 years instead of 25 for a constant guess, enough to show affinities.

    Training at 32 pixels takes 40 % of the time at 48 pixels, where 6 epochs with a learning rate of 1e-3 reached 11.4
    years.
    """
    size, schedule = ["--image-size", "32"], ["--epochs", "5", "--batch-size", "32", "--learning-rate", "2e-3"]
    flags = ["--pretrained", "none", *size, *schedule]
    with child([sys.executable, "-m", "model.train", "--data", str(labelled), "--out", str(model), *flags]):
        pass


def run_dag(workdir: Path) -> None:
    """Run the DAG for the demo's date. All lines go to `airflow/demo.log`, those of our programs also to the screen.

    Raises:
        CalledProcessError: a task failed.
    """
    environment = airflow_environment(workdir)
    log = workdir / "airflow" / "demo.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    test = ["airflow", "dags", "test", DAG, "--conf", f'{{"business_date": "{DATE}"}}']
    try:
        with log.open("w", encoding="utf-8") as file:
            with child(["airflow", "db", "migrate"], env=environment, stdout=file, stderr=file):
                pass
            with child(test, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
                for line in process.stdout or ():
                    file.write(line)
                    if shown := SHOWN.search(line):
                        print(f"  {shown[0].rstrip()}", flush=True)
    except subprocess.CalledProcessError:
        print(f"the DAG failed; its log is {log}", file=sys.stderr)
        raise


def main(settings: Settings) -> None:
    """Run the demo; end with exit code 1 if one of its programs fails, which has printed the reason."""
    try:
        run_all(settings)
    except subprocess.CalledProcessError as error:
        print(f"failed with exit code {error.returncode}: {' '.join(map(str, error.cmd))}", file=sys.stderr)
        sys.exit(1)


def run_all(settings: Settings) -> None:
    """Draw, train, run, compare."""
    signal.signal(signal.SIGTERM, exit_on_signal)
    signal.signal(signal.SIGINT, exit_on_signal)
    chain, model, warehouse = (settings.workdir / name for name in ("chain", "model", "warehouse"))
    sample = sample_chain.Settings(out=chain, receipts_per_day=settings.receipts, labelled=settings.labelled)
    if not sample_chain.is_complete(sample):
        for trained_on_other_photos in (model, model.with_name("model.training")):
            shutil.rmtree(trained_on_other_photos, ignore_errors=True)
        sample_chain.main(sample)
    if not model.exists():
        print(f"training an age model on {settings.labelled} photos")
        train_model(chain / "faces", model)
    print(f"running {DAG} for {DATE} with Airflow")
    run_dag(settings.workdir)
    compare_truth.main(
        compare_truth.Settings(landing=str(chain / "landing"), warehouse=str(warehouse), truth=chain / "truth")
    )
    query = "analyst/offers --param band=18-29"
    print(f"\nThe tables are in {warehouse}. To query them:")
    print(f"  .venv/bin/python -m jobs.query {query} --warehouse {warehouse}")


if __name__ == "__main__":
    run(main, Settings)
