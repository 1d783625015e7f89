"""Shifts of the ages at a till, compared with a slow loop; the correction may excuse and never accuse."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from jobs.stats.control import control_shift
from jobs.stats.sales import ControlRows

N_BLOCKS = 4


def rows_of(receipts) -> ControlRows:
    """Sum receipts, (cashier, store, block, age) each, as the jobs do."""
    cashier, store, block, age = (np.array(column) for column in zip(*receipts, strict=True))
    capped = np.minimum(age, 60).astype(float)
    key, row = np.unique(np.stack([cashier, store * N_BLOCKS + block]), axis=1, return_inverse=True)
    return ControlRows(
        cashier=key[0],
        place=key[1],
        n=np.bincount(row).astype(float),
        age_sum=np.bincount(row, weights=capped),
        square_sum=np.bincount(row, weights=capped**2),
        n_under_27=np.bincount(row, weights=age < 27),
        n_under_cap=np.bincount(row, weights=age < 60),
    )


def draw_receipts(rng, per_cashier=120, n_cashiers=8, n_stores=3, *, shift=None, store_shift=None):
    """Draw receipts of cashiers who work in one store; `shift` is added to the ages of cashiers or stores."""
    receipts = []
    for cashier in range(n_cashiers):
        store = cashier % n_stores
        for _ in range(per_cashier):
            age = rng.normal(42, 16) + (shift or {}).get(cashier, 0) + (store_shift or {}).get(store, 0)
            receipts.append((cashier, store, int(rng.integers(0, N_BLOCKS)), int(np.clip(age, 0, 100))))
    return receipts


def shift_by_loop(receipts, cashier):
    """Return shift, z and correction of a cashier, receipt by receipt."""
    ages = [min(age, 60) for *_, age in receipts]
    chain_mean = sum(ages) / len(ages)
    variance = sum(age**2 for age in ages) / len(ages) - chain_mean**2
    own = [(store, block, age) for who, store, block, age in receipts if who == cashier]
    difference, chance = 0.0, variance / len(own)
    for block in range(N_BLOCKS):
        here = [min(age, 60) for _, in_block, age in own if in_block == block]
        store = own[0][0]
        of_store = [min(r[3], 60) for r in receipts if r[0] != cashier and r[1] == store]
        of_place = [min(r[3], 60) for r in receipts if r[0] != cashier and r[1] == store and r[2] == block]
        store_mean = (sum(of_store) + 50 * chain_mean) / (len(of_store) + 50)
        reference = (sum(of_place) + 50 * store_mean) / (len(of_place) + 50)
        difference += sum(age - reference for age in here) / len(own)
        chance += len(here) ** 2 * variance / (len(of_place) + 50) / len(own) ** 2
    share = max(0.2, sum(age < 60 for *_, age in own) / len(own))
    shift, error = difference / share, chance**0.5 / share
    shrunk = shift * 2**2 / (2**2 + error**2)
    return shift, shift / error, -shrunk if shift < 0 else 0.15 * shrunk


@pytest.mark.parametrize("seed", [1, 2])
def test_shifts_agree_with_a_slow_loop(seed):
    receipts = draw_receipts(np.random.default_rng(seed), shift={0: -5, 1: 6, 2: 40})
    control = control_shift(rows_of(receipts), 8, 3, N_BLOCKS)
    expected = [shift_by_loop(receipts, cashier) for cashier in range(8)]
    assert control.shift == pytest.approx([shift for shift, _, _ in expected])
    assert control.z == pytest.approx([z for _, z, _ in expected])
    assert control.correction == pytest.approx([correction for _, _, correction in expected])
    assert control.n.tolist() == [120] * 8
    assert control.shift[0] < -1
    assert control.shift[1] > 1


def test_a_cashier_is_compared_with_the_colleagues_of_each_block_of_hours():
    # The evening is 20 years younger, and cashier 0 works then.
    receipts = [(1, 0, 0, age) for age in range(40, 60)] * 200 + [(1, 0, 3, age) for age in range(20, 40)] * 200
    receipts += [(0, 0, 3, age) for age in range(20, 40)] * 10
    control = control_shift(rows_of(receipts), 2, 1, N_BLOCKS)
    assert abs(control.shift[0]) < 0.3
    assert not control.flag[0]


@pytest.mark.parametrize("years", [-6, -3])
def test_a_camera_that_reads_too_young_is_measured_and_corrected(years):
    estimates = [
        control_shift(rows_of(draw_receipts(np.random.default_rng(seed), 600, 6, 1, shift={2: years})), 6, 1, N_BLOCKS)
        for seed in range(4)
    ]
    shift, correction = (np.array([getattr(e, name)[2] for e in estimates]) for name in ("shift", "correction"))
    assert shift.mean() == pytest.approx(years, abs=1.0)
    assert correction.mean() == pytest.approx(-0.9 * years, abs=1.0)
    if years == -6:
        assert all(e.flag[2] for e in estimates)


def test_a_shift_of_few_receipts_is_corrected_less():
    ages = range(10, 58, 3)
    colleagues = [(1, 0, 0, age) for age in ages] * 99
    parts = []
    for n in (30, 1):
        control = control_shift(rows_of([(0, 0, 0, age - 6) for age in ages] * n + colleagues), 2, 1, N_BLOCKS)
        error = control.shift[0] / control.z[0]
        parts.append(control.correction[0] / -control.shift[0])
        assert parts[-1] == pytest.approx(2**2 / (2**2 + error**2))
    assert parts[0] > 0.85
    assert parts[1] < 0.3


def test_a_store_of_young_shoppers_has_no_shift_by_itself():
    # 3 cashiers per store; 50 pseudo-receipts pull the reference to the chain a little.
    receipts = draw_receipts(np.random.default_rng(5), 800, 30, 10, store_shift={4: -12})
    control = control_shift(rows_of(receipts), 30, 10, N_BLOCKS)
    campus = np.arange(30) % 10 == 4
    assert np.abs(control.shift[campus]).max() < 2
    assert not control.flag[campus].any()


def test_without_control_receipts_the_shift_is_unknown_and_nothing_is_corrected():
    control = control_shift(rows_of(draw_receipts(np.random.default_rng(6), n_cashiers=3)), 5, 3, N_BLOCKS)
    assert np.isnan(control.shift).tolist() == [False] * 3 + [True] * 2
    assert np.isnan(control.z).tolist() == [False] * 3 + [True] * 2
    assert control.correction[3:].tolist() == [0, 0]
    assert control.flag[3:].tolist() == [False, False]
    assert control.n[3:].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("n", "years", "is_flagged"),
    [(400, 5, True), (400, -5, True), (5, 5, False), (40_000, 0.8, False), (40_000, -0.8, False), (40_000, 2, True)],
)
def test_a_shift_is_flagged_if_it_is_large_and_certain(n, years, is_flagged):
    ages = np.arange(20, 60) - 5
    rows = ControlRows(
        cashier=np.array([0, 1]),
        place=np.array([0, 0]),
        n=np.array([n, 1e6]),
        age_sum=np.array([n * (ages.mean() + years), 1e6 * ages.mean()]),
        square_sum=np.array([n * ((ages + years) ** 2.0).mean(), 1e6 * (ages**2.0).mean()]),
        n_under_27=np.zeros(2),
        n_under_cap=np.array([n, 1e6]),
    )
    control = control_shift(rows, 2, 1, N_BLOCKS)
    assert control.shift[0] == pytest.approx(years, rel=0.02)
    assert control.flag[0] == is_flagged


receipt = st.tuples(
    st.integers(0, 5), st.integers(0, 2), st.integers(0, N_BLOCKS - 1), st.integers(0, 100), st.integers(1, 200)
)


@given(st.lists(receipt, min_size=1, max_size=40))
@settings(max_examples=150, deadline=None)
def test_buyers_are_never_taken_to_be_younger_than_estimated(drawn):
    # Cashier 0 and store 0 are another unit than cashier 0 and store 1.
    receipts = [(cashier * 3 + store, store, block, age) for cashier, store, block, age, n in drawn for _ in range(n)]
    control = control_shift(rows_of(receipts), 18, 3, N_BLOCKS)
    assert np.isfinite(control.correction).all()
    assert (control.correction >= 0).all()
    known = control.n > 0
    assert np.isfinite(control.z[known]).all()
    # More is corrected of a shift to young ages than of one to old ages, and never more than the shift.
    assert (control.correction[known] <= np.abs(control.shift[known]) + 1e-12).all()
