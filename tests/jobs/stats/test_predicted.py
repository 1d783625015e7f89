"""Tail probabilities, limits and detectable ratios of checks, compared with exact sums and integrals."""

import numpy as np
import pytest
from scipy import integrate, optimize, special, stats

from jobs.stats.funnel import Predicted

BINS = special.logit(np.linspace(0.22, 0.92, 15))
SHARE = np.array([8, 11, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 3, 2, 1])
"""Sales by bin as a typical cashier has them: few buyers look very young."""


def predict(sales, mean=0.0, deviation=0.0) -> Predicted:
    return Predicted.of(np.array([sales], dtype=float), BINS, np.array([mean]), np.array([float(deviation)]))


def exact_distribution(sales, effect=0.0, ratio=1.0):
    """Return P(number of checks = 0, 1, ...), by convolution."""
    distribution = np.ones(1)
    for p in np.repeat(ratio * special.expit(BINS + effect), np.asarray(sales).astype(int)):
        distribution = np.convolve(distribution, [1 - p, p])
    return distribution


def exact_mixture(sales, deviation, ratio=1.0, mean=0.0):
    """Return the same for effects of a normal distribution, by quadrature with many nodes."""
    if not deviation:
        return exact_distribution(sales, mean, ratio)
    nodes = np.linspace(-6, 6, 97)
    weights = stats.norm.pdf(nodes) / stats.norm.pdf(nodes).sum()
    return sum(w * exact_distribution(sales, mean + deviation * x, ratio) for x, w in zip(nodes, weights, strict=True))


def mid_p(distribution):
    return distribution.cumsum() - distribution / 2


def tails(sales, deviation=0.0, low=1e-4, high=0.5):
    """Return numbers of checks whose exact mid-p is between two bounds, the exact mid-p, and that of `tail`."""
    exact = mid_p(exact_mixture(sales, deviation))
    made = np.flatnonzero((exact >= low) & (exact <= high))
    predicted = predict(sales, deviation=deviation)
    approximate = np.array([predicted.tail(np.array([float(k)]))[0] for k in made])
    return made, exact[made], approximate


def test_with_one_probability_the_tail_is_binomial():
    sales = [0, 0, 40, *[0] * 12]
    k = np.arange(0.0, 41)
    p = special.expit(BINS[2])
    expected = stats.binom.cdf(k, 40, p) - stats.binom.pmf(k, 40, p) / 2
    assert [predict(sales).tail(np.array([x]))[0] for x in k] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("scale", "deviation", "largest"),
    [(0.2, 0, 1.6), (0.2, 0.25, 1.4), (1, 0, 1.23), (1, 0.25, 1.08), (4, 0, 1.13), (4, 0.4, 1.01), (10, 0.4, 1.01)],
)
def test_tails_agree_with_the_exact_ones(scale, deviation, largest):
    _, exact, approximate = tails(np.ceil(scale * SHARE), deviation)
    assert exact.size > 5
    assert (approximate / exact).max() < largest
    assert (approximate / exact).min() > 0.98
    is_usual = exact > 0.01
    assert approximate[is_usual] == pytest.approx(exact[is_usual], rel=0.13)


def test_tails_fit_least_well_if_half_of_the_buyers_are_seldom_asked():
    _, exact, approximate = tails([15, *[0] * 12, 15, 0])
    assert (approximate / exact).min() > 0.9
    assert 1.5 < (approximate / exact).max() < 4
    assert approximate[exact > 0.025] == pytest.approx(exact[exact > 0.025], rel=0.5)


def test_poisson_tails_are_worse():
    made, exact, approximate = tails(SHARE, high=0.025)
    mean = predict(SHARE).mean[0]
    poisson = (stats.poisson.cdf(made, mean) - stats.poisson.pmf(made, mean) / 2) / exact
    assert 3.5 < poisson.min() < 4.5
    assert 30 < poisson.max() < 36
    assert (approximate / exact).max() < 1.23


def test_normal_tails_are_worse():
    for deviation, factor in ((0.25, 2.2), (0.4, 4.1)):
        made, exact, approximate = tails(SHARE, deviation, high=0.025)
        predicted = predict(SHARE, deviation=deviation)
        normal = stats.norm.cdf((made - predicted.mean[0]) / np.sqrt(predicted.variance[0])) / exact
        assert normal.max() == pytest.approx(factor, abs=0.1)
        assert (approximate / exact).max() < 1.08


@pytest.mark.parametrize("n", [50, 1000, 2000])
@pytest.mark.parametrize("deviation", [0.2, 0.4])
def test_the_mixture_of_equal_probabilities_agrees_with_an_integral(n, deviation):
    # With one probability the binomial distribution is exact, so the nodes alone are checked.
    sales = np.zeros(15)
    sales[6] = n
    predicted = predict(sales, deviation=deviation)
    for k in np.floor(predicted.mean[0] - np.array([1.0, 2.0, 3.0]) * np.sqrt(predicted.variance[0])):

        def integrand(x, k=k):
            p = special.expit(BINS[6] + deviation * x)
            return (stats.binom.cdf(k, n, p) + stats.binom.cdf(k - 1, n, p)) / 2 * stats.norm.pdf(x)

        integral, _ = integrate.quad(integrand, -8, 8, epsrel=1e-8, limit=200, points=[-4, -3, -2, -1, 0])
        assert predicted.tail(np.array([k]))[0] == pytest.approx(integral, rel=0.06 if n == 2000 else 0.01)


