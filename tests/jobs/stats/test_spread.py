"""Spread between cashiers and between stores, compared with a direct root search and with simulated effects."""

import numpy as np
import pytest
from scipy import integrate, optimize, stats

from jobs.stats.funnel import WINSOR, WINSORISED_VARIANCE, estimate_spread, spread


def draw_effects(rng, *, tau=0.25, tau_store=0.15, n_stores=80, per_store=10, mean_variance=0.05):
    """Draw the effects of cashiers as they are estimated; return them, their variances by chance, and stores."""
    store = np.repeat(np.arange(n_stores), per_store)
    variance = mean_variance * rng.lognormal(0, 0.6, store.size)
    true = rng.normal(0, tau, store.size) + rng.normal(0, tau_store, n_stores)[store]
    return true + rng.normal(0, np.sqrt(variance)), variance, store


def root(mean_square, largest=3.0):
    return 0.0 if mean_square(0.0) <= 0.831 else optimize.brentq(lambda x: mean_square(x) - 0.831, 0, largest)


def spread_by_loops(effect, variance, store):
    """Solve the two equations of Paule and Mandel in turn until they hold, cashier by cashier."""
    cashiers, stores = range(effect.size), sorted(set(store))

    def between_cashiers(tau, tau_store):
        squares = []
        for c in cashiers:
            if variance[c] > 1:
                continue
            others = [o for o in cashiers if store[o] == store[c] and o != c and np.isfinite(variance[o])]
            weights = [1 / (variance[o] + tau**2) for o in others]
            total = sum(weights) + 1 / max(tau_store, 1e-6) ** 2
            colleagues = sum(w * effect[o] for w, o in zip(weights, others, strict=True)) / total
            squares.append(min((effect[c] - colleagues) ** 2 / (variance[c] + tau**2 + 1 / total), 1.645**2))
        return sum(squares) / len(squares)

    def between_stores(tau, tau_store):
        means, weights = [], []
        for s in stores:
            members = [c for c in cashiers if store[c] == s and variance[c] <= 1]
            if members:
                own = [1 / (variance[c] + tau**2) for c in members]
                means.append(sum(w * effect[c] for w, c in zip(own, members, strict=True)) / sum(own))
                weights.append(1 / (1 / sum(own) + tau_store**2))
        centre = sum(w * m for w, m in zip(weights, means, strict=True)) / sum(weights)
        return sum(min((m - centre) ** 2 * w, 1.645**2) for w, m in zip(weights, means, strict=True)) / len(means)

    tau = tau_store = 0.3
    for _ in range(12):
        tau = root(lambda x, fixed=tau_store: between_cashiers(x, fixed))
        tau_store = root(lambda x, fixed=tau: between_stores(fixed, x))
    return tau, tau_store


def test_the_winsorised_variance_is_that_of_a_standard_normal_variable():
    def integrand(z):
        return min(z**2, WINSOR**2) * stats.norm.pdf(z)

    integral, _ = integrate.quad(integrand, -9, 9, points=[-WINSOR, WINSOR])
    assert pytest.approx(integral, abs=5e-4) == WINSORISED_VARIANCE


@pytest.mark.parametrize("seed", range(4))
def test_spread_is_the_root_of_the_winsorised_equation(seed):
    rng = np.random.default_rng(seed)
    variance = rng.uniform(0.01, 0.3, 60)
    difference = rng.normal(0, np.sqrt(variance + 0.4**2))
    difference[:3] = -4

    def mean_square(tau):
        return np.minimum(difference**2 / (variance + tau**2), 1.645**2).mean()

    assert spread(lambda tau: (difference, variance + tau**2)) == pytest.approx(root(mean_square), abs=1e-6)


@pytest.mark.parametrize("seed", [11, 12])
def test_spreads_solve_both_equations(seed):
    rng = np.random.default_rng(seed)
    effect, variance, store = draw_effects(rng, n_stores=14, per_store=5, tau=0.4, tau_store=0.4)
    effect[3], variance[3:6] = 0.0, [np.inf, 2.0, 1.5]
    estimated = estimate_spread(effect, variance, store)
    tau, tau_store = spread_by_loops(effect, variance, store)
    assert min(tau, tau_store) > 0.1
    assert (estimated.tau, estimated.tau_store) == pytest.approx((tau, tau_store), abs=0.002)


