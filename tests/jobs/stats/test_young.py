"""Young faces at a till, compared with a slow loop and with simulated sales."""

import numpy as np
import pytest
from scipy import optimize, stats

from jobs.stats.sales import SalesRows
from jobs.stats.young import young_faces

N_BLOCKS = 3
AGES = np.arange(14, 61)
P_UNDER_18 = np.clip(0.7 * np.exp(-(AGES - 14) / 3.5), 0, 1)
"""By estimated age."""


def draw_sales(rng, *, n_stores=60, per_store=8, mean_sales=200, extra=None, scale=None):
    """Draw sales; return rows with P(under 18) of each row. `extra` adds sales to young faces to a cashier."""
    share = np.exp(-0.5 * ((AGES - 40) / 14) ** 2) + 0.01
    cashier, block, age = [], [], []
    for unit in range(n_stores * per_store):
        n = rng.poisson(mean_sales)
        tilt = share * np.exp(-0.01 * (unit // per_store % 3) * (AGES - 40))
        if scale is not None:
            tilt = np.where(AGES < 24, tilt * scale[unit], tilt)
        drawn = rng.choice(AGES, n, p=tilt / tilt.sum())
        if extra and unit in extra:
            drawn[: extra[unit]] = 15
        cashier += [unit] * n
        block += rng.integers(0, N_BLOCKS, n).tolist()
        age += drawn.tolist()
    return rows_of(np.array(cashier), np.array(cashier) // per_store, np.array(block), np.array(age))


def rows_of(cashier, store, block, age):
    key = ((cashier * 1000 + store) * N_BLOCKS + block) * 61 + age
    keys, n = np.unique(key, return_counts=True)
    unit, place, year = keys // (61 * N_BLOCKS * 1000), keys // 61 % (N_BLOCKS * 1000), keys % 61
    p = P_UNDER_18[year - 14]
    return SalesRows(
        cashier=unit,
        place=place,
        is_alcohol=np.ones(n.size, dtype=bool),
        age_year=year,
        n=n.astype(float),
        n_checked=np.zeros(n.size),
        p_under_18_sum=n * p,
    ), p


def young_by_loop(sales, p, n_cashiers):
    """Compute observed, expected, p value and spread sale by sale of a row, without the cashier's own sales."""
    rows = list(zip(sales.cashier, sales.place, sales.n, p, strict=True))
    total, total_sum = sum(n for *_, n, _ in rows), sum(n * q for *_, n, q in rows)
    weight = sum(n * q * q for *_, n, q in rows) / total_sum
    observed, expected, chance = np.zeros(n_cashiers), np.zeros(n_cashiers), np.zeros(n_cashiers)
    for cashier in range(n_cashiers):
        for place in {place for who, place, *_ in rows if who == cashier}:
            own = [(n, q) for who, where, n, q in rows if (who, where) == (cashier, place)]
            n_own = sum(n for n, _ in own)
            others = [(where, n, q) for who, where, n, q in rows if who != cashier]
            in_store = [(n, q) for where, n, q in others if where // N_BLOCKS == place // N_BLOCKS]
            in_place = [(n, q) for where, n, q in others if where == place]
            store_rate = (sum(n * q for n, q in in_store) + 50 * total_sum / total) / (sum(n for n, _ in in_store) + 50)
            size = sum(n for n, _ in in_place) + 50
            rate = (sum(n * q for n, q in in_place) + 50 * store_rate) / size
            observed[cashier] += sum(n * q for n, q in own)
            expected[cashier] += n_own * rate
            chance[cashier] += weight * (n_own * rate + n_own**2 * rate / size)
    known = expected > 0.02

    def mean_square(tau):
        z = (observed - expected)[known] ** 2 / (chance + (tau * expected) ** 2)[known]
        return np.minimum(z, 1.645**2).mean() - 0.831

    tau = optimize.brentq(mean_square, 0, 3) if mean_square(0) > 0 else 0.0
    variance = chance + (tau * expected) ** 2
    p_value = np.array([
        stats.gamma(e**2 / v, scale=v / e).sf(o) if e > 0 else 1
        for o, e, v in zip(observed, expected, variance, strict=True)
    ])  # fmt: skip
    return observed, expected, p_value, tau


@pytest.mark.parametrize("seed", [1, 2])
def test_young_faces_agree_with_a_slow_loop(seed):
    rng = np.random.default_rng(seed)
    scale = rng.lognormal(0, 0.9, 12)
    sales, p = draw_sales(rng, n_stores=3, per_store=4, mean_sales=60, scale=scale)
    young = young_faces(sales, p, 13, N_BLOCKS)
    observed, expected, p_value, tau = young_by_loop(sales, p, 13)
    assert tau > 0
    assert young.tau == pytest.approx(tau, abs=1e-6)
    assert young.observed == pytest.approx(observed)
    assert young.expected == pytest.approx(expected)
    assert young.p_value == pytest.approx(p_value, rel=1e-5)
    assert (young.observed[12], young.expected[12], young.p_value[12]) == (0, 0, 1)


@pytest.mark.parametrize("spread", [0.0, 0.3])
def test_five_percent_of_honest_cashiers_are_below_p_5_percent(spread):
    shares = []
    for seed in range(4):
        rng = np.random.default_rng(100 + seed)
        sales, p = draw_sales(rng, scale=rng.lognormal(0, spread, 480))
        shares.append((young_faces(sales, p, 480, N_BLOCKS).p_value < 0.05).mean())
    assert np.mean(shares) == pytest.approx(0.05, abs=0.015)  # 1920 cashiers: standard error .005


def test_a_cashier_with_many_young_faces_is_seen():
    sales, p = draw_sales(np.random.default_rng(3), extra={7: 20, 100: 20})
    young = young_faces(sales, p, 480, N_BLOCKS)
    assert young.p_value[[7, 100]].max() < 1e-4
    assert (young.observed > 2 * young.expected)[[7, 100]].all()


def test_observed_young_faces_are_sums_of_probabilities():
    sales, p = rows_of(np.array([0, 0, 1]), np.zeros(3, dtype=int), np.zeros(3, dtype=int), np.array([15, 40, 15]))
    young = young_faces(sales, p, 2, N_BLOCKS)
    assert young.observed == pytest.approx([P_UNDER_18[1] + P_UNDER_18[26], P_UNDER_18[1]])


def test_sales_without_any_young_face_are_no_signal():
    sales, _ = draw_sales(np.random.default_rng(4), n_stores=2, per_store=3, mean_sales=20)
    young = young_faces(sales, np.zeros(sales.n.size), 6, N_BLOCKS)
    assert young.p_value.tolist() == [1] * 6
    assert young.tau == 0
