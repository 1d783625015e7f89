"""Curves of purchases by true age, against direct maximisation, integration and simulation."""

import math

import numpy as np
import pytest
from scipy import integrate, optimize, stats

from jobs.stats import curves
from jobs.stats.ages import YEARS, smooth_basis

STEPS = np.eye(3)[np.digitize(YEARS, [30, 50])]
"""Functions that are constant in each bin of two years, so that bins of true ages lose nothing."""


def problem(counts, base, kernel, basis, **changes):
    """Build a problem of the counts (I, 101) with one base (101,) for all items and nothing known of the curves."""
    n_items, n_functions = len(counts), basis.shape[1]
    fields = {
        "counts": np.asarray(counts, dtype=float),
        "base": np.tile(base, (n_items, 1)),
        "exposure": np.ones((n_items, 101)),
        "kernel": kernel,
        "basis": basis,
        "dispersion": np.ones(n_items),
        "prior": np.zeros((n_items, n_functions, n_functions)),
        "scale": np.ones(n_functions),
    }
    return curves.Problem(**(fields | changes))


def fit(of, tau, **options):
    """Fit with one tau."""
    return curves.fit(of, np.array([tau]), np.ones(1), **options)


def log_likelihood(of, item, z, width=1):
    """Return the log likelihood of an item in plain loops over true age and bins of `width` estimated years."""
    by_bin, seen = {}, {}
    intensity = [of.base[item, a] * math.exp(of.basis[a] @ z) for a in range(101)]
    for e in range(101):
        rate = sum(intensity[a] * of.kernel[a, e] for a in range(101))
        by_bin[e // width] = by_bin.get(e // width, 0) + of.exposure[item, e] * rate
        seen[e // width] = seen.get(e // width, 0) + of.counts[item, e]
    whole = sum(by_bin.values())
    return sum(seen[b] * math.log(by_bin[b] / whole) for b in by_bin if seen[b]) / of.dispersion[item]


def log_posterior(of, item, z, tau, width=1):
    prior = of.prior[item] + tau**2 * np.diag(of.scale)
    return log_likelihood(of, item, z, width) - 0.5 * z @ np.linalg.solve(prior, z)


def draw(rng, n, base, kernel, curve):
    """Draw n receipts of one item by estimated age, (101,)."""
    share = (base * np.exp(curve)) @ kernel
    return rng.multinomial(n, share / share.sum())


@pytest.mark.parametrize("dispersion", [1.0, 2.5])
def test_modes_maximise_the_penalised_likelihood(shopper_ages, normal_kernel, dispersion):
    rng, kernel = np.random.default_rng(1), normal_kernel(7)
    counts = [draw(rng, n, shopper_ages, kernel, STEPS @ [0.5, -0.4, 0.1]) for n in (60, 3000)]
    prior = np.array([np.diag([0.02, 0.01, 0]), [[0.1, 0.05, 0], [0.05, 0.2, 0], [0, 0, 0.1]]])
    exposure = np.tile(np.where(YEARS < 40, 1.2, 0.9), (2, 1))
    of = problem(counts, shopper_ages, kernel, STEPS, exposure=exposure, prior=prior, dispersion=np.full(2, dispersion))
    fitted = fit(of, 0.3)
    for item in range(2):
        best = optimize.minimize(lambda z, item=item: -log_posterior(of, item, z, 0.3, width=2), np.zeros(3), tol=1e-7)
        sd = np.sqrt(np.diag(fitted.covariance[0, item]))
        assert np.abs(fitted.mode[0, item] - best.x).max() < 0.02 * sd.min()


def test_bins_of_two_years_hardly_move_smooth_curves(shopper_ages, normal_kernel):
    rng, kernel, basis = np.random.default_rng(2), normal_kernel(7, 1), smooth_basis(shopper_ages, 4, 0.3)
    of = problem([draw(rng, 500, shopper_ages, kernel, 0.4 * basis[:, 0])], shopper_ages, kernel, basis)
    fitted = fit(of, 0.4)
    best = optimize.minimize(lambda z: -log_posterior(of, 0, z, 0.4), np.zeros(4), tol=1e-6)
    sd = np.sqrt(np.diag(fitted.covariance[0, 0]))
    assert (np.abs(fitted.mode[0, 0] - best.x) < 0.05 * sd).all()


def test_gradient_and_information_are_derivatives_of_the_log_likelihood(shopper_ages, normal_kernel):
    rng, kernel, basis = np.random.default_rng(3), normal_kernel(6), smooth_basis(shopper_ages, 3, 0.3)
    z = np.array([[0.3, -0.2, 0.1]])
    of = problem([draw(rng, 200, shopper_ages, kernel, basis @ z[0])], shopper_ages, kernel, basis)
    binned = curves._Binned(of)

    def value(z):
        return binned.log_likelihood(binned.forward(z[None])[2])[0]

    numerical = optimize.approx_fprime(z[0], value, 1e-6)
    assert binned.gradient(*binned.forward(z))[0] == pytest.approx(numerical, rel=1e-4, abs=1e-4)
    binned.n = binned.total[:, None] * binned.forward(z)[2]  # the counts that are expected at z
    hessian = np.array([
        optimize.approx_fprime(z[0], lambda z, row=row: binned.gradient(*binned.forward(z[None]))[0, row], 1e-6)
        for row in range(3)
    ])  # fmt: skip
    assert binned.information(*binned.forward(z))[0] == pytest.approx(-hessian, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize(("n", "tau"), [(30, 0.5), (400, 0.5), (400, 0.05)])
def test_evidence_of_one_function_is_the_integral_over_it(shopper_ages, normal_kernel, n, tau):
    rng, kernel = np.random.default_rng(4), normal_kernel(7)
    of = problem([draw(rng, n, shopper_ages, kernel, 0.7 * STEPS[:, 0])], shopper_ages, kernel, STEPS[:, :1])
    at_0 = log_likelihood(of, 0, np.zeros(1), width=2)
    integral = integrate.quad(
        lambda z: math.exp(log_likelihood(of, 0, np.array([z]), width=2) - at_0) * stats.norm.pdf(z, 0, tau),
        -5 * tau, 5 * tau, epsrel=1e-3, limit=20,
    )[0]  # fmt: skip
    assert fit(of, tau).evidence[0, 0] == pytest.approx(at_0 + math.log(integral), abs=0.03)


def test_evidence_of_two_functions_is_the_integral_over_them(shopper_ages, normal_kernel):
    rng, kernel, tau = np.random.default_rng(5), normal_kernel(7), 0.4
    of = problem(
        [draw(rng, 150, shopper_ages, kernel, STEPS @ [0.6, 0, 0])], shopper_ages, kernel, STEPS[:, :2],
        prior=np.array([[[0.05, 0.03], [0.03, 0.05]]]),
    )  # fmt: skip
    nodes, weights = np.polynomial.hermite_e.hermegauss(10)
    root = np.linalg.cholesky(of.prior[0] + tau**2 * np.eye(2))
    at_0 = log_likelihood(of, 0, np.zeros(2), width=2)
    integral = sum(
        v * w * math.exp(log_likelihood(of, 0, root @ [x, y], width=2) - at_0)
        for x, v in zip(nodes, weights, strict=True)
        for y, w in zip(nodes, weights, strict=True)
    ) / (2 * math.pi)
    assert fit(of, tau).evidence[0, 0] == pytest.approx(at_0 + math.log(integral), abs=0.1)


def test_without_error_of_age_and_with_many_receipts_curves_are_the_observed_indices(shopper_ages):
    counts = np.round(1e6 * shopper_ages * np.exp(STEPS @ [0.8, -0.5, 0.2]))
    fitted = fit(problem([counts], shopper_ages, np.eye(101), STEPS[:, :2]), 10.0)
    ratio = (counts @ STEPS) / (shopper_ages @ STEPS)
    assert fitted.mode[0, 0] == pytest.approx(np.log(ratio[:2] / ratio[2]), abs=0.001)


def test_the_variance_of_a_difference_of_two_groups_is_that_of_a_log_odds(shopper_ages):
    young = STEPS[:, :1]
    counts = np.round(2000 * shopper_ages)
    n, p = counts.sum(), counts @ young[:, 0] / counts.sum()
    of = problem([counts], shopper_ages, np.eye(101), young, dispersion=np.array([3.0]))
    assert fit(of, 0.5).covariance[0, 0, 0, 0] == pytest.approx(1 / (n * p * (1 - p) / 3 + 1 / 0.25), rel=0.01)


def test_dispersion_2_is_half_of_the_receipts(shopper_ages, normal_kernel):
    rng, kernel = np.random.default_rng(6), normal_kernel(6)
    counts = np.array([draw(rng, 400, shopper_ages, kernel, STEPS @ [0.5, 0, 0])])
    double = curves.fit(problem(counts, shopper_ages, kernel, STEPS, dispersion=np.array([2.0])))
    half = curves.fit(problem(counts / 2, shopper_ages, kernel, STEPS))
    assert double.mode == pytest.approx(half.mode)
    assert double.evidence == pytest.approx(half.evidence)
    assert double.covariance == pytest.approx(half.covariance)


@pytest.mark.parametrize(("tau", "n"), [(0.25, 200), (0.6, 1500)])
def test_curves_drawn_from_the_prior_have_uniform_ranks_in_their_posteriors(shopper_ages, normal_kernel, tau, n):
    rng, kernel, basis = np.random.default_rng(7), normal_kernel(7), smooth_basis(shopper_ages, 5, 0.2, linear=True)
    z = rng.normal(0, tau, (500, 6))
    counts = [draw(rng, n, shopper_ages, kernel, basis @ row) for row in z]
    fitted = fit(problem(counts, shopper_ages, kernel, basis), tau)
    apart, covariance = z - fitted.mode[0], fitted.covariance[0]
    sd = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    for function in range(6):
        assert stats.kstest(apart[:, function] / sd[:, function], "norm").pvalue > 0.001
    distance = np.einsum("ic,icd,id->i", apart, np.linalg.inv(covariance), apart)
    assert stats.kstest(distance, "chi2", (6,)).pvalue > 0.001
    assert (distance < stats.chi2.ppf(0.95, 6)).mean() == pytest.approx(0.95, abs=0.025)


def test_the_scale_of_the_curves_is_recovered(shopper_ages, normal_kernel):
    rng, kernel, basis = np.random.default_rng(8), normal_kernel(7), smooth_basis(shopper_ages, 5, 0.2, linear=True)
    for tau, allowed in [(0.03, {0.015, 0.03, 0.06}), (0.25, {0.25}), (1.0, {1.0})]:
        z = rng.normal(0, tau, (80, 6))
        fitted = curves.fit(
            problem([draw(rng, 800, shopper_ages, kernel, basis @ row) for row in z], shopper_ages, kernel, basis)
        )
        assert curves.SCALES[fitted.weight.mean(axis=0).argmax()] in allowed


def test_weights_of_scales_maximise_their_posterior():
    rng = np.random.default_rng(9)
    evidence = rng.normal(0, 2, (30, 3))
    pseudo_counts = np.array([0.2, 1.0, 0.5])

    def loss(free):
        share = np.exp(np.append(free, 0)) / np.exp(np.append(free, 0)).sum()
        return -(np.log(np.exp(evidence) @ share).sum() + pseudo_counts @ np.log(share))

    best = optimize.minimize(loss, np.zeros(2), tol=1e-10).x
    posterior = np.exp(evidence) * np.exp(np.append(best, 0))
    posterior /= posterior.sum(axis=1, keepdims=True)
    assert curves.mixture(evidence, pseudo_counts) == pytest.approx(posterior, abs=1e-3)
    assert curves.mixture(evidence + 5000, pseudo_counts) == pytest.approx(curves.mixture(evidence, pseudo_counts))


def test_mean_and_covariance_are_those_of_the_mixture():
    rng = np.random.default_rng(10)
    weight = np.array([[0.3, 0.7]])
    mode, root = rng.normal(size=(2, 1, 2)), rng.normal(size=(2, 1, 2, 2))
    covariance = root @ root.swapaxes(-1, -2)
    fitted = curves.Curves(mode=mode, covariance=covariance, weight=weight, evidence=np.log(weight))
    draws = np.concatenate([
        rng.multivariate_normal(mode[t, 0], covariance[t, 0], round(200_000 * weight[0, t])) for t in range(2)
    ])  # fmt: skip
    assert fitted.mean()[0] == pytest.approx(draws.mean(axis=0), abs=0.03)
    assert fitted.total_covariance()[0] == pytest.approx(np.cov(draws.T), abs=0.08)
    assert fitted.best()[0].tolist() == mode[1].tolist()
    assert fitted.best()[1].tolist() == covariance[1].tolist()


def test_one_newton_step_to_another_kernel_is_close_to_a_new_fit(shopper_ages, normal_kernel):
    rng, kernel, basis = np.random.default_rng(11), normal_kernel(7), smooth_basis(shopper_ages, 5, 0.2, linear=True)
    z = rng.normal(0, 0.3, (20, 6))
    counts = [draw(rng, 1000, shopper_ages, kernel, basis @ row) for row in z]
    of = problem(counts, shopper_ages, kernel, basis)
    others = [problem(counts, shopper_ages, normal_kernel(sd, shift), basis) for sd, shift in [(7.5, 0), (7, 1)]]
    fitted = fit(of, 0.3)
    moved = curves.moved_modes(of, iter(others), fitted)
    assert moved.shape == (2, 20, 6)
    for other, modes in zip(others, moved, strict=True):
        again = fit(other, 0.3).mode[0]
        change = np.linalg.norm((again - fitted.mode[0]) @ basis.T)
        assert np.linalg.norm((modes - again) @ basis.T) < 0.2 * change
    assert curves.moved_modes(of, [of], fitted)[0] == pytest.approx(fitted.mode[0])
    assert curves.moved_modes(of, [], fitted).shape == (0, 20, 6)


def test_items_fitted_in_parts_have_the_same_curves(shopper_ages, normal_kernel, monkeypatch):
    rng, kernel = np.random.default_rng(12), normal_kernel(7)
    of = problem([draw(rng, 300, shopper_ages, kernel, STEPS @ rng.normal(0, 0.4, 3)) for _ in range(7)],
                 shopper_ages, kernel, STEPS)  # fmt: skip
    whole = curves.fit(of)
    monkeypatch.setattr(curves, "CHUNK", 3)
    parts = curves.fit(of)
    sd = np.sqrt(np.diagonal(whole.covariance, axis1=2, axis2=3))
    assert np.abs((parts.mode - whole.mode) / sd).max() < 0.02
    assert parts.weight == pytest.approx(whole.weight, abs=0.001)
    assert curves.moved_modes(of, [of], parts)[0] == pytest.approx(parts.best()[0])
