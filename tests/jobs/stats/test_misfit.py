"""The misfit that no mix of true ages explains."""

import numpy as np
import pytest
from scipy import optimize, stats

from jobs.stats.misfit import FLOOR, best_mix, misfit, root_deviance
from model import kernel


@pytest.fixture(scope="module")
def errors():
    """The kernel of 1,500 pairs with an error of 7 years, and replicates of it."""
    rng = np.random.default_rng(0)
    ages = rng.integers(5, 90, 1500)
    pairs = ages, ages + rng.normal(0, 7, 1500)
    return kernel.fit(*pairs), kernel.replicates(*pairs, 40, seed=1, transfer=True)


def drawn(rng, shares, n, size):
    return rng.multinomial(n, shares, size=size).astype(float)


def test_the_mix_is_as_likely_as_that_of_another_optimiser(normal_kernel, shopper_ages):
    coarse = (1 - FLOOR) * normal_kernel(6)[::5] + FLOOR / 101
    (counts,) = drawn(np.random.default_rng(1), shopper_ages @ normal_kernel(6), 3000, 1)

    def loss(logs):
        weights = np.exp(logs - logs.max())
        return -(counts * np.log(weights / weights.sum() @ coarse)).sum()

    found = optimize.minimize(loss, np.zeros(len(coarse)), method="L-BFGS-B", options={"maxfun": 3000})
    (mix,) = best_mix(counts[None], coarse)
    assert mix.sum() == pytest.approx(1)
    # 60 steps end near the maximum: within one unit of the log likelihood of 3,000 photos.
    assert -(counts * np.log(mix @ coarse)).sum() == pytest.approx(found.fun, abs=1)


def test_the_deviance_is_the_sum_of_its_definition():
    counts, shares = np.array([[3.0, 0.0, 7.0]]), np.array([[0.2, 0.3, 0.5]])
    expected = np.sqrt(2 * (3 * np.log(3 / 2) + 7 * np.log(7 / 5)) / 10)
    assert root_deviance(counts, shares) == pytest.approx(expected)


@pytest.mark.parametrize(("n", "size"), [(80, 40), (800, 40), (20_000, 20)])
def test_any_mix_of_ages_is_within_the_limit(errors, shopper_ages, n, size):
    rng = np.random.default_rng(2)
    shares = rng.dirichlet(np.full(101, 0.3), size=size) * shopper_ages
    shares /= shares.sum(axis=1, keepdims=True)
    edges = np.arange(100) + 0.5  # estimates below 0 and above 100 count as 0 and 100
    truth = np.diff(stats.norm.cdf((edges - np.arange(101)[:, None]) / 7), prepend=0, append=1)
    counts = np.concatenate([drawn(rng, row @ truth, n, 1) for row in shares])
    found = misfit(counts, *errors)
    assert (found.z <= found.limit).all()
    assert abs(found.z.mean()) < 1


def test_an_older_or_younger_clientele_is_a_mix(errors, shopper_ages):
    rng = np.random.default_rng(3)
    counts = np.concatenate([drawn(rng, np.roll(shopper_ages, years) @ errors[0], 800, 3) for years in (-12, 12)])
    found = misfit(counts, *errors)
    assert (found.z <= found.limit).all()


@pytest.mark.parametrize(("n", "years"), [(80, 1.5), (800, 2.5)])
def test_photos_that_all_look_the_same_age_are_no_mix(errors, n, years):
    rng = np.random.default_rng(4)
    counts = np.bincount(np.rint(rng.normal(34, years, n)).astype(int), minlength=101)[None].astype(float)
    found = misfit(counts, *errors)
    assert found.z[0] > found.limit
    assert 0 < found.share[0] < 1


def test_a_dark_store_is_found_among_others(errors, shopper_ages):
    rng = np.random.default_rng(5)
    counts = drawn(rng, shopper_ages @ errors[0], 70, 12)
    counts[4] = np.bincount(np.rint(rng.normal(28, 2, 70)).astype(int), minlength=101)
    found = misfit(counts, *errors)
    assert np.flatnonzero(found.z > found.limit).tolist() == [4]


def test_the_same_counts_have_the_same_misfit(errors, shopper_ages):
    counts = drawn(np.random.default_rng(6), shopper_ages @ errors[0], 300, 2)
    assert misfit(counts, *errors).z.tolist() == misfit(counts, *errors).z.tolist()
