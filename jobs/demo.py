"""One night of a synthetic chain: draw it, train a small model, run the DAG through Airflow, compare with the truth.

All of it is under `--workdir`: `chain/` (landing zone, truth, labelled photos), `model/`, `warehouse/` and `airflow/`.
A second run draws nothing and trains nothing that is there already.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from jobs import compare_truth, sample_chain
from model.cli import run

DATE = sample_chain.Settings.first_date
DAG = "nightly_purchase_analytics"
OURS = re.compile(r"\b(?:score_photos|match_receipts|build_affinity|checks/\w+): .*?(?= \[airflow|$)")
"""What of Airflow's log is worth showing while it runs."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Flags of the demo."""

    workdir: Path = Path(".demo")
    """Folder for everything that the demo writes."""
    receipts: int = 3000
    """Receipts of the night."""
    labelled: int = 3000
    """Labelled photos to train on."""


def airflow_environment(workdir: Path) -> dict[str, str]:
    """Return the settings that Airflow needs, as an operator would give them, over a home of its own."""
    root = workdir.resolve()
    environment = {
        "AIRFLOW_HOME": str(root / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(Path(__file__).resolve().parents[1] / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW_VAR_BREAD_SALT_LANDING": str(root / "chain" / "landing"),
        "AIRFLOW_VAR_BREAD_SALT_WAREHOUSE": str(root / "warehouse"),
        "AIRFLOW_VAR_BREAD_SALT_MODEL": str(root / "model"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",  # where spark-submit is
    }
    return os.environ | environment


def run_dag(workdir: Path) -> None:
    """Run the DAG for the demo's date, every line into `airflow/demo.log` and our own onto the screen.

    Raises:
        CalledProcessError: a task failed.
    """
    environment = airflow_environment(workdir)
    log = workdir / "airflow" / "demo.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    test = ["airflow", "dags", "test", DAG, "--conf", f'{{"business_date": "{DATE}"}}']
    with log.open("w", encoding="utf-8") as file:
        subprocess.run(["airflow", "db", "migrate"], env=environment, stdout=file, stderr=file, check=True)  # noqa: S607
        with subprocess.Popen(  # noqa: S603
            test, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            for line in process.stdout or ():
                file.write(line)
                if found := OURS.search(line):
                    print(f"  {found[0].rstrip()}", flush=True)
    if process.returncode:
        print(f"the DAG failed; its log is {log}", file=sys.stderr)
        raise subprocess.CalledProcessError(process.returncode, test)


def main(settings: Settings) -> None:
    """Draw, train, run, compare."""
    chain, model = settings.workdir / "chain", settings.workdir / "model"
    drawn = sample_chain.Settings(out=chain, receipts_per_day=settings.receipts, labelled=settings.labelled)
    if not sample_chain.is_complete(drawn):
        shutil.rmtree(model, ignore_errors=True)  # it learnt from other photos
        sample_chain.main(drawn)
    if not model.exists():
        flags = ["--pretrained", "none", "--image-size", "48", "--epochs", "6", "--batch-size", "32"]
        train = [sys.executable, "-m", "model.train", "--data", str(chain / "faces"), "--out", str(model), *flags]
        subprocess.run(train, check=True)  # noqa: S603
    print(f"running {DAG} for {DATE} through Airflow")
    run_dag(settings.workdir)
    warehouse = settings.workdir / "warehouse"
    compare_truth.main(
        compare_truth.Settings(landing=str(chain / "landing"), warehouse=str(warehouse), truth=chain / "truth")
    )
    print(f"\nThe tables are in {warehouse}. Ask them:")
    ask = "analyst/top_products --param band=18-29 --param window_days=7"
    print(f"  .venv/bin/python -m jobs.query {ask} --warehouse {warehouse}")


if __name__ == "__main__":
    run(main, Settings)
