"""Measure how time and memory of the nightly jobs, and the tables of counts, grow with the size of the chain.

Run `make bench-scale`, or this file with flags. For each number of receipts it writes one date of a synthetic chain
without photos, uses the true ages as scores, and runs match_receipts and count_purchases with spark-submit and
build_affinity as a program, as Airflow does. It prints seconds, the peak memory of the largest process and of all
processes of the job, their growth from each size to the next, and rows and bytes of the tables of counts.
"""

import datetime as dt
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from deltalake import DeltaTable

from jobs import sample_chain
from jobs.tables.schemas import WAREHOUSE
from jobs.tables.warehouse import Warehouse
from model.cli import InputError, run

PROJECT = Path(__file__).resolve().parents[2]
DATE = dt.date(2026, 11, 9)
SPARK_JOBS = ("match_receipts", "count_purchases")
JOBS = (*SPARK_JOBS, "build_affinity")
COUNTED = ("daily_counts", "daily_store_counts", "catalogue")
RECEIPTS_PER_STORE = 2000
SAMPLE_SECONDS = 0.2


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Flags of the benchmark."""

    receipts: tuple[int, ...] = (1_000_000, 4_000_000)
    """Receipts of the date, one chain for each number."""
    workdir: Path = Path(tempfile.gettempdir()) / "bench_scale"
    """Folder for chains and warehouses, about 0.2 GB for a million receipts; they are removed afterwards."""
    driver_memory: str = "8g"
    """Driver memory of each job, in the format of spark-submit."""
    master: str = "local[2]"
    """Spark master."""

    def __post_init__(self) -> None:
        if self.workdir.exists() and any(self.workdir.iterdir()):
            raise InputError(f"workdir is {self.workdir}, which is not empty; it must be new or empty")


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Time and memory of one job; memory in MiB."""

    seconds: float
    largest_mib: float
    """Peak resident memory of the largest process (VmHWM): Java in a Spark job."""
    all_mib: float
    """Peak of the sum over the Java and Python processes, sampled five times a second."""


