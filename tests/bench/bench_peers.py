"""Compare the nightly jobs with what other engines need for the same result on the same cores.

Run `make bench-peers`, or this file with flags. Every figure is the wall time of a whole process, start to end, but for
the scoring stage and the ceiling: their clocks start when Spark's session, or the network, is ready. The runs of all
contenders alternate, so that a busy minute of the machine hits them alike.

- Scoring: `score_photos` as Airflow runs it, against the network alone (the ceiling), Daft, Ray Data and a plain loop
  over torch's DataLoader. The peers use this checkout's decoder and network. Each has its best of several settings; all
  are tried at the first number of photos, the best two at the others.
- Affinity: `match_receipts`, `count_purchases` and `build_affinity` against one DuckDB script, which checks no rows,
  corrects nothing and writes plain Parquet: a floor.

The ages of the peers must agree with those of the job within 0.1 year, and DuckDB's ages and counts must be equal to
those of the jobs; its indices are not compared. The chain and the model are drawn. The tables of the warehouse exist
before a job starts, as on every night but the first.
"""

import itertools
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow.parquet as pq
import torch
from agreement import check_ages, check_counts
from bench_scale import DATE
from bench_score import machine
from contenders import PEERS, PROJECT, Contenders, Seconds, describe, stage_seconds
from job_commands import command
from tabulate import tabulate

from jobs import sample_chain
from model.cli import InputError, run
from model.network import AgeNetwork, NetworkConfig
from model.photos.decoding import decode_photo
from model.release import checkpoint

