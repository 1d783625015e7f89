"""Receipts with known ages, stores and items, for `bench_affinity`: synthetic, or drawn from real purchases."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.csv as pacsv
import pyarrow.dataset as ds
from scipy import sparse, stats

from jobs.sample import assortment
from jobs.stats.ages import YEARS

N_STORES = 12
BANDS = np.array([(band.from_years <= YEARS) & (band.to_years >= YEARS) for band in assortment.BANDS])

_NODES = [0, 10, 15, 25, 35, 45, 55, 65, 75, 100]
MEAN_ERROR = np.interp(YEARS, _NODES, [0.8, 1.5, 3.3, 1.5, 0, -1.5, -3.9, -5, -6.5, -9])
SD_ERROR = np.interp(YEARS, _NODES, [1.5, 3, 5.5, 5, 6.5, 8.5, 9.5, 10, 10.5, 11])
"""Years; of the size that `model/README.md` states for the recipe `quick`."""

LABELLED = np.interp(YEARS, [0, 1, 2, 10, 20, 26, 35, 50, 60, 80, 100], [0, 1.2, 0.6, 0.5, 1.2, 3.2, 2, 1, 0.8, 0.5, 0])
"""Ages of a labelled set: many faces in the twenties, few above 70."""


@dataclass(frozen=True, kw_only=True)
class Receipts:
    """N receipts; `items` has a column for each item, categories first."""

    store: np.ndarray  # (N,)
    age: np.ndarray  # (N,) true years
    items: sparse.csr_array  # (N, I) 1 if the receipt has the item
    parent: np.ndarray  # (I,) column of a product's category, -1 for a category
    min_age: np.ndarray  # (I,)
    truth: np.ndarray  # (I, G) true log(index / 100)
    share: np.ndarray  # (G,) true share of receipts


def estimated_years(rng: np.random.Generator, age: np.ndarray, shift: float = 0.0) -> np.ndarray:
    """Draw estimated ages, completed years: heavy-tailed errors, and a camera that adds `shift` years."""
    noise = rng.standard_t(5, age.size) / np.sqrt(5 / 3)
    return np.clip(np.floor(age + MEAN_ERROR[age] + shift + SD_ERROR[age] * noise + 0.5), 0, 100).astype(int)


def held_out(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw pairs of true and estimated ages as of a labelled set."""
    age = rng.choice(YEARS, n, p=LABELLED / LABELLED.sum())
    return age, estimated_years(rng, age).astype(float)


def synthetic(rng: np.random.Generator, n: int, own_effect: float = 0.0, n_products: int = 12) -> Receipts:
    """Draw receipts of the sample chain.

    Args:
        rng: random numbers.
        n: receipts.
        own_effect: standard deviation of a product's own slope, log per standard deviation of age.
        n_products: of each of the 44 categories.
    """
    ages, share = assortment.AGE_YEARS, assortment.AGE_SHARE
    probability = assortment.category_probability(ages)
    row = rng.choice(ages.size, n, p=share)
    popularity = 1 / np.arange(1, n_products + 1)
    standard = (ages - share @ ages) / np.sqrt(share @ (ages - share @ ages) ** 2)
    receipts, items, parents, curves = [], [], [], [probability]
    n_categories = len(assortment.CATEGORIES)
    for number in range(n_categories):
        buyers = np.flatnonzero(rng.random(n) < probability[row, number])
        appeal = popularity * np.exp(np.outer(standard, rng.normal(0, own_effect, n_products)))
        appeal /= appeal.sum(axis=1, keepdims=True)
        # Ages one after the other on one axis, so that one search finds the product of every buyer.
        ends = (appeal.cumsum(axis=1) + np.arange(ages.size)[:, None]).ravel()
        place = row[buyers] + rng.random(buyers.size) * (1 - 1e-9)
        chosen = np.searchsorted(ends, place, side="right") - row[buyers] * n_products
        receipts += [buyers, buyers]
        items += [np.full(buyers.size, number), n_categories + number * n_products + np.minimum(chosen, n_products - 1)]
        parents += [number] * n_products
        curves.append(probability[:, [number]] * appeal)
    columns = n_categories * (1 + n_products)
    where = (np.concatenate(receipts), np.concatenate(items))
    parent = np.array([-1] * n_categories + parents)
    legal = np.array([18 if c.department in ("Alcohol", "Tobacco") else 0 for c in assortment.CATEGORIES])
    curve = np.concatenate(curves, axis=1)
    in_band = BANDS[:, ages] * share
    return Receipts(
        store=rng.integers(0, N_STORES, n),
        age=ages[row],
        items=sparse.csr_array((np.ones(where[0].size, np.float32), where), shape=(n, columns)),
        parent=parent,
        min_age=np.concatenate([legal, legal[parent[n_categories:]]]),
        truth=np.log((in_band @ curve).T / in_band.sum(axis=1) / (share @ curve)[:, None]),
        share=in_band.sum(axis=1),
    )


