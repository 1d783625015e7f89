"""Measure build_affinity at the size of a large chain: size of the counts, time and peak memory, and their growth.

Run `make bench-publish`, or this file with flags. For each number of receipts in 28 dates it draws the counts of the
dates (not the receipts), writes them to a warehouse, runs the job as a program, and times its steps for the window of
28 dates alone. Categories and departments have the receipts of their products, less those that hold several of them.
"""

import datetime as dt
import itertools
import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from deltalake import DeltaTable
from program_cost import cost
from tabulate import tabulate
from tqdm import tqdm

from jobs import build_affinity
from jobs.stats.ages import YEARS, Floats
from jobs.tables.bands import DEFAULT_BANDS, age_bands
from jobs.tables.duck import connect
from jobs.tables.schemas import WAREHOUSE
from jobs.tables.warehouse import Warehouse
from jobs.tables.windows import read_counts
from model.cli import InputError, run

DATES = [dt.date(2026, 11, 1) + dt.timedelta(days=number) for number in range(28)]
N_CATEGORIES, N_DEPARTMENTS = 200, 20
PRODUCTS_PER_RECEIPT = 8
N_PAIRS = 1650
COUNTS = ("daily_counts", "daily_store_counts", "catalogue")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Flags of the benchmark."""

    receipts: tuple[int, ...] = (1_000_000,)
    """Receipts in 28 dates, one warehouse for each number."""
    products: int = 10_000
    """Products of the chain."""
    stores: int = 20
    """Stores of the chain."""
    workdir: Path = Path(tempfile.gettempdir()) / "bench_publish"
    """Folder for warehouses, about 0.1 GB for a million receipts; they are removed afterwards."""

    def __post_init__(self) -> None:
        if self.workdir.exists() and any(self.workdir.iterdir()):
            raise InputError(f"workdir is {self.workdir}, which is not empty; it must be new or empty")


class Chain:
    """Purchases of a chain by level, item and estimated age; receipts of one date."""

    def __init__(self, settings: Settings, n_receipts: int) -> None:
        rng = np.random.default_rng(0)
        self.n_stores = settings.stores
        products = np.arange(settings.products)
        self.receipts = n_receipts * np.exp(-0.5 * ((YEARS - 45) / 18) ** 2)
        self.receipts *= n_receipts / self.receipts.sum()
        share = 1 / (products + 50)
        tilt = rng.normal(0, 0.3, len(products))[:, None] * (YEARS - 45) / 20
        bought = share[:, None] / share.sum() * np.exp(tilt) * self.receipts * PRODUCTS_PER_RECEIPT
        self.bought = np.minimum(bought, 0.9 * self.receipts)
        self.category = products % N_CATEGORIES
        self.names = {
            "department": [f"department {number:02d}" for number in range(N_DEPARTMENTS)],
            "category": [f"category {number:03d}" for number in range(N_CATEGORIES)],
            "product": [f"{number:08d}" for number in products],
        }
        self.prices = rng.gamma(2, 1.5, len(products)) + 0.3

    def draw(self, rng: np.random.Generator) -> dict[str, pa.Table]:
        """Return the tables of counts of a date."""
        receipts = rng.poisson(self.receipts)
        products = np.minimum(rng.poisson(self.bought), receipts)
        categories = together(products, self.category, receipts, N_CATEGORIES)
        departments = together(categories, np.arange(N_CATEGORIES) % N_DEPARTMENTS, receipts, N_DEPARTMENTS)
        stores = rng.dirichlet(np.full(self.n_stores, 50.0))
        levels = {"department": departments, "category": categories, "product": products}
        by_year, by_store = [self._by_year("all", [""], receipts[None])], [self._all_by_store(rng, receipts, stores)]
        for level, counts in levels.items():
            by_year.append(self._by_year(level, self.names[level], counts))
            by_store.append(self._by_store(rng, level, counts, stores))
        sold = np.flatnonzero(products.sum(axis=1))
        category = self.category[sold]
        catalogue = {
            "product_id": take(self.names["product"], sold),
            "product_name": take([f"Product {name}" for name in self.names["product"]], sold),
            "category": take(self.names["category"], category),
            "department": take(self.names["department"], category % N_DEPARTMENTS),
            "min_age": pa.nulls(len(sold), pa.int32()),
        }
        return {
            "restricted/daily_counts": pa.concat_tables(by_year),
            "restricted/daily_store_counts": pa.concat_tables(by_store),
            "restricted/catalogue": pa.table(catalogue, schema=WAREHOUSE["restricted/catalogue"].row_schema),
        }

    def _by_year(self, level: str, names: list[str], counts: Floats) -> pa.Table:
        item, year = np.nonzero(counts)
        n = counts[item, year]
        columns = {
            "age_year": year.astype(np.int32),
            "level": [level] * len(n),
            "item": take(names, item),
            "n_receipts": n,
            "quantity": 1.3 * n,
            "amount": (1.3 * n * (self.prices[item] if level == "product" else 3)).round(2),
        }
        return pa.table(columns, schema=WAREHOUSE["restricted/daily_counts"].row_schema)

    def _by_store(self, rng: np.random.Generator, level: str, counts: Floats, stores: Floats) -> pa.Table:
        total = counts.sum(axis=1)
        split = rng.multinomial(total, stores)
        item, store = np.nonzero(split)
        n, mean = split[item, store], (counts @ YEARS / np.maximum(total, 1))[item]
        ages = np.clip(n * mean + rng.normal(0, 17, len(n)) * np.sqrt(n), 0, 100 * n)
        return store_table(level, take(self.names[level], item), store, n, age_sums=np.rint(ages).astype(int))

    def _all_by_store(self, rng: np.random.Generator, receipts: Floats, stores: Floats) -> pa.Table:
        split = rng.multinomial(receipts, stores)
        year, store = np.nonzero(split)
        n = split[year, store]
        return store_table("all", pa.array([""] * len(n)), store, n, age_sums=n * year, years=year.astype(np.int32))


def take(names: list[str], numbers: Floats) -> pa.Array:
    """Return names by number."""
    return pa.array(names).take(pa.array(numbers))


def together(parts: Floats, whole: Floats, receipts: Floats, n_wholes: int) -> Floats:
    """Return the receipts (n_wholes, 101) with at least one of several parts that are bought independently."""
    without = np.zeros((n_wholes, len(receipts)))
    np.add.at(without, whole, np.log1p(-np.minimum(parts / np.maximum(receipts, 1), 0.99)))
    held = np.rint(receipts * -np.expm1(without)).astype(int)
    np.maximum.at(held, whole, parts)
    return held


def store_table(
    level: str, items: pa.Array, stores: Floats, n: Floats, *, age_sums: Floats, years: Floats | None = None
) -> pa.Table:
    """Return rows of `restricted/daily_store_counts`."""
    columns = {
        "store_id": take([f"store {number:03d}" for number in range(int(stores.max()) + 1)], stores),
        "level": [level] * len(n),
        "item": items,
        "age_year": pa.nulls(len(n), pa.int32()) if years is None else years,
        "n_receipts": n,
        "age_years_sum": age_sums,
    }
    return pa.table(columns, schema=WAREHOUSE["restricted/daily_store_counts"].row_schema)


def write_warehouse(folder: Path, chain: Chain) -> None:
    """Write counts, age errors and reports of all dates."""
    tables = Warehouse(str(folder))
    tables.create_tables()
    reports = {"score_photos": ("model_version", "kernel_version"), "count_purchases": ("counts_hash",)}
    for date in tqdm(DATES, "writing", unit="date"):
        rng = np.random.default_rng(date.toordinal())
        for name, rows in chain.draw(rng).items():
            tables.replace(name, rows, date)
        for job, measures in reports.items():
            lines = [{"source_table": "", "measure": measure, "text": str(date)[:4]} for measure in measures]
            schema = WAREHOUSE["analytics/run_quality"].row_schema
            tables.replace("analytics/run_quality", pa.Table.from_pylist(lines, schema), date, job=job)
    ages = rng.integers(10, 90, N_PAIRS)
    pairs = [["held_out"] * N_PAIRS, ages.astype(np.int32), ages + rng.normal(0, 7, N_PAIRS)]
    schema = WAREHOUSE["restricted/age_errors"].row_schema
    tables.replace("restricted/age_errors", pa.table(pairs, schema=schema), DATES[-1])


def job_costs(folder: Path) -> dict[str, float]:
    """Run the job as a program; return seconds, seconds of processor time and peak resident memory."""
    flags = ("--business-date", str(DATES[-1]), "--warehouse", str(folder))
    job = cost(sys.executable, "-m", "jobs.build_affinity", *flags)
    return {"job, s": job.seconds, "job, s of processor": job.cpu_seconds, "job, peak MiB": job.peak_mib}


def step_seconds(folder: Path, dates: list[dt.date]) -> dict[str, float]:
    """Time the steps of the job for a window of some dates, in this process."""
    bands = age_bands(DEFAULT_BANDS)
    settings = build_affinity.Settings(business_date=DATES[-1], warehouse=str(folder))
    times = [time.monotonic()]
    with connect(str(folder), restricted=True) as connection:
        rows = [band._asdict() for band in bands]
        connection.register("bands", pa.Table.from_pylist(rows, WAREHOUSE["analytics/age_bands"].row_schema))
        connection.register("products", build_affinity.read(connection, "products", dates=dates))
        times.append(time.monotonic())
        kernels = build_affinity.error_kernels(connection, DATES[-1])
        times.append(time.monotonic())
        counts = read_counts(connection, dates)
        times.append(time.monotonic())
        fit = build_affinity.fit_window(counts, kernels, bands, settings.min_receipts)
        times.append(time.monotonic())
        build_affinity.publish(connection, settings, len(dates), dates, fit)
        times.append(time.monotonic())
    names = ("opening", "kernel", "reading counts", "fit", "protecting")
    return {
        f"{name}, s": after - before for name, (before, after) in zip(names, itertools.pairwise(times), strict=True)
    }


def sizes(folder: Path) -> dict[str, float]:
    """Return rows and bytes per date of the tables of counts."""
    result: dict[str, float] = {}
    for name in COUNTS:
        table = DeltaTable(folder / "restricted" / name)
        n_bytes = sum(Path(uri).stat().st_size for uri in table.file_uris())
        result |= {f"{name}, rows per date": table.count() / 28, f"{name}, MiB per date": n_bytes / 28 / 2**20}
    return result


def main(settings: Settings) -> None:
    """Write each warehouse, run the job on it, and print the figures with their growth from size to size."""
    figures: dict[int, dict[str, float]] = {}
    for n_receipts in settings.receipts:
        folder = settings.workdir / str(n_receipts)
        write_warehouse(folder, Chain(settings, n_receipts // len(DATES)))
        longest, shortest = step_seconds(folder, DATES), step_seconds(folder, DATES[-1:])
        figures[n_receipts] = {**sizes(folder), **job_costs(folder), **longest}
        figures[n_receipts]["window of 28 dates / of 1 date"] = sum(longest.values()) / sum(shortest.values())
        shutil.rmtree(folder)
    header = ["", *(f"{n_receipts:,} receipts" for n_receipts in figures)]
    rows = [[name, *(f"{of[name]:,.2f}" for of in figures.values())] for name in next(iter(figures.values()))]
    for smaller, larger in itertools.pairwise(figures):
        header.append(f"x {larger / smaller:.1f}")
        for row in rows:
            row.append(f"x {figures[larger][row[0]] / figures[smaller][row[0]]:.2f}")
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; the steps are those of the window of 28 dates")
    print(tabulate(rows, header, disable_numparse=True))


if __name__ == "__main__":
    run(main, Settings)
