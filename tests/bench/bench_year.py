"""Measure what a year of nights and weekly housekeeping leave: files, bytes, log entries, and the time of a night.

Run `make bench-year`, or this file with flags. Every date writes each table of the warehouse as the jobs do, twice
where a job writes twice. The counts are those of a small chain; on every tenth date they are really published. Files
become a week older at each housekeeping, as if the week had passed.
"""

import datetime as dt
import os
import tempfile
import time
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from bench_publish import Chain, Settings as ChainSettings
from deltalake import DeltaTable
from tabulate import tabulate
from tqdm import tqdm

from jobs import build_affinity, keep_house
from jobs.tables.duck import connect
from jobs.tables.night import NEEDS
from jobs.tables.retention import Retention
from jobs.tables.schemas import WAREHOUSE
from jobs.tables.warehouse import Warehouse
from jobs.tables.windows import read_versions, stale_dates
from model.cli import InputError, run

LAST = dt.date(2026, 11, 9)
REPORTS = "analytics/run_quality"
MODEL = {"model_version": "model1", "kernel_version": "kernel1"}
PUBLISHED_EVERY = 10
WEEK_SECONDS = 7 * 24 * 3600


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Flags of the benchmark."""

    dates: int = 370
    """Number of nights."""
    photos: int = 300
    """Rows of a date in tables with a row for each photo or receipt."""
    products: int = 300
    """Products of the chain."""
    workdir: Path = Path(tempfile.gettempdir()) / "bench_year"
    """Folder of the warehouse; it stays, so that its files can be looked at."""

    def __post_init__(self) -> None:
        if self.workdir.exists() and any(self.workdir.iterdir()):
            raise InputError(f"workdir is {self.workdir}, which is not empty; it must be new or empty")


def random_rows(name: str, n_rows: int, rng: np.random.Generator, date: dt.date) -> pa.Table:
    """Return rows of a table with random numbers, and texts that contain the date."""
    columns = []
    for field in WAREHOUSE[name].row_schema:
        if field.type == pa.string():
            values: list[object] = [f"{field.name}-{date}-{number}" for number in range(n_rows)]
        elif pa.types.is_list(field.type):
            values = [[f"photo_id-{date}-{number}"] for number in range(n_rows)]
        elif pa.types.is_timestamp(field.type):
            values = [dt.datetime.combine(date, dt.time(12), dt.UTC)] * n_rows
        elif pa.types.is_date(field.type):
            values = [date + dt.timedelta(days=60)] * n_rows
        elif pa.types.is_boolean(field.type):
            values = [bool(value) for value in rng.integers(0, 2, n_rows)]
        else:
            values = rng.integers(0, 100, n_rows).tolist()
        columns.append(pa.array(values, field.type))
    return pa.table(columns, schema=WAREHOUSE[name].row_schema)


def report(warehouse: Warehouse, date: dt.date, job: str, texts: dict[str, str]) -> None:
    """Replace the report of a job."""
    lines = [{"source_table": "", "measure": measure, "text": text} for measure, text in texts.items()]
    rows = pa.Table.from_pylist(lines, schema=WAREHOUSE[REPORTS].row_schema)
    warehouse.replace(REPORTS, rows, date, job=job)


def write_night(warehouse: Warehouse, date: dt.date, chain: Chain, n_rows: int, rng: np.random.Generator) -> None:
    """Write the tables and reports of a date in the way of the jobs."""
    for job in NEEDS:
        if warehouse.has_rows(REPORTS, date, job=job):
            report(warehouse, date, job, {})
    counts = chain.draw(rng)
    for name, table in WAREHOUSE.items():
        if name in counts:
            warehouse.replace(name, counts[name].slice(0, 0), date)  # match_receipts clears what is counted
            warehouse.replace(name, counts[name], date)
        elif table.partition_by == ("business_date",) and name != "restricted/erasures":
            warehouse.replace(name, random_rows(name, n_rows, rng, date), date)
    for source in ("photo_events", "receipts", "receipt_lines", "products"):
        rows = random_rows("restricted/quarantine", 3, rng, date)
        warehouse.replace("restricted/quarantine", rows, date, source_table=source)
    for job in NEEDS:
        texts = {"score_photos": MODEL, "count_purchases": {"counts_hash": str(date)}}
        report(warehouse, date, job, {f"measure-{number}": "1" for number in range(10)} | texts.get(job, {}))


def state(warehouse: Warehouse) -> dict[str, float]:
    """Return the files of the warehouse, and the seconds that reading takes which every night needs."""
    root = Path(warehouse.uri)
    files = [path for path in root.rglob("*") if path.is_file()]
    started = time.monotonic()
    with connect(warehouse.uri, restricted=True) as connection:
        opened = time.monotonic()
        stale_dates(read_versions(connection))
    return {
        "files": len(files),
        "mb": sum(path.stat().st_size for path in files) / 1e6,
        "log_entries": len([path for path in files if path.parent.name == "_delta_log" and path.suffix == ".json"]),
        "folders": sum(path.is_dir() for path in root.rglob("*")),
        "dates_of_ages": len({str(part) for part in DeltaTable(root / "restricted/photo_ages").partitions()}),
        "open_s": opened - started,
        "find_stale_s": time.monotonic() - opened,
    }


def become_older(root: Path) -> None:
    """Make every file a week older."""
    for path in root.rglob("*"):
        if path.is_file():
            moment = path.stat().st_mtime - WEEK_SECONDS
            os.utime(path, (moment, moment))


def main(settings: Settings) -> None:
    """Run the year and print its state every four weeks."""
    rng = np.random.default_rng(0)
    chain = Chain(ChainSettings(products=settings.products, stores=3, workdir=settings.workdir / "none"), 3_000)
    warehouse = Warehouse(str(settings.workdir / "warehouse"))
    warehouse.check_writable()
    warehouse.create_tables()
    states, seconds = [], {}
    first = LAST - dt.timedelta(days=settings.dates - 1)
    for number in tqdm(range(1, settings.dates + 1), "bench_year", unit="night"):
        date = first + dt.timedelta(days=number - 1)
        started = time.monotonic()
        write_night(warehouse, date, chain, settings.photos, rng)
        seconds["write_s"] = time.monotonic() - started
        with redirect_stdout(None):
            if number % PUBLISHED_EVERY == 0 or number == settings.dates:
                started = time.monotonic()
                build_affinity.main(build_affinity.Settings(warehouse=warehouse.uri, business_date=date))
                seconds["publish_s"] = time.monotonic() - started
            if number % 7 == 0:
                become_older(Path(warehouse.uri))
                started = time.monotonic()
                keep_house.clean(warehouse, Retention(), date)
                seconds["keep_house_s"] = time.monotonic() - started
        if number % 28 == 0 or number == settings.dates:
            states.append({"nights": number, **seconds, **state(warehouse)})
            tqdm.write(tabulate(states[-1:], headers="keys", floatfmt=".2f"))
    print(tabulate(states, headers="keys", floatfmt=".2f"))


if __name__ == "__main__":
    run(main, Settings)