@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 0.2), (-0.3, 0.4), (0.2, 0.6)])
def test_the_mixture_agrees_with_an_integral(mean, deviation):
    sales = np.ceil(SHARE / 2)
    for k in (16, 20, 26):

        def integrand(effect, k=k):
            return mid_p(exact_distribution(sales, effect))[k] * stats.norm.pdf(effect, mean, deviation)

        integral, _ = integrate.quad(integrand, mean - 7 * deviation, mean + 7 * deviation, epsrel=1e-6)
        assert predict(sales, mean, deviation).tail(np.array([float(k)]))[0] == pytest.approx(integral, rel=0.07)


def test_mean_and_variance_are_those_of_the_exact_distribution():
    distribution = exact_mixture(SHARE, 0.3, mean=-0.2)
    k = np.arange(distribution.size)
    mean = distribution @ k
    predicted = predict(SHARE, -0.2, 0.3)
    assert predicted.mean[0] == pytest.approx(mean, rel=1e-4)
    assert predicted.variance[0] == pytest.approx(distribution @ (k - mean) ** 2, rel=1e-3)


def test_tails_rise_with_the_number_of_checks_from_0_to_1():
    predicted = predict(SHARE, deviation=0.3)
    tail = [predicted.tail(np.array([float(k)]))[0] for k in range(-1, int(SHARE.sum()) + 2)]
    assert tail[0] == 0
    assert tail[-1] == pytest.approx(1)
    assert max(tail) <= 1
    assert (np.diff(tail) >= 0).all()


def test_fewer_checks_are_less_unusual_among_colleagues_who_make_few():
    made = np.array([30.0])
    assert predict(SHARE, -0.5, 0.25).tail(made) > 3 * predict(SHARE, 0.0, 0.25).tail(made)


@pytest.mark.parametrize("deviation", [0.0, 0.25, 0.5])
@pytest.mark.parametrize("share", [0.025, 0.001])
def test_the_tail_at_the_limit_is_the_share(deviation, share):
    n = np.r_[1:40, 60, 100, 300, 1000]
    predicted = Predicted.of(np.outer(n, SHARE / SHARE.sum()), BINS, np.zeros(n.size), np.full(n.size, deviation))
    limit = predicted.limit(share)
    is_possible = predicted.tail(np.zeros(n.size)) < share
    assert (limit > 0).tolist() == is_possible.tolist()
    assert 0 < is_possible.sum() < n.size
    assert predicted.tail(limit)[is_possible] == pytest.approx(share, rel=0.05)


def test_the_limit_of_very_few_sales_is_0():
    sales = [0, 0, 0, 0, 2, *[0] * 10]
    assert exact_distribution(sales)[0] / 2 > 0.025
    predicted = predict(sales)
    assert predicted.limit(0.025)[0] == 0
    assert np.isnan(predicted.detectable_ratio(np.zeros(1), 0.8)[0])


def power(sales, deviation, ratio, limit):
    """Return the exact probability of fewer checks than the limit, with a ratio of the usual checks."""
    return exact_mixture(sales, deviation, ratio)[: int(np.ceil(limit))].sum()


@pytest.mark.parametrize(("scale", "deviation"), [(0.5, 0.25), (1, 0.0), (1, 0.4), (3, 0.25)])
def test_the_detectable_ratio_has_the_power(scale, deviation):
    sales = np.ceil(scale * SHARE)
    predicted = predict(sales, deviation=deviation)
    limit = predicted.limit(0.001)
    ratio = predicted.detectable_ratio(limit, 0.8)[0]
    assert power(sales, deviation, ratio, limit[0]) == pytest.approx(0.8, abs=0.01)
    exact = optimize.brentq(lambda x: power(sales, deviation, x, limit[0]) - 0.8, 1e-6, 1)
    assert ratio == pytest.approx(exact, abs=0.005)


@pytest.mark.parametrize(("part", "lowest"), [(8, 0.9), (12, 0.7)])
def test_the_detectable_ratio_is_too_low_where_hardly_any_check_is_allowed(part, lowest):
    # 8 or 5 expected checks, the limits are below 2 and 1: the normal approximation is least good here.
    sales = np.round(SHARE / part + 0.2)
    predicted = predict(sales, deviation=0.25)
    limit = predicted.limit(0.001)
    assert 0 < limit[0] < 2
    ratio = predicted.detectable_ratio(limit, 0.8)[0]
    exact = optimize.brentq(lambda x: power(sales, 0.25, x, limit[0]) - 0.8, 1e-6, 1)
    assert lowest * exact < ratio < exact


def test_the_detectable_ratio_agrees_with_a_simulation():
    rng = np.random.default_rng(5)
    predicted = predict(SHARE, deviation=0.25)
    limit = predicted.limit(0.001)
    ratio = predicted.detectable_ratio(limit, 0.8)[0]
    n_runs = 4000
    p = ratio * special.expit(BINS + rng.normal(0, 0.25, (n_runs, 1)))
    made = rng.binomial(SHARE, p).sum(axis=1)
    assert (made < limit[0]).mean() == pytest.approx(0.8, abs=3 * np.sqrt(0.16 / n_runs))
