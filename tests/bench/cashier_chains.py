"""Simulated sales of cashiers, honest and planted, for `bench_cashiers`."""

from dataclasses import dataclass, replace

import numpy as np
from affinity_chains import estimated_years, held_out
from scipy import special

from jobs.sample import assortment
from jobs.stats.sales import ControlRows, SalesRows
from jobs.stats.screening import Window

AGES = assortment.AGE_YEARS
HOUR_SHARE = np.array([0.2, 0.25, 0.35, 0.2])
HOUR_TILT = np.array([0.012, 0.006, -0.004, -0.02])
"""Of the log share of an age, per year: the evening is younger."""
HOUR_EFFECT = np.array([0.1, 0.0, -0.15, 0.1])
"""On the log odds of asking."""
MINORS = np.where(AGES < 18, 0.08, 1.0)
"""Restricted goods are bought seldom by minors: about 0.5 % of these sales."""
UNRESTRICTED_PER_SALE = 2.5


@dataclass(frozen=True, kw_only=True)
class Chain:
    """C cashiers. The defaults are 200 stores whose cashiers ask alike except for `effect`."""

    store: np.ndarray  # (C,)
    n_sales: np.ndarray  # (C,) restricted receipts with a photo
    effect: np.ndarray  # (C,) of the cashier and the store, log odds of asking
    hour_share: np.ndarray  # (C, 4)
    tilt: np.ndarray  # (C,) of the clientele: log share of an age, per year
    shift: np.ndarray  # (C,) years that the camera adds to estimated ages
    kind: np.ndarray  # (C,) honest, or what is planted
    asked: float = 0.95  # probability that an average cashier asks the youngest
    has_age_errors: bool = True


def honest(
    rng: np.random.Generator,
    n_stores: int = 200,
    per_store: int = 12,
    spread: float = 0.25,
    store_spread: float = 0.15,
) -> Chain:
    """Draw a chain; sales are lognormal, median 250."""
    store = np.repeat(np.arange(n_stores), per_store)
    return Chain(
        store=store,
        n_sales=np.clip(rng.lognormal(np.log(250), 0.8, store.size), 5, 3000).astype(int),
        effect=rng.normal(0, spread, store.size) + rng.normal(0, store_spread, n_stores)[store],
        hour_share=rng.dirichlet(6 * HOUR_SHARE, store.size),
        tilt=rng.normal(0, 0.004, n_stores)[store],
        shift=np.zeros(store.size),
        kind=np.full(store.size, "honest", dtype=object),
    )


def first_of_stores(chain: Chain, every: int = 1) -> np.ndarray:
    """Choose one cashier of each store, or of every n-th store; (C,) booleans."""
    first = np.flatnonzero(np.diff(chain.store, prepend=-1))
    chosen = np.zeros(chain.store.size, dtype=bool)
    chosen[first[::every]] = True
    return chosen


def plant(chain: Chain, chosen: np.ndarray, kind: str, n_sales: int) -> Chain:
    """Make the chosen cashiers do something, with `n_sales` restricted sales."""
    return replace(
        chain,
        kind=np.where(chosen, kind, chain.kind),
        n_sales=np.where(chosen, n_sales, chain.n_sales),
    )


def _draw_ages(rng: np.random.Generator, share: np.ndarray, row: np.ndarray) -> np.ndarray:
    """Draw an index into AGES for each row number of `share`, (rows, ages)."""
    ends = np.cumsum(share, axis=1)
    ends = (ends / ends[:, -1:] + np.arange(len(share))[:, None]).ravel()
    place = row + rng.random(row.size) * (1 - 1e-9)
    return np.minimum(np.searchsorted(ends, place, side="right") - row * AGES.size, AGES.size - 1)


