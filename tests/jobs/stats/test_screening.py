"""The screening of simulated windows: who is found, who is excused, and of whom nothing is said."""

from dataclasses import replace

import numpy as np
import pytest

from jobs.stats.screening import Rule, screen

TENTH, MARKS, MINORS, TWICE = 0, 80, 160, 240
"""Numbers of the planted cashiers."""
N_CASHIERS = 320
LOOSEST = Rule(min_sales=5, watch_p=0.1, watch_young_p=0.1, review_sales=5, review_q=0.2, review_ratio=1.0)
"""The loosest thresholds that the flags of the job allow."""


@pytest.fixture(scope="module")
def draw(cashier_chains):
    """Draw a window of 40 stores with 8 cashiers; `change` changes the chain."""

    def of_seed(seed, change=lambda chain: chain):
        rng = np.random.default_rng(seed)
        return cashier_chains.window(rng, change(cashier_chains.honest(rng, 40, 8)))

    return of_seed


@pytest.fixture(scope="module")
def planted(draw, cashier_chains):
    def change(chain):
        for number, kind, n in ((TENTH, "tenth", 150), (MARKS, "marks", 1000), (MINORS, "minors", 60)):
            chain = cashier_chains.plant(chain, np.arange(N_CASHIERS) == number, kind, n)
        return cashier_chains.plant(chain, np.arange(N_CASHIERS) == TWICE, "twice", 1500)

    return draw(1, change)


def take(rows, chosen, **changed):
    """Return some rows, in the order of `chosen`, with changed columns."""
    columns = {name: values[chosen] for name, values in vars(rows).items()}
    return type(rows)(**columns | changed)


def change_sales(window, cashier, **factors):
    """Multiply columns of the sales of a cashier."""
    sales, own = window.sales, window.sales.cashier == cashier
    changed = {name: getattr(sales, name) * np.where(own, factor, 1) for name, factor in factors.items()}
    return replace(window, sales=replace(sales, **changed))


def assert_equal(first, second, of_first=slice(None), of_second=slice(None)):
    for name in ("n", "made", "expected", "limit_low_95", "ratio", "detectable_ratio", "p_check", "q_value"):
        assert getattr(first, name)[of_first] == pytest.approx(getattr(second, name)[of_second], rel=1e-5, nan_ok=True)
    assert first.young.p_value[of_first] == pytest.approx(second.young.p_value[of_second], rel=1e-5)
    assert first.control.shift[of_first] == pytest.approx(second.control.shift[of_second], abs=1e-9)
    assert np.array(first.status)[of_first].tolist() == np.array(second.status)[of_second].tolist()
    assert first.spread.tau == pytest.approx(second.spread.tau, abs=1e-6)


def test_planted_cashiers_are_found_among_honest_ones(planted):
    result = screen(planted, Rule())
    status = np.array(result.status)
    assert status[[TENTH, MINORS, TWICE]].tolist() == ["review"] * 3
    assert status[MARKS] == "watch"
    assert not result.has_few_checks[MARKS]
    assert result.has_young_faces[[MARKS, MINORS]].all()
    honest = np.delete(status, [TENTH, MARKS, MINORS, TWICE])
    assert (honest == "review").sum() == 0
    assert (honest == "watch").mean() < 0.06


def test_honest_cashiers_are_not_in_review_and_few_are_watched(draw):
    results = [screen(draw(seed), Rule()) for seed in range(20, 25)]
    status = np.concatenate([result.status for result in results])
    assert (status == "review").sum() == 0
    assert (status == "watch").mean() < 0.06
    p = np.concatenate([result.p_check[result.is_tested] for result in results])
    assert (p < 0.05).mean() == pytest.approx(0.045, abs=0.02)  # 1600 cashiers: standard error .005


def test_the_spread_of_honest_cashiers_is_recovered_if_ages_are_known(draw):
    taus = {
        has_errors: np.mean([
            screen(draw(seed, lambda chain, e=has_errors: replace(chain, has_age_errors=e)), Rule()).spread.tau
            for seed in range(40, 44)
        ])
        for has_errors in (False, True)
    }  # fmt: skip
    assert taus[False] == pytest.approx(0.25, abs=0.04)
    assert 0.14 < taus[True] < taus[False]  # errors of the ages hide a part of the differences


