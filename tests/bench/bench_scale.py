"""Measure how time and memory of the nightly jobs, and the tables of counts, grow with the size of the chain.

Run `make bench-scale`, or this file with flags. For each number of receipts it writes one date of a synthetic chain
without photos, uses the true ages as scores, and runs match_receipts, count_purchases and build_affinity as programs,
as Airflow does. It prints seconds and peak memory, their growth from each size to the next, and rows and bytes of the
tables of counts.
"""

import datetime as dt
import itertools
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from deltalake import DeltaTable
from program_cost import Cost, cost
from tabulate import tabulate

from jobs import sample_chain
from jobs.tables.schemas import WAREHOUSE
from jobs.tables.warehouse import Warehouse
from model.cli import InputError, run

DATE = dt.date(2026, 11, 9)
JOBS = ("match_receipts", "count_purchases", "build_affinity")
COUNTED = ("daily_counts", "daily_store_counts", "catalogue")
RECEIPTS_PER_STORE = 2000


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Flags of the benchmark."""

    receipts: tuple[int, ...] = (1_000_000, 4_000_000)
    """Receipts of the date, one chain for each number."""
    workdir: Path = Path(tempfile.gettempdir()) / "bench_scale"
    """Folder for chains and warehouses, about 0.2 GB for a million receipts; they are removed afterwards."""

    def __post_init__(self) -> None:
        if self.workdir.exists() and any(self.workdir.iterdir()):
            raise InputError(f"workdir is {self.workdir}, which is not empty; it must be new or empty")


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


def run_job(job: str, folder: Path) -> Cost:
    """Run one job."""
    flags = ["--business-date", str(DATE), "--warehouse", str(folder / "warehouse")]
    landing = [] if job == "build_affinity" else ["--landing", str(folder / "landing")]
    return cost(sys.executable, "-m", f"jobs.{job}", *flags, *landing)


def table(costs: dict[int, dict[str, Cost]]) -> str:
    """Return the costs as a table, with their growth from each size to the next."""
    rows = [
        (job, f"{n_receipts:,}", *(f"{figure:,.1f}" for figure in jobs[job]))
        for job in JOBS
        for n_receipts, jobs in costs.items()
    ]
    for less, more in itertools.pairwise(costs):
        for job in JOBS:
            growth = (after / before for before, after in zip(costs[less][job], costs[more][job], strict=True))
            rows.append((job, f"x {more / less:.2f}", *(f"x {figure:.2f}" for figure in growth)))
    return tabulate(rows, ("job", "receipts", "s", "s of processor", "peak MiB"), disable_numparse=True)


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
        costs[n_receipts] = {job: run_job(job, folder) for job in JOBS}
        sizes += size(folder, n_receipts)
        shutil.rmtree(folder)
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(table(costs))
    print("\n".join(sizes))


if __name__ == "__main__":
    run(main, Settings)
