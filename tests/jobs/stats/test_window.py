import numpy as np
import pytest

from jobs.stats import window
from jobs.stats.ages import YEARS

HALVES = np.array([YEARS < 50, YEARS >= 50])


def estimate(chain, items, copies=1, **flags):
    """Estimate items of receipts by store and age, (I, S, 101)."""
    chain.counts *= copies
    cube = copies * np.array(items)
    return window.estimate(chain.window(), [chain.level(list(cube))], [cube @ YEARS], chain.bands, 10, **flags)


def test_reliability_is_the_slope_of_a_naive_difference_on_the_true_one():
    """Of 80 people, 60 are truly young; 10 % of the young and 20 % of the old are estimated to be in the other half."""
    ages = np.zeros(101)
    ages[[20, 70]] = 0.75, 0.25
    kernel = np.zeros((101, 101))
    kernel[20, [20, 70]], kernel[70, [70, 20]] = (0.9, 0.1), (0.8, 0.2)
    young, old = window.reliability(HALVES, ages, kernel)
    # P(young | estimated young) = 54 / 58, P(young | estimated old) = 6 / 22.
    assert young == pytest.approx(54 / 58 - 6 / 22)
    assert old == pytest.approx(young)
    bought = {20: 0.5, 70: 0.1}  # share of receipts with an item by true age
    naive_young = (54 * bought[20] + 4 * bought[70]) / 58
    naive_old = (6 * bought[20] + 16 * bought[70]) / 22
    assert (naive_young - naive_old) / (bought[20] - bought[70]) == pytest.approx(young)


def test_shares_and_kept_shares_of_a_model_without_errors_are_those_of_the_counts(make_chain):
    chain = make_chain(1, kernel=np.eye(101), n=50_000)
    estimates = estimate(chain, [chain.item(1000)])
    counted = chain.bands @ chain.counts.sum(axis=0) / chain.counts.sum()
    assert estimates.share == pytest.approx(counted, abs=0.01)
    assert estimates.kept == pytest.approx(np.ones(5))
    assert estimates.reliability == pytest.approx(np.ones(5))


def test_the_kept_share_is_that_of_simulated_people(make_chain):
    chain = make_chain(2)
    estimates = estimate(chain, [chain.item(1000)])
    age = chain.rng.choice(101, 100_000, p=chain.ages[0])
    estimated = np.clip(np.round(age + chain.rng.normal(0, 7, age.size)), 0, 100).astype(int)
    for band, kept in zip(chain.bands[1:], estimates.kept[1:], strict=True):
        assert kept == pytest.approx(band[estimated[band[age]]].mean(), abs=0.04)


def test_a_strong_item_is_notable_and_a_flat_one_is_not(make_chain):
    chain = make_chain(3)
    items = [chain.item(2000, 0.4 * np.cos(YEARS / 15)), *(chain.item(2000) for _ in range(10))]
    level = estimate(chain, items).levels[0]
    assert level.n_tested == 11
    assert level.notable()[0].any()
    assert not level.notable()[1:].any()
    low, high = level.indices.interval(1.96)
    assert (level.q_value[0] <= 0.05)[(low > 100.5)[0] | (high < 99.5)[0]].any()
    assert (level.q_value >= level.indices.sign_error).all()


def test_an_item_too_rare_to_be_published_is_not_tested(make_chain):
    chain = make_chain(4)
    level = estimate(chain, [chain.item(2000), chain.item(9, np.where(YEARS < 30, 3.0, 0))]).levels[0]
    assert level.n_tested == 1
    assert level.q_value[1].min() == 1
    assert not level.notable()[1].any()


def test_copies_of_every_receipt_give_no_further_discoveries(make_chain):
    chain = make_chain(5, ages=np.tile(make_chain(5).ages[0], (20, 1)))
    # Rare items: these are drawn beside the receipts of the chain, and the formula is for a part of them.
    items = [chain.item(300) for _ in range(40)]
    estimates = estimate(chain, items, copies=4)
    assert estimates.dispersion == pytest.approx(4, abs=0.8)
    assert estimates.levels[0].notable().sum() == 0


def test_the_dispersion_of_one_store_is_unknown_and_widens_intervals(make_chain):
    ages = make_chain(6).ages[:1]
    chain = make_chain(6, ages=ages)
    item = chain.item(3000, 0.3 * np.cos(YEARS / 15))
    estimates = estimate(chain, [item])
    assert estimates.dispersion is None
    independent = chain.estimate(chain.level([item]))[0]
    assert (estimates.levels[0].indices.sd > 1.1 * independent.sd).all()
