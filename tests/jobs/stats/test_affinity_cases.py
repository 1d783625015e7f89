"""Indices of unusual windows and items: legal ages, one store, one item, empty bands, wrong input."""

import numpy as np
import pytest
from scipy import stats

from jobs.stats.affinity import Z_80, Z_95, Level, Window
from jobs.stats.ages import YEARS


@pytest.fixture
def young_chain(make_chain):
    """A chain with many shoppers on both sides of 18."""
    share = stats.norm.pdf(YEARS, 24, 10) + 0.3 * stats.norm.pdf(YEARS, 55, 12) + 1e-5
    return make_chain(1, ages=np.tile(share / share.sum(), (5, 1)))


@pytest.mark.parametrize("n", [100, 1000])
def test_no_sales_below_the_legal_age_do_not_lower_the_band_above(young_chain, n):
    adults = np.where(YEARS < 18, -20.0, 0.0)
    truth = young_chain.true_log_index(adults)
    items = [young_chain.item(n, adults) for _ in range(20)]
    with_step = young_chain.estimate(young_chain.level(items, min_age=[18] * 20))[0].log_index
    without = young_chain.estimate(young_chain.level(items))[0].log_index
    assert with_step[:, 0].mean() < np.log(0.25)
    assert with_step[:, 1].mean() == pytest.approx(truth[1], abs=0.09)
    assert without[:, 1].mean() < with_step[:, 1].mean() - 0.02
    assert np.abs(with_step[:, 1:] - truth[1:]).mean() < 0.5 * np.abs(without[:, 1:] - truth[1:]).mean()


def test_a_legal_age_without_a_step_in_sales_changes_little(young_chain):
    bought = young_chain.item(3000, 0.3 * np.cos(YEARS / 15))
    with_step = young_chain.estimate(young_chain.level([bought], min_age=[18]))[0]
    without = young_chain.estimate(young_chain.level([bought]))[0]
    assert with_step.log_index == pytest.approx(without.log_index, abs=0.06)


def test_a_product_takes_the_step_of_its_category(young_chain):
    adults = np.where(YEARS < 18, -20.0, 0.0)
    category = young_chain.level([young_chain.item(3000, adults)], min_age=[18])
    product = young_chain.level([young_chain.item(5, adults)], min_age=[18])
    above, below = young_chain.estimate(category, product)
    assert below.log_index[0, 0] < np.log(0.3)
    assert below.log_index[0, 1:] == pytest.approx(above.log_index[0, 1:], abs=0.1)


def test_products_with_another_legal_age_than_their_category_are_estimated(young_chain):
    category = young_chain.level([young_chain.item(3000)])
    effects = [0.0, np.where(YEARS < 16, -20.0, 0.0), np.where(YEARS < 18, -20.0, 0.0)]
    items = [young_chain.item(1500, effect) for effect in effects]
    product = young_chain.estimate(category, young_chain.level(items, parent=[0, 0, 0], min_age=[0, 16, 18]))[1]
    for row, effect in enumerate(effects):
        assert product.log_index[row, 1:] == pytest.approx(young_chain.true_log_index(effect)[1:], abs=0.15)
    assert product.log_index[2, 0] < product.log_index[1, 0] < -0.3
    assert abs(product.log_index[0, 0]) < 0.2


def test_intervals_of_80_are_inside_95_and_every_index_is_positive(make_chain):
    chain = make_chain(2)
    bought = chain.level([chain.item(n, 3 * np.cos(YEARS / 5)) for n in (1, 5, 50, 5000)])
    result = chain.estimate(bought, replicates=[chain.kernel])[0]
    (low_95, high_95), (low_80, high_80) = result.interval(Z_95), result.interval(Z_80)
    index = 100 * np.exp(result.log_index)
    assert (low_95 > 0).all()
    assert ((low_95 < low_80) & (low_80 < index) & (index < high_80) & (high_80 < high_95)).all()
    assert np.isfinite(high_95).all()
    assert ((result.sign_error >= 0) & (result.sign_error <= 0.5 + 1e-9)).all()