def _receipts(
    rng: np.random.Generator, chain: Chain, n: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return cashier, hour block and index of the true age of receipts."""
    cashier = np.repeat(np.arange(n.size), n)
    block = (rng.random(cashier.size)[:, None] > chain.hour_share.cumsum(axis=1)[cashier]).sum(axis=1).clip(0, 3)
    # Clienteles are rounded to a grid, so that each has one distribution of ages.
    tilts, clientele = np.unique(chain.tilt.round(3), return_inverse=True)
    slope = (tilts[:, None] + HOUR_TILT).ravel()
    share = assortment.AGE_SHARE * weight * np.exp(np.outer(slope, AGES - 45))
    return cashier, block, _draw_ages(rng, share, clientele[cashier] * HOUR_SHARE.size + block)


def _estimates(rng: np.random.Generator, chain: Chain, cashier: np.ndarray, age: np.ndarray) -> np.ndarray:
    if chain.has_age_errors:
        return estimated_years(rng, age, chain.shift[cashier])
    return np.clip(age + chain.shift[cashier].astype(int), 0, 100)


def p_under_18_by_estimate(rng: np.random.Generator) -> np.ndarray:
    """Return P(under 18) by estimated age 0 to 100, as a model states it that knows the labelled ages."""
    age, estimate = held_out(rng, 400_000)
    n = np.bincount(estimate.astype(int), minlength=101)
    young = np.bincount(estimate.astype(int), weights=age < 18, minlength=101)
    return (young + 0.01) / (n + 1)


def window(rng: np.random.Generator, chain: Chain) -> Window:
    """Draw the receipts of a window, and sum them as the jobs do."""
    appeal = np.exp(-0.5 * ((AGES - 40) / 22) ** 2)
    cashier, block, index = _receipts(rng, chain, chain.n_sales, appeal * MINORS)
    kind = chain.kind[cashier]
    minors = ((kind == "minors") & (rng.random(kind.size) < 0.6)) | ((kind == "marks") & (rng.random(kind.size) < 0.1))
    age = np.where(minors, rng.integers(14, 18, kind.size), AGES[index])
    alcohol = rng.random(kind.size) < 0.75
    asks = special.expit(
        special.logit(0.02 + chain.asked / (1 + np.exp((age - 30) / 4)))
        + HOUR_EFFECT[block]
        + np.where(alcohol, 0, -0.2)
        + chain.effect[cashier]
    )
    asks = np.where(np.isin(kind, ("tenth", "minors")), asks / 10, asks)
    asks = np.where((kind == "twice") & (age < 30), np.maximum(0, 1 - 2 * (1 - asks)), asks)
    checked = rng.random(kind.size) < asks
    estimate = _estimates(rng, chain, cashier, age)
    year = estimate.clip(14, 60)
    key = ((cashier * 4 + block) * 2 + alcohol) * 47 + year - 14
    found, cell = np.unique(key, return_inverse=True)
    p_under_18 = p_under_18_by_estimate(np.random.default_rng(0))[estimate]

    c_cashier, c_block, c_index = _receipts(
        rng, chain, (chain.n_sales * UNRESTRICTED_PER_SALE).astype(int), 1 + 0 * AGES
    )
    c_age = AGES[c_index]
    c_estimate = _estimates(rng, chain, c_cashier, c_age)
    capped = np.minimum(c_estimate, 60)
    c_found, c_cell = np.unique(c_cashier * 4 + c_block, return_inverse=True)

    def total(values: np.ndarray | None = None) -> np.ndarray:
        return np.bincount(c_cell, weights=values)

    n_blocks = HOUR_SHARE.size
    return Window(
        store=chain.store,
        n_stores=int(chain.store.max()) + 1,
        n_blocks=n_blocks,
        sales=SalesRows(
            cashier=found // (n_blocks * 2 * 47),
            place=chain.store[found // (n_blocks * 2 * 47)] * n_blocks + found // (2 * 47) % n_blocks,
            is_alcohol=found // 47 % 2 == 1,
            age_year=found % 47 + 14,
            n=np.bincount(cell).astype(float),
            n_checked=np.bincount(cell, weights=checked),
            p_under_18_sum=np.bincount(cell, weights=p_under_18),
        ),
        control=ControlRows(
            cashier=c_found // n_blocks,
            place=chain.store[c_found // n_blocks] * n_blocks + c_found % n_blocks,
            n=total().astype(float),
            age_sum=total(capped),
            square_sum=total(capped.astype(float) ** 2),
            n_under_27=total(c_estimate < 27),
            n_under_cap=total(c_estimate < 60),
        ),
        self_checkout=SalesRows(
            **dict.fromkeys(("cashier", "place", "age_year"), np.zeros(0, dtype=int)),
            is_alcohol=np.zeros(0, dtype=bool),
            **dict.fromkeys(("n", "n_checked", "p_under_18_sum"), np.zeros(0)),
        ),
    )