PACKAGES = ("torch", "pyspark", "deltalake", "pyarrow", "duckdb", "daft", "ray")
SCORING_PEERS = ("daft", "ray", "torch")
AFFINITY_JOBS = ("match_receipts", "count_purchases", "build_affinity")
IMAGE_SIZE = 64
NATIVE = "import torch; from model.precision import native_dtype; print(native_dtype(torch.device('cpu')))"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Flags of the benchmark."""

    project: tuple[Path, ...] = (PROJECT,)
    """Checkouts whose jobs are measured. The peers use the code of this one."""
    repeats: int = 3
    """Runs of each contender."""
    photos: tuple[int, ...] = (575, 2980)
    """Photos of the date, of 200 pixels; one comparison for each number."""
    receipts: tuple[int, ...] = (3000, 1_000_000)
    """Receipts of the date; one comparison for each number."""
    only: Literal["scoring", "affinity", "both"] = "both"
    """What to compare."""
    float32: bool = True
    """Limit processors to AVX2, so that the network computes in float32 on all of them."""
    driver_memory: str = "4g"
    """Driver memory of Spark jobs; the default is that of the DAG."""
    workdir: Path = Path(tempfile.gettempdir()) / "bench_peers"
    """Folder for chains and results, about 1 GB for a million receipts; it is removed afterwards."""
    out: Path | None = None
    """JSON file for all figures."""

    def __post_init__(self) -> None:
        if self.workdir.exists() and any(self.workdir.iterdir()):
            raise InputError(f"workdir is {self.workdir}, which is not empty; it must be new or empty")
        for project in self.project:
            if not (project / "dags" / "nightly_purchase_analytics.py").is_file():
                raise InputError(f"project is {project}, which is not a checkout of this project")
        if len({project.resolve().name for project in self.project}) < len(self.project):
            raise InputError(f"project is {' '.join(map(str, self.project))}; the names of the folders must differ")
        missing = [name for name in ("daft", "ray") if not find_spec(name)]
        if self.only != "affinity" and missing:
            raise InputError(f"{', '.join(missing)} not installed; install the extra `peers`, or give --only affinity")


def write_model(folder: Path, photos: list[bytes]) -> None:
    """Write a model with random weights whose ages vary between photos: otherwise all ages would agree."""
    torch.manual_seed(0)
    network = AgeNetwork(NetworkConfig(image_size=IMAGE_SIZE)).eval()
    with torch.no_grad():
        logits = network(torch.from_numpy(np.stack([decode_photo(photo, IMAGE_SIZE) for photo in photos])))
        scale = 3 / (logits - logits.mean(0)).std()
        network.top.bias.copy_((network.top.bias - logits.mean(0)) * scale)
        network.top.weight.mul_(scale)
    checkpoint.save(folder, network, {})


def draw_photos(folder: Path, n_photos: int) -> Path:
    """Write a landing zone with so many photos and a model, and return the file of photo events."""
    # 1.4 receipts for a photo are more than enough; files of photos that no event names are not read.
    sample_chain.main(
        sample_chain.Settings(
            out=folder, first_date=DATE, receipts_per_day=max(100, n_photos * 7 // 5), blemishes=False
        )
    )
    path = folder / "landing" / "photo_events" / f"business_date={DATE}" / "part-00000.parquet"
    events = pq.read_table(path)
    if events.num_rows < n_photos:
        raise RuntimeError(f"the chain has {events.num_rows} photos; wanted {n_photos}")
    pq.write_table(events[:n_photos], path)
    files = [folder / "landing" / name for name in events["path"].to_pylist()[:64]]
    write_model(folder / "age", [file.read_bytes() for file in files])
    return path


def create_tables(contenders: Contenders, project: Path, warehouse: Path) -> None:
    """Create the tables of a warehouse with the code of a checkout, and check that it is this code that runs."""
    code = (
        "import sys, jobs; from jobs.tables.warehouse import Warehouse; "
        "Warehouse(sys.argv[1]).create_tables(); print(jobs.__file__)"
    )
    _, output = contenders.run([sys.executable, "-c", code, warehouse], project)
    if not Path(output.splitlines()[-1]).is_relative_to(project.resolve()):
        raise RuntimeError(f"{output.splitlines()[-1]} is imported, which is not in {project}")


def job(contenders: Contenders, settings: Settings, project: Path, name: str, **places: Path) -> tuple[float, str]:
    """Run a job of a checkout as Airflow does, and return its seconds and output."""
    flags = {"--business-date": DATE, **{f"--{place}": path for place, path in places.items()}}
    words, environment = command(project.resolve(), name, flags, settings.driver_memory)
    return contenders.run(words, project, **environment)


def compare_scoring(contenders: Contenders, settings: Settings, n_photos: int) -> None:
    """Measure the ceiling, the job of each checkout, and the peers."""
    folder, title = settings.workdir / f"photos_{n_photos}", f"{n_photos} photos"
    events = draw_photos(folder, n_photos)
    landing, model, out = folder / "landing", folder / "age", folder / "ages"
    flags = {"--events": events, "--landing": landing, "--model": model, "--image-size": IMAGE_SIZE, "--out": out}
    warehouses = {project: folder / f"warehouse_{project.resolve().name}" for project in settings.project}

    def nightly(project: Path) -> dict[str, float]:
        shutil.rmtree(warehouses[project], ignore_errors=True)
        create_tables(contenders, project, warehouses[project])
        whole, output = job(
            contenders, settings, project, "score_photos", landing=landing, warehouse=warehouses[project], model=model
        )
        label = project.resolve().name
        return {f"{label}: scoring stage": stage_seconds(output), f"{label}: whole job": whole}

    def peer(name: str, variant: dict[str, int]) -> dict[str, float]:
        seconds = contenders.score(name, variant, flags)
        for warehouse in warehouses.values():
            check_ages(warehouse, out)
        return {name: seconds}

    ceiling = partial(contenders.score, "ceiling", flags={"--model": model, "--photos": n_photos})
    best = {"ceiling": contenders.tune(title, "ceiling", ceiling)}
    for project in settings.project:  # for the ages, and so that the first round is not the first run
        for measured, seconds in nightly(project).items():
            contenders.note(f"{title}, tuning", measured, seconds)
    for name in SCORING_PEERS:
        best[name] = contenders.tune(title, name, lambda variant, name=name: peer(name, variant)[name])
    contenders.alternate(
        title,
        [
            lambda: {"ceiling": ceiling(best["ceiling"])},
            *(partial(nightly, project) for project in settings.project),
            *(partial(peer, name, best[name]) for name in SCORING_PEERS),
        ],
    )
    print("\n".join(f"{title}: best settings of {name}: {describe(variant)}" for name, variant in best.items()))
    shutil.rmtree(folder)


def compare_affinity(contenders: Contenders, settings: Settings, n_receipts: int) -> None:
    """Measure the three jobs of each checkout and the DuckDB script."""
    folder, title = settings.workdir / f"receipts_{n_receipts}", f"{n_receipts} receipts"
    code = "import sys, pathlib, bench_scale; bench_scale.make_chain(pathlib.Path(sys.argv[1]), int(sys.argv[2]))"
    chains = {project: folder / project.resolve().name for project in settings.project}
    for project, chain in chains.items():
        contenders.run([sys.executable, "-c", code, chain, n_receipts], project)
    first = chains[settings.project[0]]
    out = folder / "duckdb"

    def duckdb() -> dict[str, float]:
        shutil.rmtree(out, ignore_errors=True)
        places = ("--landing", first / "landing", "--photo-ages", first / "warehouse" / "restricted" / "photo_ages")
        script = (PEERS / "duckdb_counts.py", *places, "--date", DATE, "--out", out)
        return {"duckdb": contenders.run([sys.executable, *script], PROJECT)[0]}

    def nightly(project: Path) -> dict[str, float]:
        warehouse, label = folder / "warehouse", project.resolve().name
        shutil.rmtree(warehouse, ignore_errors=True)
        shutil.copytree(chains[project] / "warehouse", warehouse)
        places = {"landing": first / "landing", "warehouse": warehouse}
        seconds = {f"{label}: {name}": job(contenders, settings, project, name, **places)[0] for name in AFFINITY_JOBS}
        check_counts(warehouse, out)
        return {**seconds, f"{label}: three jobs": sum(seconds.values())}

    contenders.alternate(title, [duckdb, *(partial(nightly, project) for project in settings.project)])
    shutil.rmtree(folder)


def ratios(figures: dict[str, Seconds], projects: list[str]) -> list[list[str]]:
    """Return the rows of the table of ratios: a column for each checkout."""
    rows = []
    for name, seconds in figures.items():
        medians = {measured: statistics.median(runs) for measured, runs in seconds.items()}
        ours = ("scoring stage", "whole job") if "ceiling" in medians else ("three jobs",)
        for mine, other in itertools.product(ours, ("ceiling", *SCORING_PEERS, "duckdb")):
            if other in medians and (mine != "scoring stage" or other == "ceiling"):
                cells = [f"{medians[f'{project}: {mine}'] / medians[other]:.2f}" for project in projects]
                rows.append([name, f"{mine} / {other}", *cells])
    return rows


def report(contenders: Contenders, projects: list[str]) -> str:
    """Return the tables of seconds and ratios."""
    figures = {name: seconds for name, seconds in contenders.figures.items() if not name.endswith("tuning")}
    rows = [
        [name, measured, *(f"{figure:.2f}" for figure in (statistics.median(runs), min(runs), max(runs)))]
        for name, seconds in figures.items()
        for measured, runs in seconds.items()
    ]
    seconds = tabulate(rows, ["size", "measured", "median s", "min", "max"], disable_numparse=True)
    return f"{seconds}\n\n{tabulate(ratios(figures, projects), ['size', 'ratio', *projects], disable_numparse=True)}"


def main(settings: Settings) -> None:
    """Measure every size, print the tables and write the figures."""
    contenders = Contenders(repeats=settings.repeats, is_float32=settings.float32)
    versions = {name: version(name) for name in PACKAGES if find_spec(name)}
    surroundings: dict[str, object] = {
        "machine": machine(torch.device("cpu")),
        "load average at start": os.getloadavg(),
        "python": sys.version.split()[0],
        **versions,
        "limited to AVX2": settings.float32,
        "precision of the network": contenders.run([sys.executable, "-c", NATIVE], PROJECT)[1].strip(),
        "projects": {
            str(project): contenders.run(["git", "describe", "--always", "--dirty"], project)[1].strip()
            for project in settings.project
        },
    }
    print("\n".join(f"{name}: {value}" for name, value in surroundings.items()), flush=True)
    comparisons: list[tuple[str, Callable[[Contenders, Settings, int], None], tuple[int, ...]]] = [
        ("scoring", compare_scoring, settings.photos),
        ("affinity", compare_affinity, settings.receipts),
    ]
    try:
        for name, compare, sizes in comparisons:
            for size in sizes if settings.only in ("both", name) else ():
                compare(contenders, settings, size)
    finally:  # a run takes an hour, and the figures before an error hold
        if settings.out:
            settings.out.write_text(json.dumps({**surroundings, "seconds": contenders.figures}, indent=1))
    print(report(contenders, [project.resolve().name for project in settings.project]))


if __name__ == "__main__":
    run(main, Settings)