def test_the_order_of_items_and_stores_does_not_matter(make_chain, normal_kernel):
    chain, replicates = make_chain(3), [normal_kernel(7.5), normal_kernel(7, 1)]
    above = [chain.item(800, 0.4 * np.cos(YEARS / 9)), chain.item(300), chain.item(50)]
    below = [chain.item(100, effect) for effect in (0.3, 0.5 * np.cos(YEARS / 9), -0.3 * np.cos(YEARS / 9), 0)]
    expected = chain.estimate(
        chain.level(above, min_age=[0, 18, 0]),
        chain.level(below, parent=[0, 0, 1, 2], min_age=[0, 18, 18, 0]),
        replicates=replicates,
    )
    stores = [4, 2, 0, 1, 3]
    chain.counts = chain.counts[stores]
    permuted = chain.estimate(
        chain.level([above[i][stores] for i in (2, 0, 1)], min_age=[0, 0, 18]),
        chain.level([below[i][stores] for i in (3, 1, 0, 2)], parent=[0, 1, 1, 2], min_age=[0, 18, 0, 18]),
        replicates=replicates,
    )
    for order, one, other in zip([[2, 0, 1], [3, 1, 0, 2]], expected, permuted, strict=True):
        assert other.log_index == pytest.approx(one.log_index[order], abs=1e-5)
        assert other.sd == pytest.approx(one.sd[order], abs=1e-5)
        assert other.sign_error == pytest.approx(one.sign_error[order], abs=1e-5)


@pytest.mark.parametrize("n", [1, 20, 2000])
def test_one_store_with_one_item_is_estimated(make_chain, shopper_ages, n):
    chain = make_chain(4, ages=shopper_ages[None], n=max(n, 500))
    result = chain.estimate(chain.level([chain.item(n)]), replicates=[chain.kernel])[0]
    assert np.abs(result.log_index).max() < 0.25
    assert (result.sd > 0).all()


def test_a_category_on_every_receipt_has_index_100(make_chain):
    chain = make_chain(5)
    categories = chain.level([chain.counts, chain.item(500, 0.5 * np.cos(YEARS / 9))])
    product = chain.level([chain.item(2000, 0.5 * np.cos(YEARS / 9))])
    category, below = chain.estimate(categories, product, replicates=[chain.kernel])
    assert category.log_index[0] == pytest.approx(np.zeros(5), abs=0.01)
    assert below.log_index[0] == pytest.approx(chain.true_log_index(0.5 * np.cos(YEARS / 9)), abs=0.15)


def test_a_window_of_one_receipt_says_nothing(make_chain, shopper_ages):
    chain = make_chain(6, ages=shopper_ages[None], n=1)
    result = chain.estimate(chain.level([chain.counts]), replicates=[chain.kernel])[0]
    assert np.abs(result.log_index).max() < 0.05
    assert (result.sign_error > 0.3).all()


def test_a_band_without_receipts_of_the_item_has_a_low_finite_index(make_chain):
    chain = make_chain(7)
    bought = chain.item(2000, np.where(YEARS < 45, 0.0, -20.0))
    bought[:, 60:] = 0
    result = chain.estimate(chain.level([bought]))[0]
    low, high = result.interval(Z_95)
    assert 0 < low[0, 4] < high[0, 4] < 30


def test_stores_and_ages_without_receipts_are_no_problem(make_chain):
    chain = make_chain(8, kernel=np.eye(101))
    chain.counts[3] = 0
    chain.counts[:, 70:] = 0
    result = chain.estimate(chain.level([0.1 * chain.counts]))[0]
    assert np.abs(result.log_index).max() < 0.02


def test_levels_without_items_have_no_estimates(make_chain):
    chain = make_chain(9)
    empty = Level(
        counts=np.zeros((0, 101)), by_store=np.zeros((0, 5)), parent=np.zeros(0, int), min_age=np.zeros(0, int)
    )
    for levels in ([empty], [chain.level([chain.item(50)]), empty, empty]):
        result = chain.estimate(*levels, replicates=[chain.kernel])[-1]
        assert result.log_index.shape == result.sd.shape == result.sign_error.shape == (0, 5)


def test_an_item_without_receipts_is_an_error(make_chain):
    chain = make_chain(10)
    with pytest.raises(ValueError, match="row 1 has no receipts"):
        chain.level([chain.item(5), chain.item(0)])


def test_receipts_by_store_that_do_not_add_up_to_the_counts_are_an_error(make_chain):
    bought = make_chain(11).item(50)
    zero = np.zeros(1, dtype=np.int64)
    with pytest.raises(ValueError, match="row 0 has 50 receipts by age and 51 by store"):
        Level(counts=bought.sum(axis=0)[None], by_store=np.array([[51.0]]), parent=zero, min_age=zero)


@pytest.mark.parametrize("parent", [-1, 1])
def test_a_parent_that_is_not_in_the_level_above_is_an_error(make_chain, parent):
    chain = make_chain(12)
    top = chain.level([chain.item(50)])
    with pytest.raises(ValueError, match=f"row 1 has parent {parent}; the level above has 1 row"):
        chain.estimate(top, chain.level([chain.item(5), chain.item(5)], parent=[0, parent]))


def test_a_window_without_receipts_is_an_error():
    with pytest.raises(ValueError, match="the window has no receipts"):
        Window(counts_by_store=np.zeros((3, 101)), kernel=np.eye(101), replicates=np.zeros((0, 101, 101)))