@pytest.mark.parametrize(("tau", "tau_store"), [(0.25, 0.15), (0.4, 0.3), (0.15, 0.0)])
def test_known_spreads_are_recovered(tau, tau_store):
    runs = [
        estimate_spread(*draw_effects(np.random.default_rng(seed), tau=tau, tau_store=tau_store)) for seed in range(12)
    ]
    for truth, estimates in ((tau, [run.tau for run in runs]), (tau_store, [run.tau_store for run in runs])):
        error = np.std(estimates, ddof=1) / np.sqrt(len(runs))
        if truth > 0:
            assert np.mean(estimates) == pytest.approx(truth, abs=3 * error + 0.005)
        else:  # estimates cannot be below 0
            assert np.mean(estimates) < 0.06


def test_equal_effects_have_no_spread():
    variance, store = np.full(40, 0.05), np.repeat(np.arange(8), 5)
    estimated = estimate_spread(np.zeros(40), variance, store)
    assert (estimated.tau, estimated.tau_store) == (0, 0)
    assert np.isfinite(estimated.colleagues).all()


def test_differences_by_chance_alone_have_almost_no_spread():
    runs = [
        estimate_spread(*draw_effects(np.random.default_rng(seed), tau=0, tau_store=0)).tau for seed in range(100, 112)
    ]
    assert 0 in runs
    assert np.mean(runs) < 0.05


def test_two_percent_extreme_cashiers_hardly_widen_the_spread():
    changes, squared = [], []
    for seed in range(200, 206):
        effect, variance, store = draw_effects(np.random.default_rng(seed))
        extreme = effect.copy()
        extreme[::50] -= 3
        without, having = (estimate_spread(values, variance, store).tau for values in (effect, extreme))
        changes.append(having - without)
        squared.append(np.sqrt(np.mean(extreme**2 - variance)))  # of moments, without winsorised differences
    assert 0 < np.mean(changes) < 0.05
    assert min(squared) > 0.4


def test_cashiers_of_whom_little_is_known_do_not_change_the_spread():
    effect, variance, store = draw_effects(np.random.default_rng(300))
    expected = estimate_spread(effect, variance, store)
    unknown = np.arange(100)
    estimated = estimate_spread(
        np.r_[effect, np.full(100, -5.0)], np.r_[variance, np.full(100, np.inf)], np.r_[store, unknown % 80]
    )
    assert estimated.tau == expected.tau
    assert estimated.tau_store == expected.tau_store
    assert estimated.colleagues[:800] == pytest.approx(expected.colleagues)


def test_without_informative_cashiers_there_is_no_spread():
    estimated = estimate_spread(np.array([-1.0, 2.0]), np.array([1.5, 3.0]), np.array([0, 1]))
    assert (estimated.tau, estimated.tau_store) == (0, 0)


def test_colleagues_by_hand():
    effect, variance = np.array([0.3, -0.2, 0.5, -1.0]), np.array([0.1, 0.2, 0.3, 0.1])
    store = np.array([0, 0, 0, 1])
    # More stores, so that both spreads are above 0.
    more, more_variance, more_store = draw_effects(np.random.default_rng(301), tau=0.5, tau_store=0.5)
    estimated = estimate_spread(np.r_[effect, more], np.r_[variance, more_variance], np.r_[store, more_store + 2])
    w1, w2 = (1 / (v + estimated.tau**2) for v in (0.2, 0.3))
    total = w1 + w2 + 1 / estimated.tau_store**2
    assert estimated.colleagues[0] == pytest.approx((w1 * -0.2 + w2 * 0.5) / total)
    assert estimated.colleagues_variance[0] == pytest.approx(1 / total)


def test_a_cashier_alone_in_a_store_is_compared_with_the_chain():
    effect, variance, store = draw_effects(np.random.default_rng(302), tau_store=0.4)
    estimated = estimate_spread(np.r_[effect, -2.0], np.r_[variance, 0.1], np.r_[store, 80])
    assert estimated.tau_store > 0.2
    assert estimated.colleagues[-1] == 0
    assert estimated.colleagues_variance[-1] == pytest.approx(estimated.tau_store**2)


def test_effects_of_stores_are_shrunk_to_the_chain():
    effect, variance, store = draw_effects(np.random.default_rng(303), tau_store=0.4)
    estimated = estimate_spread(effect, variance, store)
    own = store == 7
    weight = 1 / (variance[own] + estimated.tau**2)
    precision = weight.sum() + 1 / estimated.tau_store**2
    assert estimated.store_effect[7] == pytest.approx((weight @ effect[own]) / precision)
    assert estimated.store_variance[7] == pytest.approx(1 / precision)
