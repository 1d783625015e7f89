"""Over-dispersion from groups of stores."""

import numpy as np
import pytest

from jobs.stats.ages import YEARS
from jobs.stats.dispersion import dispersion

N_ITEMS = 20


def receipts(rng, shopper_ages, *, n_stores=40, n=20_000, tilt=0.0, preference=0.0):
    """Draw receipts: ages by store and items. Shoppers of the first stores are younger if `tilt` is above 0.

    Returns ages and stores of N receipts, and which items they hold, (N, I).
    """
    store = rng.integers(0, n_stores, n)
    u = (YEARS - 45) / 20
    share = shopper_ages * np.exp(tilt * (2 * np.arange(n_stores)[:, None] / n_stores - 1) * u)
    cumulative = (share / share.sum(axis=1, keepdims=True)).cumsum(axis=1)
    age = (cumulative[store] < rng.random((n, 1))).sum(axis=1).clip(0, 100)
    taste = preference * np.linspace(-1, 1, N_ITEMS)
    items = rng.random((n, N_ITEMS)) < 0.08 * np.exp(np.clip(u[age][:, None] * taste, -2, 2))
    return age, store, items


def estimate(age, store, items, n_stores=40, copies=1, **options):
    """Count and estimate; with `copies`, each receipt occurs more than once."""
    counts = np.zeros((n_stores, 101))
    np.add.at(counts, (store, age), copies)
    by_store, age_sums = (np.zeros((n_stores, items.shape[1])) for _ in range(2))
    np.add.at(by_store, store, copies * items)
    np.add.at(age_sums, store, copies * items * age[:, None])
    return dispersion(by_store.T, age_sums.T, counts, **options)


def mean_of_runs(shopper_ages, n_runs=5, copies=1, **options):
    runs = [
        estimate(*receipts(np.random.default_rng(run), shopper_ages, **options), copies=copies) for run in range(n_runs)
    ]
    return np.mean(runs)


def test_independent_receipts_have_dispersion_1(shopper_ages):
    # Each run: 380 degrees of freedom, standard deviation 0.07; values below 1 become 1.
    assert 1 <= mean_of_runs(shopper_ages) < 1.1


@pytest.mark.parametrize("copies", [2, 4])
def test_dispersion_is_the_number_of_copies_of_each_receipt(shopper_ages, copies):
    assert mean_of_runs(shopper_ages, copies=copies) == pytest.approx(copies, rel=0.1)


def test_it_is_the_sum_of_squares_over_the_degrees_of_freedom(shopper_ages):
    age, store, items = receipts(np.random.default_rng(11), shopper_ages)
    squares, freedom = 0.0, 0
    for item in items.T:
        excess, spread, n = [], [], []
        for group in range(20):
            excess.append(0.0)
            spread.append(0.0)
            n.append(0)
            for s in (group, group + 20):
                here, bought = age[store == s], age[(store == s) & item]
                excess[-1] += bought.sum() - bought.size * here.mean()
                spread[-1] += bought.size * (1 - bought.size / here.size) * here.var()
                n[-1] += bought.size
        common = sum(excess) / sum(n)
        squares += sum((e - m * common) ** 2 / v for e, v, m in zip(excess, spread, n, strict=True))
        freedom += 19
    assert estimate(age, store, items) == pytest.approx(max(1, squares / freedom))


def test_stores_of_different_ages_do_not_inflate_it(shopper_ages):
    assert mean_of_runs(shopper_ages, tilt=1.0) < 1.1


def test_a_preference_for_an_age_does_not_inflate_it(shopper_ages):
    assert mean_of_runs(shopper_ages, preference=0.7) < 1.15


def test_it_is_unknown_with_one_store_or_without_receipts_enough(shopper_ages):
    age, store, items = receipts(np.random.default_rng(12), shopper_ages)
    assert estimate(age, np.zeros_like(store), items, n_stores=1) is None
    few = np.flatnonzero(items[:, 0])[49:]
    items[few, 0] = False
    assert items[:, 0].sum() == 49
    assert estimate(age, store, items[:, :1]) is None
    assert estimate(age, store, items[:, :0]) is None


def test_an_item_in_one_group_only_or_on_every_receipt_of_its_stores_adds_nothing(shopper_ages):
    age, store, items = receipts(np.random.default_rng(13), shopper_ages)
    expected = estimate(age, store, items, copies=3)
    one_store, everywhere = (store == 3)[:, None], np.ones((age.size, 1), dtype=bool)
    assert estimate(age, store, np.hstack([items, one_store, everywhere]), copies=3) == pytest.approx(expected)
