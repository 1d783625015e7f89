"""Measure how well the corrected affinity index agrees with known truth, beside simpler methods.

Run `make bench-affinity`, or this file with flags. Each test draws receipts with known true ages, blurs the ages by the
error of a model, and estimates the indices from the blurred ages. The error kernel comes from 1,650 other people.
Compared with: hard bands of estimated ages ("naive"), and five steps of EM on the counts by year (Richardson 1972;
Lucy 1974). All seeds are stated; none was used to choose a setting.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import affinity_chains as chains
import numpy as np
from affinity_chains import BANDS, Receipts
from scipy import sparse
from tabulate import tabulate
from tqdm import tqdm

from jobs.stats import affinity, window
from jobs.stats.ages import YEARS
from model import kernel
from model.cli import run

N_PAIRS = 1650
N_REPLICATES = 20
MIN_RECEIPTS = 10
SIZES = (5_000, 50_000, 1_000_000)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Flags of the benchmark."""

    seeds: int = 10
    """Number of runs of each test, with the seeds 1000, 1001, ..."""
    purchases: Path | None = None
    """Folder of a chain with `landing/` and `truth/ages.csv`, for the tests on real purchases."""
    largest: int = SIZES[-1]
    """Leave out tests of more receipts."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """Of one run and one level."""

    naive: np.ndarray  # (I, G) log(index / 100)
    em: np.ndarray
    corrected: affinity.Estimates
    truth: np.ndarray
    expected: np.ndarray
    """(I, G) receipts that a cell should have."""
    notable: np.ndarray
    """(I, G) published cells said to differ."""
    seconds: float


def em(counts: np.ndarray, matrix: np.ndarray, steps: int = 5) -> np.ndarray:
    """Return the counts by true age (I, 101) after some steps of EM, from counts by estimated age (I, 101)."""
    estimate = counts.astype(float)
    for _ in range(steps):
        estimate = estimate * ((counts / np.maximum(estimate @ matrix, 1e-9)) @ matrix.T)
    return estimate


def log_index(counts: np.ndarray, receipts: np.ndarray) -> np.ndarray:
    """Return log(index / 100) of hard bands, (I, G), from counts by year (I, 101) and all receipts (101,)."""
    in_band = np.maximum(counts @ BANDS.T, 1e-3) / (BANDS @ receipts)
    return np.log(in_band / (counts.sum(axis=1) / receipts.sum())[:, None])


def estimate(
    rng: np.random.Generator, receipts: Receipts, *, shift: float = 0.0, permute: bool = False, copies: int = 1
) -> dict[str, Result]:
    """Blur the ages of receipts and estimate the indices of categories and products."""
    pairs = chains.held_out(rng, N_PAIRS)
    matrix = kernel.fit(*pairs)
    replicates = kernel.replicates(*pairs, n=N_REPLICATES, seed=int(rng.integers(2**31)), transfer=True)
    estimated = chains.estimated_years(rng, receipts.age, shift)
    if permute:
        estimated = rng.permutation(estimated)
    n_stores = int(receipts.store.max()) + 1
    place = sparse.csr_array(
        (np.full(estimated.size, copies), (np.arange(estimated.size), receipts.store * 101 + estimated)),
        shape=(estimated.size, n_stores * 101),
    )
    stores = place.sum(axis=0).reshape(n_stores, 101).astype(float)
    cube = (receipts.items.T @ place).toarray().reshape(-1, n_stores, 101).astype(float)
    counts, by_store, age_sums = cube.sum(axis=1), cube.sum(axis=2), cube @ YEARS
    sold = counts.sum(axis=1) > 0
    rows = {"category": (receipts.parent < 0) & sold, "product": (receipts.parent >= 0) & sold}
    rows = {name: chosen for name, chosen in rows.items() if chosen.any()}
    row_of = np.cumsum(rows["category"]) - 1
    levels = [
        affinity.Level(
            counts=counts[chosen],
            by_store=by_store[chosen],
            parent=row_of[np.maximum(receipts.parent[chosen], 0)],
            min_age=receipts.min_age[chosen],
        )
        for chosen in rows.values()
    ]
    started = time.process_time()
    estimates = window.estimate(
        affinity.Window(counts_by_store=stores, kernel=matrix, replicates=replicates),
        levels,
        [age_sums[chosen] for chosen in rows.values()],
        BANDS,
        MIN_RECEIPTS,
    )
    seconds = time.process_time() - started
    all_receipts = stores.sum(axis=0)
    results = {}
    for (name, chosen), level, estimated in zip(rows.items(), levels, estimates.levels, strict=True):
        truth = receipts.truth[chosen] * (0 if permute else 1)
        results[name] = Result(
            naive=log_index(level.counts, all_receipts),
            em=log_index(em(level.counts, matrix), em(all_receipts[None], matrix)[0]),
            corrected=estimated.indices,
            truth=truth,
            expected=level.counts.sum(axis=1)[:, None] * receipts.share * np.exp(truth),
            notable=estimated.notable() & (level.counts @ BANDS.T >= MIN_RECEIPTS),
            seconds=seconds,
        )
    return results


def figures(result: Result) -> dict[str, float]:
    """Return the figures of one run: errors of log indices, weighted by receipts, of cells that expect ten or more."""
    weight = np.where((result.expected >= 10) & np.isfinite(result.truth), result.expected, 0)
    used, weight = weight > 0, weight[weight > 0]
    truth, corrected = result.truth[used], result.corrected.log_index[used]

    def rmse(log_indices: np.ndarray) -> float:
        return float(np.sqrt(np.average((log_indices[used] - truth) ** 2, weights=weight)))

    def slope(response: np.ndarray, of: np.ndarray) -> float:
        centred = of - np.average(of, weights=weight)
        square = np.average(centred**2, weights=weight)
        return float(np.average(centred * response, weights=weight) / square) if square > 1e-12 else np.nan

    covered = np.abs(corrected - truth) <= affinity.Z_95 * result.corrected.sd[used]
    strong = np.abs(truth) > 0.3
    wrong = result.notable & (np.sign(result.corrected.log_index) != np.sign(result.truth))
    return {
        "naive": rmse(result.naive),
        "EM 5": rmse(result.em),
        "corrected": rmse(result.corrected.log_index),
        "slope naive": slope(result.naive[used], truth),
        "slope": slope(corrected, truth),
        "calibration": slope(truth, corrected),
        "coverage": float(covered.mean()),
        "strong": float(covered[strong].mean()) if strong.any() else np.nan,
        "notable": float(result.notable.sum()),
        "wrong": float(wrong.sum()),
        "|log|": float(np.abs(result.corrected.log_index).mean()),
        "lowest": float(100 * np.exp(result.corrected.log_index.min())),
        "CPU s": result.seconds,
    }


def campus(rng: np.random.Generator) -> dict[str, Result]:
    """Estimate items that only one store of young shoppers sells, to all of its shoppers alike."""
    receipts = chains.synthetic(rng, 50_000)
    young = rng.permutation(np.flatnonzero(receipts.age < 30))[:3000]
    store = receipts.store.copy()
    store[young] = chains.N_STORES  # a new store, of young shoppers and a few others
    store[rng.integers(0, store.size, 500)] = chains.N_STORES
    here = np.flatnonzero(store == chains.N_STORES)
    bought = rng.random((here.size, 20)) < 0.1
    where = np.nonzero(bought)
    items = sparse.csr_array((np.ones(where[0].size), (here[where[0]], where[1])), shape=(store.size, 20))
    flat = np.zeros((20, len(BANDS)))
    only = replace(receipts, store=store, items=items, parent=np.full(20, -1), min_age=np.zeros(20, int), truth=flat)
    return estimate(rng, only)


def tests(settings: Settings) -> dict[str, Callable[[np.random.Generator], dict[str, Result]]]:
    """Return the tests by name."""
    chosen: dict[str, Callable[[np.random.Generator], dict[str, Result]]] = {}
    for n in SIZES:
        chosen[f"chain {n:,}"] = lambda rng, n=n: estimate(rng, chains.synthetic(rng, n))
        chosen[f"own effects {n:,}"] = lambda rng, n=n: estimate(rng, chains.synthetic(rng, n, own_effect=0.2))
        chosen[f"permuted {n:,}"] = lambda rng, n=n: estimate(rng, chains.synthetic(rng, n), permute=True)
        chosen[f"permuted, doubled {n:,}"] = lambda rng, n=n: estimate(
            rng, chains.synthetic(rng, n // 2), permute=True, copies=2
        )
        if n > settings.largest:
            chosen = {name: test for name, test in chosen.items() if not name.endswith(f"{n:,}")}
    chosen["camera +2 years 50,000"] = lambda rng: estimate(rng, chains.synthetic(rng, 50_000), shift=2.0)
    chosen["one young store"] = campus
    if settings.largest >= SIZES[-1]:
        chosen["10,000 items, 1,000,000"] = lambda rng: estimate(
            rng, chains.synthetic(rng, SIZES[-1], own_effect=0.2, n_products=227)
        )
    if settings.purchases is not None:
        habits = chains.habits(settings.purchases)
        for n in SIZES[:2]:
            chosen[f"real purchases {n:,}"] = lambda rng, n=n: estimate(rng, chains.real(rng, habits, n))
    return chosen


def main(settings: Settings) -> None:
    """Print one line for each test and level: means over the seeds, and the standard deviation of the errors.

    Columns: naive, EM 5, corrected: RMSE of the log index; slope on the truth; calibration: slope
    of the truth on corrected; coverage of 95 % intervals, over all cells and over strong ones (true |log index| above
    0.3); notable cells, and those of them with the wrong sign; mean |log index|; lowest index; CPU seconds of
    all levels together.
    """
    rows = []
    for name, test in tests(settings).items():
        by_level: dict[str, list[dict[str, float]]] = {}
        for seed in tqdm(range(1000, 1000 + settings.seeds), desc=name, leave=False):
            for level, result in test(np.random.default_rng(seed)).items():
                by_level.setdefault(level, []).append(figures(result))
        for level, runs in by_level.items():
            mean = {key: float(np.mean([run[key] for run in runs])) for key in runs[0]}
            spread = float(np.std([run["corrected"] for run in runs]))
            ratio = mean["corrected"] / mean["naive"]
            rows.append({"test": name, "level": level, "ratio": ratio, **mean, "sd": spread})
            tqdm.write(f"{name}, {level}: {mean['corrected']:.3f} / naive {mean['naive']:.3f} = {ratio:.2f}")
    print(f"\nmeans of {settings.seeds} runs, seeds 1000 to {999 + settings.seeds}")
    print(
        tabulate(rows, headers="keys", floatfmt=("", "", ".2f", *[".3f"] * 8, ".2f", ".2f", ".3f", ".2f", ".1f", ".3f"))
    )


if __name__ == "__main__":
    run(main, Settings)