def test_extreme_young_faces_with_normal_checks_are_at_most_watched(planted):
    result = screen(planted, LOOSEST)
    assert result.young.p_value[MARKS] < 1e-6
    assert result.status[MARKS] == "watch"
    strict = screen(planted, Rule())
    assert strict.status[MARKS] == "watch"


def test_ages_that_a_camera_shifts_do_not_accuse(draw):
    # The same receipts, once with a camera that reads 5 years too young at one till of each store.
    of_store = np.arange(0, N_CASHIERS, 8)

    def change(chain):
        n_sales = np.where(np.isin(np.arange(N_CASHIERS), of_store), 800, chain.n_sales)
        return replace(chain, n_sales=n_sales, shift=np.where(np.isin(np.arange(N_CASHIERS), of_store), -5.0, 0))

    window = draw(30, change)
    guarded = screen(window, Rule())
    watched = np.array(guarded.status)[of_store] != "within_limits"
    assert guarded.control.shift[of_store].mean() == pytest.approx(-5, abs=1)
    assert watched.mean() <= 0.1
    # Without receipts that show the shift, many are accused.
    control = window.control
    own, rest = np.isin(control.cashier, of_store), ~np.isin(control.cashier, of_store)
    mean_age = control.age_sum[rest].sum() / control.n[rest].sum()
    blind = replace(window, control=replace(control, age_sum=np.where(own, control.n * mean_age, control.age_sum)))
    unguarded = screen(blind, Rule())
    assert (np.array(unguarded.status)[of_store] != "within_limits").mean() > 0.3


def test_a_flagged_shift_switches_young_faces_off(planted):
    control = planted.control
    own = control.cashier == MARKS
    age_sum = np.where(own, control.age_sum + 6 * control.n, control.age_sum)
    result = screen(replace(planted, control=replace(control, age_sum=age_sum)), Rule())
    assert result.control.flag[MARKS]
    assert result.young.p_value[MARKS] < 0.01
    assert result.status[MARKS] == "within_limits"


def test_the_guard_lowers_expected_checks_and_young_faces(draw):
    window = draw(31)
    own = window.control.cashier == 5
    younger = replace(window.control, age_sum=window.control.age_sum - 5 * window.control.n * own)
    before, after = screen(window, Rule()), screen(replace(window, control=younger), Rule())
    assert after.control.correction[5] > 3
    assert after.expected[5] < before.expected[5]
    assert after.young.observed[5] < before.young.observed[5]


def test_of_a_cashier_with_few_sales_nothing_is_said(planted):
    # All buyers look 18, so that more than one check is expected.
    own = planted.sales.cashier == TENTH
    n = planted.sales.n[own].sum()
    age_year = np.where(own, 18, planted.sales.age_year)
    young = replace(planted, sales=replace(planted.sales, age_year=age_year))
    for n_left, is_tested in ((4.99, False), (5.01, True)):
        few = screen(change_sales(young, TENTH, n=n_left / n, n_checked=0, p_under_18_sum=n_left / n), Rule())
        assert few.expected[TENTH] > 1
        assert few.is_tested[TENTH] == is_tested
        assert (few.status[TENTH] == "insufficient_data") == (not is_tested)
        assert few.status[TENTH] != "review"
        assert (few.q_value[TENTH] == 1) == (not is_tested)


def test_of_a_cashier_with_less_than_one_expected_check_nothing_is_said(planted):
    # All buyers look old.
    own = planted.sales.cashier == TENTH
    age_year = np.where(own, 55, planted.sales.age_year)
    result = screen(replace(planted, sales=replace(planted.sales, age_year=age_year)), Rule())
    assert result.n[TENTH] == 150
    assert result.expected[TENTH] < 1
    assert result.status[TENTH] == "insufficient_data"


