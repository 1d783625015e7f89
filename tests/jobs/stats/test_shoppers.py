"""True ages of shoppers, and counts that would be if age did not matter within a store."""

import numpy as np
import pytest
from scipy import ndimage

from jobs.stats import shoppers
from jobs.stats.ages import YEARS


def apart(share, other):
    """Return half of the sum of the absolute differences."""
    return 0.5 * np.abs(share - other).sum()


def test_without_error_of_age_the_ages_are_the_smoothed_histogram(shopper_ages):
    counts = np.random.default_rng(1).multinomial(3000, shopper_ages).astype(float)
    share = shoppers.ages(counts, np.eye(101))
    assert share.sum() == pytest.approx(1)
    assert (share > 0).all()
    smooth = ndimage.gaussian_filter1d(counts / 3000, 2, mode="constant")
    assert apart(share, smooth) < 0.05
    assert apart(share, shopper_ages) < 0.6 * apart(counts / 3000, shopper_ages)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("n", "ratio"), [(2000, 0.6), (50_000, 0.4)])
def test_blurred_ages_are_sharpened(shopper_ages, normal_kernel, n, ratio, seed):
    kernel = normal_kernel(7, 1.5)
    counts = np.random.default_rng(seed).multinomial(n, shopper_ages @ kernel).astype(float)
    blurred = ndimage.gaussian_filter1d(counts / n, 2, mode="constant")
    assert apart(shoppers.ages(counts, kernel), shopper_ages) < ratio * apart(blurred, shopper_ages)


def test_ages_explain_the_counts_they_are_estimated_from(shopper_ages, normal_kernel):
    kernel = normal_kernel(7)
    counts = np.random.default_rng(3).multinomial(20_000, shopper_ages @ kernel)
    expected = 20_000 * (shoppers.ages(counts.astype(float), kernel) @ kernel)
    often = expected > 5
    assert ((counts - expected)[often] ** 2 / expected[often]).mean() == pytest.approx(1, abs=0.5)


def test_more_receipts_than_temper_say_no_more(shopper_ages, normal_kernel):
    share = [shoppers.ages(n * (shopper_ages @ normal_kernel(7)), normal_kernel(7, 1)) for n in (2e6, 2e8)]
    assert apart(*share) < 0.005
    assert apart(share[0], shopper_ages) > 0.02  # a wrong kernel remains wrong


@pytest.mark.parametrize("age", [0, 33, 100])
def test_one_receipt_has_an_age_near_its_estimate(normal_kernel, age):
    share = shoppers.ages(np.eye(101)[age], normal_kernel(6))
    assert share.sum() == pytest.approx(1)
    assert abs(share @ YEARS - age) < 10


def test_small_stores_are_between_the_chain_and_their_receipts_and_large_stores_like_themselves(
    shopper_ages, normal_kernel
):
    rng, kernel = np.random.default_rng(4), normal_kernel(7)
    own = shopper_ages * np.exp(-(YEARS - 40) / 40)
    own /= own.sum()
    counts = [rng.multinomial(15, own @ kernel) for _ in range(20)]
    counts += [rng.multinomial(5000, shopper_ages @ kernel) for _ in range(20)]
    counts += [rng.multinomial(20_000, own @ kernel), np.zeros(101)]
    share = shoppers.ages_by_store(np.array(counts, dtype=float), shopper_ages, kernel)
    assert share.sum(axis=1) == pytest.approx(np.ones(42))
    distance = apart(own, shopper_ages)
    assert np.mean([apart(row, own) for row in share[:20]]) < 0.9 * distance
    assert np.mean([apart(row, shopper_ages) for row in share[20:40]]) < 0.15 * distance
    assert apart(share[40], own) < 0.15 * distance
    assert share[41] == pytest.approx(shopper_ages, rel=1e-6)


def test_stores_without_differences_have_the_ages_of_the_chain(shopper_ages, normal_kernel):
    rng, kernel = np.random.default_rng(5), normal_kernel(7)
    counts = rng.multinomial(100, shopper_ages @ kernel, size=30).astype(float)
    share = shoppers.ages_by_store(counts, shopper_ages, kernel)
    assert max(apart(row, shopper_ages) for row in share) < 0.08


def test_an_item_sold_in_one_store_is_expected_at_the_ages_of_that_store():
    stores = np.random.default_rng(6).integers(1, 50, (3, 101)).astype(float)
    expected = shoppers.expected_counts(np.array([[0.0, 12.0, 0.0]]), stores)
    assert expected[0] == pytest.approx(12 * stores[1] / stores[1].sum())


def test_expected_counts_add_up_over_stores_like_those_of_mantel_and_haenszel():
    rng = np.random.default_rng(7)
    stores = rng.integers(0, 50, (4, 101)).astype(float)
    stores[3] = 0  # a store without receipts
    items = np.array([[5.0, 0, 9, 0], [1, 2, 3, 0]])
    by_hand = [
        [sum(items[i, s] * stores[s, e] / stores[s].sum() for s in range(3)) for e in range(101)] for i in range(2)
    ]
    expected = shoppers.expected_counts(items, stores)
    assert expected == pytest.approx(np.array(by_hand))
    assert expected.sum(axis=1) == pytest.approx(items.sum(axis=1))