def make_chain(folder: Path, n_receipts: int) -> None:
    """Write the landing zone and `restricted/photo_ages` with the true ages."""
    stores = max(6, n_receipts // RECEIPTS_PER_STORE)
    sample_chain.main(
        sample_chain.Settings(
            out=folder, first_date=DATE, receipts_per_day=n_receipts, stores=stores, photos=False, blemishes=False
        )
    )
    events = pq.read_table(folder / "landing" / "photo_events" / f"business_date={DATE}" / "part-00000.parquet")
    ages = pacsv.read_csv(
        folder / "truth" / "ages.csv", convert_options=pacsv.ConvertOptions(strings_can_be_null=True)
    ).filter(pa.compute.field("photo_id").is_valid())
    scored = events.join(ages, "photo_id", join_type="inner").rename_columns({"true_age": "age_years"})
    constants = {"status": "scored", "model_version": "truth"}
    schema = WAREHOUSE["restricted/photo_ages"].row_schema
    columns = [
        scored[field.name].cast(field.type)
        if field.name in scored.column_names
        else pa.repeat(pa.scalar(constants.get(field.name), field.type), len(scored))
        for field in schema
    ]
    warehouse = Warehouse(str(folder / "warehouse"))
    warehouse.create_tables()
    warehouse.replace("restricted/photo_ages", pa.table(columns, schema=schema), DATE)
    report = [{"source_table": "", "measure": "model_version", "text": "truth"}]
    lines = pa.Table.from_pylist(report, schema=WAREHOUSE["analytics/run_quality"].row_schema)
    warehouse.replace("analytics/run_quality", lines, DATE, job="score_photos")


def status_kib(pid: int) -> dict[str, int]:
    """Return the memory figures of a process in KiB, or none if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    return {line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith(("PPid", "VmRSS", "VmHWM"))}


def watch(root_pid: int, stop: threading.Event, peaks: dict[str, float]) -> None:
    """Sample `root_pid` and its descendants until `stop` is set; update `largest` and `all` in `peaks`, MiB."""
    while not stop.wait(SAMPLE_SECONDS):
        status = {int(path.name): status_kib(int(path.name)) for path in Path("/proc").glob("[0-9]*")}
        family = {root_pid}
        # A child can have a lower id than its parent: repeat until no process is added.
        while added := {pid for pid, figures in status.items() if figures.get("PPid") in family} - family:
            family |= added
        members = [status[pid] for pid in family if pid in status]
        peaks["all"] = max(peaks["all"], sum(figures.get("VmRSS", 0) for figures in members) / 1024)
        peaks["largest"] = max([peaks["largest"], *(figures.get("VmHWM", 0) / 1024 for figures in members)])


def run_job(job: str, folder: Path, settings: Settings) -> Cost:
    """Run one job.

    Raises:
        CalledProcessError: the job failed; its output is printed.
    """
    date = ("--business-date", DATE, "--warehouse", folder / "warehouse")
    submit = (
        *("spark-submit", "--master", settings.master, "--driver-memory", settings.driver_memory),
        *("--conf", "spark.log.level=WARN", "--conf", f"spark.local.dir={folder / 'spark'}"),
        *(PROJECT / "jobs" / f"{job}.py", *date, "--landing", folder / "landing"),
    )
    command = submit if job in SPARK_JOBS else (sys.executable, "-m", f"jobs.{job}", *date)
    binaries = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{binaries}:{os.environ['PATH']}", "PYSPARK_PYTHON": sys.executable}
    stop, peaks = threading.Event(), {"all": 0.0, "largest": 0.0}
    started = time.monotonic()
    with subprocess.Popen([str(word) for word in command], env=environment) as process:
        watcher = threading.Thread(target=watch, args=(process.pid, stop, peaks))
        watcher.start()
        exit_code = process.wait()
        seconds = time.monotonic() - started
        stop.set()
        watcher.join()
    if exit_code:
        raise subprocess.CalledProcessError(exit_code, job)
    return Cost(seconds=seconds, largest_mib=peaks["largest"], all_mib=peaks["all"])


def table(costs: dict[int, dict[str, Cost]]) -> str:
    """Return the costs as a table, with their growth from each size to the next."""
    lines = [f"{'job':<15} {'receipts':>10} {'seconds':>8} {'receipts/s':>11} {'one MiB':>9} {'all MiB':>9}"]
    for job in JOBS:
        for n_receipts, jobs in costs.items():
            cost = jobs[job]
            rate = n_receipts / cost.seconds
            lines.append(
                f"{job:<15} {n_receipts:>10} {cost.seconds:>8.1f} {rate:>11.0f} "
                f"{cost.largest_mib:>9.0f} {cost.all_mib:>9.0f}"
            )
        for less, more in itertools.pairwise(costs):
            before, after = costs[less][job], costs[more][job]
            lines.append(
                f"{job:<15} receipts x {more / less:.2f}: seconds x {after.seconds / before.seconds:.2f}, "
                f"memory x {after.largest_mib / before.largest_mib:.2f}"
            )
    return "\n".join(lines)


def size(folder: Path, n_receipts: int) -> list[str]:
    """Return rows and bytes of the tables of counts, one line for each."""
    lines = []
    for name in COUNTED:
        counts = DeltaTable(folder / "warehouse" / "restricted" / name)
        n_bytes = sum(Path(uri).stat().st_size for uri in counts.file_uris())
        lines.append(f"{name:<18} {n_receipts:>10} receipts: {counts.count():>9} rows, {n_bytes:>10} bytes")
    return lines


def main(settings: Settings) -> None:
    """Write each chain, run the jobs on it, and print the tables."""
    costs: dict[int, dict[str, Cost]] = {}
    sizes: list[str] = []
    for n_receipts in settings.receipts:
        folder = settings.workdir / str(n_receipts)
        make_chain(folder, n_receipts)
        costs[n_receipts] = {job: run_job(job, folder, settings) for job in JOBS}
        sizes += size(folder, n_receipts)
        shutil.rmtree(folder)
    print(f"{settings.master}, driver memory {settings.driver_memory}, {os.cpu_count()} cores")
    print(table(costs))
    print("\n".join(sizes))


if __name__ == "__main__":
    run(main, Settings)