@dataclass(frozen=True, kw_only=True)
class Habits:
    """What shoppers of each age group buy, counted from real receipts."""

    age: np.ndarray  # (N,) true ages of the receipts
    rate: np.ndarray  # (9, I) share of the receipts of each group with each item, categories first
    parent: np.ndarray
    min_age: np.ndarray


GROUPS = np.searchsorted([18, 25, 35, 45, 55, 65, 75], YEARS, side="right")
"""Age group of each year, as retail panels form them."""


def habits(folder: Path) -> Habits:
    """Count the purchases of a chain with `landing/` and `truth/ages.csv` by true age group."""
    landing = folder / "landing"

    def table(name: str) -> dict[str, list]:
        rows = ds.dataset(landing / name, partitioning="hive").to_table()
        return {column: rows[column].to_pylist() for column in rows.column_names}

    ages, products, lines = pacsv.read_csv(folder / "truth" / "ages.csv"), table("products"), table("receipt_lines")
    age_of = dict(zip(ages["receipt_id"].to_pylist(), ages["true_age"].to_pylist(), strict=True))
    category_of = dict(zip(products["product_id"], products["category"], strict=True))
    legal = dict(zip(products["product_id"], (age or 0 for age in products["min_age"]), strict=True))
    rows = zip(lines["receipt_id"], lines["product_id"], lines["quantity"], strict=True)
    sold = [(receipt, product) for receipt, product, n in rows if receipt in age_of and product in legal and n > 0]
    names = sorted({product for _, product in sold})
    categories = sorted({category_of[product] for product in names})
    columns = {item: column for column, item in enumerate([*categories, *names])}
    held = {(receipt, item) for receipt, product in sold for item in (category_of[product], product)}
    counts = np.zeros((GROUPS.max() + 1, len(columns)))
    for receipt, item in held:
        counts[GROUPS[int(age_of[receipt])], columns[item]] += 1
    age = np.array(list(age_of.values())).astype(int)
    expected = np.bincount(GROUPS[age], minlength=len(counts))[:, None] * counts.sum(axis=0) / age.size
    ratio = np.ones_like(counts)
    for part in (slice(len(categories)), slice(len(categories), None)):
        ratio[:, part] = _posterior_ratio(counts[:, part], expected[:, part])
    return Habits(
        age=age,
        rate=counts.sum(axis=0) / age.size * ratio,
        parent=np.array([-1] * len(categories) + [columns[category_of[name]] for name in names]),
        min_age=np.array([0] * len(categories) + [legal[name] for name in names]),
    )


def _posterior_ratio(counts: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Return the posterior means of habit / average habit, from counts (8, I) and expected counts (8, I).

    Counts are Poisson, habits gamma with mean 1 (Clayton and Kaldor 1987). The shape is one of a grid; the weights of
    the grid come from all items (EM), those of an item from its counts. Without this, most of the truth would be the
    chance of the few receipts that it is counted from. Neighbouring groups are not smoothed.
    """
    shapes = np.array([2, 5, 10, 20, 40, 80, 160, 1e6])[:, None, None]
    log_likelihood = stats.nbinom.logpmf(counts, shapes, shapes / (shapes + expected)).sum(axis=1)
    likelihood = np.exp(log_likelihood - log_likelihood.max(axis=0))
    share = np.ones(len(shapes)) / len(shapes)
    for _ in range(500):
        weight = likelihood * share[:, None]
        weight /= weight.sum(axis=0)
        share = weight.mean(axis=1)
    return np.einsum("ki,kgi->gi", weight, (counts + shapes) / (expected + shapes))


def real(rng: np.random.Generator, of: Habits, n: int) -> Receipts:
    """Draw receipts of people with real ages and habits; items are independent within an age group."""
    age = rng.choice(of.age, n)
    group = GROUPS[age]
    buyers = [np.flatnonzero(rng.random(n) < rate[group]) for rate in of.rate.T]
    where = (np.concatenate(buyers), np.repeat(np.arange(len(buyers)), [rows.size for rows in buyers]))
    in_band = BANDS[:, of.age] @ np.eye(len(of.rate))[GROUPS[of.age]]
    share = in_band.sum(axis=1)
    return Receipts(
        store=rng.integers(0, N_STORES, n),
        age=age,
        items=sparse.csr_array((np.ones(where[0].size, np.float32), where), shape=(n, len(buyers))),
        parent=of.parent,
        min_age=of.min_age,
        truth=np.log(((in_band @ of.rate) / share[:, None] / (in_band.sum(axis=0) @ of.rate / share.sum())).T),
        share=share / share.sum(),
    )