def test_of_a_cashier_without_control_receipts_nothing_is_said(planted):
    control = planted.control
    own = control.cashier == TENTH
    n = control.n[own].sum()
    for n_left, status in ((0, "insufficient_data"), (19.9, "insufficient_data"), (20.1, "review")):
        part = np.where(own, n_left / n, 1)
        fewer = {name: values * part for name, values in vars(control).items() if name not in {"cashier", "place"}}
        result = screen(replace(planted, control=replace(control, **fewer)), Rule())
        assert result.status[TENTH] == status


def test_untested_cashiers_do_not_count_as_tests(planted):
    result = screen(planted, Rule(min_sales=200))
    assert result.is_tested.sum() < N_CASHIERS
    tested = result.is_tested
    order = np.sort(result.p_check[tested])
    smallest = np.min(order * tested.sum() / np.arange(1, tested.sum() + 1))
    assert result.q_value[tested].min() == pytest.approx(smallest)


def test_the_order_of_rows_does_not_matter(planted):
    rng = np.random.default_rng(2)
    sales, control = (rng.permutation(rows.n.size) for rows in (planted.sales, planted.control))
    shuffled = replace(planted, sales=take(planted.sales, sales), control=take(planted.control, control))
    assert_equal(screen(shuffled, Rule()), screen(planted, Rule()))


def test_the_numbers_of_cashiers_and_stores_do_not_matter(planted):
    rng = np.random.default_rng(3)
    cashier, store = rng.permutation(N_CASHIERS), rng.permutation(planted.n_stores)

    def renumber(rows):
        place = store[rows.place // planted.n_blocks] * planted.n_blocks + rows.place % planted.n_blocks
        return replace(rows, cashier=cashier[rows.cashier], place=place)

    of_cashier = np.empty(N_CASHIERS, dtype=int)
    of_cashier[cashier] = store[planted.store]
    renumbered = replace(planted, store=of_cashier, sales=renumber(planted.sales), control=renumber(planted.control))
    assert_equal(screen(renumbered, Rule()), screen(planted, Rule()), of_first=cashier)


def test_a_chain_whose_cashiers_all_ask_alike_has_no_reviews(draw):
    result = screen(draw(33, lambda chain: replace(chain, effect=np.zeros(N_CASHIERS))), Rule())
    assert result.spread.tau < 0.1
    assert "review" not in result.status


@pytest.mark.parametrize("empty", ["sales", "control"])
def test_a_window_without_restricted_sales_or_control_is_refused(planted, empty):
    rows = getattr(planted, empty)
    with pytest.raises(ValueError, match="no restricted sales, or no receipts without restricted goods"):
        screen(replace(planted, **{empty: take(rows, np.zeros(0, dtype=int))}), Rule())


def test_one_sale_in_the_window_is_enough_to_screen_nobody(planted):
    result = screen(replace(planted, sales=take(planted.sales, np.array([0]))), Rule())
    assert set(result.status) == {"insufficient_data"}
    assert result.p_check[1:].tolist() == [1] * (N_CASHIERS - 1)


def test_sales_of_a_store_and_its_self_checkouts_are_compared_with_the_chain(planted):
    # Self-checkouts with the sales of store 3, half of whose buyers are checked: the others' expected checks stay.
    own = planted.store[planted.sales.cashier] == 3
    rows = take(planted.sales, own, cashier=np.full(own.sum(), 3))
    rows = replace(rows, n_checked=rows.n_checked / 2)
    stores, alone = (screen(w, Rule()).stores for w in (replace(planted, self_checkout=rows), planted))
    assert stores.made[3] == alone.made[3]
    assert stores.self_made[3] == pytest.approx(stores.made[3] / 2, rel=0.05)
    assert stores.self_expected[3] == pytest.approx(stores.expected[3], rel=0.05)
    assert np.delete(stores.self_expected, 3).sum() == 0
    assert (stores.ratio_low <= stores.ratio).all()
    assert (stores.ratio <= stores.ratio_high).all()


def test_expected_checks_sum_to_the_checks_made(planted):
    result = screen(planted, Rule())
    assert result.expected.sum() == pytest.approx(result.made.sum(), rel=0.05)
    assert (result.expected <= result.n).all()
