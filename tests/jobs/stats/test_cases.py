"""Drawing review cases, and the test of their answers."""

import math

import numpy as np
import pytest
from scipy import stats

from jobs.stats.cases import SIGNIFICANCE, draw_batch, p_asked_less_often


def store(n_cashier: int = 100, n_colleagues: int = 300, n_older: int = 100, hours=tuple(range(8, 20))):
    """Return (of_cashier, hours, ages): young-looking buyers of the cashier and of colleagues, and older ones."""
    sizes = [n_cashier, n_colleagues, n_older]
    of_cashier = np.repeat([True, False, False], sizes)
    of_cashier[sum(sizes) - n_older // 2 :] = True  # the cashier has older-looking buyers too
    ages = np.repeat([20.0, 20.0, 50.0], sizes)
    return of_cashier, np.resize(hours, sum(sizes)), ages


def roles_of(batch) -> dict[str, np.ndarray]:
    roles = np.array(batch.roles)
    return {role: batch.receipts[roles == role] for role in ("cashier", "colleague", "attention_check")}


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ((100, 300, 100), (20, 40, 10)),
        ((12, 300, 100), (12, 40, 10)),
        ((5, 10, 3), (5, 10, 3)),
        ((4, 300, 100), (0, 0, 0)),
        ((100, 9, 100), (0, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
    ],
)
def test_a_batch_has_20_40_and_10_receipts_or_fewer_but_enough_to_compare(sizes, expected):
    of_cashier, hours, ages = store(*sizes)
    drawn = roles_of(draw_batch(of_cashier, hours, ages, np.random.default_rng(1)))
    assert tuple(receipts.size for receipts in drawn.values()) == expected


def test_each_receipt_has_its_role_and_occurs_once():
    of_cashier, hours, ages = store()
    batch = draw_batch(of_cashier, hours, ages, np.random.default_rng(1))
    drawn = roles_of(batch)
    assert np.unique(batch.receipts).size == 70
    assert of_cashier[drawn["cashier"]].all()
    assert not of_cashier[drawn["colleague"]].any()
    assert (ages[drawn["attention_check"]] >= 40).all()
    assert (ages[np.concatenate([drawn["cashier"], drawn["colleague"]])] < 27).all()


def test_buyers_of_27_to_39_years_are_never_drawn():
    of_cashier, hours, ages = store()
    ages[:] = 27.0
    ages[:5] = ages[100:110] = 26.9  # the fewest of the cashier, and of colleagues
    ages[-1] = 39.9
    drawn = draw_batch(of_cashier, hours, ages, np.random.default_rng(1))
    assert sorted(drawn.receipts) == [*range(5), *range(100, 110)]


def test_receipts_of_colleagues_have_the_hours_of_those_of_the_cashier():
    of_cashier, hours, ages = store()
    hours[:100] = np.repeat([20, 21], 50)
    hours[100:200] = np.repeat([20, 21], 50)
    drawn = roles_of(draw_batch(of_cashier, hours, ages, np.random.default_rng(1)))
    counts = [np.bincount(hours[drawn[role]], minlength=24) for role in ("cashier", "colleague")]
    assert counts[1].tolist() == (2 * counts[0]).tolist()


def test_other_hours_replace_missing_receipts_of_colleagues():
    of_cashier, hours, ages = store()
    hours[:100] = 22
    hours[100:105] = 22
    drawn = roles_of(draw_batch(of_cashier, hours, ages, np.random.default_rng(1)))
    assert drawn["colleague"].size == 40
    assert (hours[drawn["colleague"]] == 22).sum() == 5


def test_the_order_does_not_depend_on_the_role():
    of_cashier, hours, ages = store()
    rng = np.random.default_rng(3)
    batches = [np.array(draw_batch(of_cashier, hours, ages, rng).roles) == "cashier" for _ in range(2000)]
    share = np.mean(batches, axis=0)  # at each place, 20 of 70
    statistic = ((share - 20 / 70) ** 2).sum() / (20 / 70 * 50 / 70 / 2000) * 69 / 70
    assert stats.chi2.sf(statistic, 69) > 0.01
    assert len({tuple(batch) for batch in batches}) == 2000


def test_each_receipt_of_the_cashier_is_drawn_equally_often():
    of_cashier, hours, ages = store()
    rng = np.random.default_rng(4)
    counts = np.zeros(500)
    for _ in range(2000):
        counts[roles_of(draw_batch(of_cashier, hours, ages, rng))["cashier"]] += 1
    z = (counts[:100] - 400) / math.sqrt(2000 * 0.2 * 0.8)
    assert np.abs(z).max() < 4
    assert counts[100:].sum() == 0


@pytest.mark.parametrize(
    ("asked", "of"), [((2, 30), (20, 40)), ((15, 30), (20, 40)), ((0, 1), (5, 5)), ((1, 3), (2, 3))]
)
def test_the_test_equals_the_sum_of_hypergeometric_probabilities(asked, of):
    total = sum(asked)
    ways = [math.comb(of[0], k) * math.comb(of[1], total - k) for k in range(asked[0] + 1) if total - k <= of[1]]
    assert p_asked_less_often(asked, of) == pytest.approx(sum(ways) / math.comb(sum(of), total))


def test_cases_without_colleagues_have_no_difference():
    assert p_asked_less_often((0, 0), (20, 0)) == 1


def test_the_power_of_a_batch_is_that_of_the_method():
    """The documented power: .93 to .99 for a cashier who asks a tenth as often, .03 for others."""
    asks = np.arange(21)[:, None], np.arange(41)[None, :]
    p = np.vectorize(lambda a, b: p_asked_less_often((a, b), (20, 40)))(*asks)

    def share_of_differences(cashier_asks: float, colleagues_ask: float) -> float:
        probability = stats.binom.pmf(asks[0], 20, cashier_asks) * stats.binom.pmf(asks[1], 40, colleagues_ask)
        return float(probability[p < SIGNIFICANCE].sum())

    assert share_of_differences(0.05, 0.5) > 0.93
    assert share_of_differences(0.07, 0.7) > 0.99
    assert 0.015 < share_of_differences(0.7, 0.7) < 0.05
