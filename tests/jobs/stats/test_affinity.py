"""Indices of bands against simulated truth, closed forms and slower computations."""

import numpy as np
import pytest
from scipy import stats

from jobs.stats import curves, discovery, shoppers
from jobs.stats.affinity import Z_80, Z_95, AffinityModel, Estimates
from jobs.stats.ages import YEARS


def waves(rng, n, amplitude, years):
    """Return n effects of age with random phases; a wave has 2 pi `years`."""
    return [rng.normal(0, amplitude) * np.cos(YEARS / years + rng.uniform(0, 6)) for _ in range(n)]


def test_an_item_at_a_constant_share_of_receipts_has_index_100(make_chain):
    chain = make_chain(1)
    assert np.abs(chain.estimate(chain.level([chain.counts * 0.1]))[0].log_index).max() < 0.01


def test_without_error_of_age_the_index_of_many_receipts_is_the_observed_one(make_chain):
    chain = make_chain(2, kernel=np.eye(101), n=40_000)
    bought = chain.items(10_000, [0.5 * np.cos(YEARS / 15)])
    assert chain.estimate(bought)[0].log_index[0] == pytest.approx(chain.naive_log_index(bought.counts[0]), abs=0.03)


def test_posterior_mean_deviation_and_sign_error_are_those_of_simulated_curves(make_chain):
    chain = make_chain(3)
    bought = chain.items(300, [0.3 * np.cos(YEARS / 15)])
    model = AffinityModel(chain.window())
    result = model.estimate([bought], chain.bands)[0]
    problem = model._problem(bought, np.array([0]), None, 0)
    fitted = curves.fit(problem)
    tau = chain.rng.choice(len(curves.SCALES), size=20_000, p=fitted.weight[0])
    z = np.concatenate([
        chain.rng.multivariate_normal(fitted.mode[t, 0], fitted.covariance[t, 0], (tau == t).sum())
        for t in range(len(curves.SCALES))
    ])  # fmt: skip
    intensity = model.shoppers * np.exp(z @ problem.basis.T)
    simulated = np.log(intensity @ chain.bands.T / intensity.sum(axis=1, keepdims=True))
    simulated -= np.log(chain.bands @ model.shoppers)
    sd = simulated.std(axis=0)
    assert (np.abs(result.log_index[0] - simulated.mean(axis=0)) < 0.15 * sd).all()
    assert result.sd[0] == pytest.approx(sd, rel=0.1)
    sign_error = np.minimum((simulated < 0).mean(axis=0), (simulated > 0).mean(axis=0))
    assert result.sign_error[0] == pytest.approx(sign_error, abs=0.03)


def test_intervals_cover_the_truth_as_often_as_they_say(make_chain):
    chain = make_chain(4, n=40_000)
    effects = waves(chain.rng, 150, 0.3, 20)
    result = chain.estimate(chain.items(400, effects))[0]
    truth = 100 * np.exp([chain.true_log_index(effect) for effect in effects])
    for z, share, tolerance in [(Z_80, 0.8, 0.08), (Z_95, 0.95, 0.04)]:
        low, high = result.interval(z)
        assert ((low <= truth) & (truth <= high)).mean() == pytest.approx(share, abs=tolerance)


@pytest.mark.parametrize("seed", [5, 6])
def test_the_error_is_smaller_than_that_of_hard_bands(make_chain, seed):
    chain = make_chain(seed)
    effects = waves(chain.rng, 60, 0.4, 9)
    bought = chain.items(2000, effects)
    truth = np.array([chain.true_log_index(effect) for effect in effects])
    naive = np.array([chain.naive_log_index(counts) for counts in bought.counts])
    corrected = chain.estimate(bought)[0].log_index
    assert ((corrected - truth) ** 2).mean() < 0.75 * ((naive - truth) ** 2).mean()


def test_z_values_are_those_of_the_normal_distribution():
    assert (round(Z_80, 4), round(Z_95, 4)) == (1.2816, 1.96)


def test_variance_between_kernels_is_that_of_new_fits_and_products_inherit_it(make_chain, normal_kernel):
    chain = make_chain(7)
    categories = chain.items(3000, [0.6 * np.cos(YEARS / 15), -0.6 * np.cos(YEARS / 15), 0.4 * np.cos(YEARS / 9)])
    product = chain.level([chain.item(3)])
    replicates = [normal_kernel(7, 2), normal_kernel(7, -2), normal_kernel(8), normal_kernel(6)]
    without = chain.estimate(categories, product)
    with_kernels = chain.estimate(categories, product, replicates=replicates)
    assert with_kernels[0].log_index == pytest.approx(without[0].log_index)
    changes = []
    for kernel in replicates:
        chain.kernel = kernel
        changes.append(chain.estimate(categories)[0].log_index - without[0].log_index)
    expected = np.sqrt(np.mean(np.square(changes), axis=0))
    of_categories, of_product = (
        np.sqrt(more.sd**2 - less.sd**2) for more, less in zip(with_kernels, without, strict=True)
    )
    assert expected.max() > without[0].sd.mean()
    assert of_categories.mean() == pytest.approx(expected.mean(), rel=0.15)
    assert np.corrcoef(of_categories.ravel(), expected.ravel())[0, 1] > 0.95
    assert of_product[0].mean() == pytest.approx(of_categories[0].mean(), rel=0.2)


def test_replicates_equal_to_the_kernel_add_no_variance(make_chain):
    chain = make_chain(8)
    bought = chain.items(300, [0.4 * np.cos(YEARS / 9)])
    products = chain.level([chain.item(20)])
    for one, same in zip(
        chain.estimate(bought, products),
        chain.estimate(bought, products, replicates=[chain.kernel, chain.kernel]),
        strict=True,
    ):
        assert same.sd == pytest.approx(one.sd, rel=1e-6)


def test_larger_dispersion_widens_intervals(make_chain):
    chain = make_chain(9)
    bought = chain.items(500, [0.5 * np.cos(YEARS / 15)])
    assert (chain.estimate(bought, dispersion=3.0)[0].sd > chain.estimate(bought)[0].sd).all()


def test_variance_grows_with_dispersion_and_with_receipts_and_falls_with_penetration(make_chain):
    chain = make_chain(9)
    bought = chain.level([chain.counts * 0.25, chain.counts])
    problem = AffinityModel(chain.window(), 3.0)._problem(bought, np.arange(2), None, 0)
    assert problem.dispersion == pytest.approx([3 * 0.75 * (1 + 5000 / 50_000), 3 * 0.02 * (1 + 20_000 / 50_000)])


@pytest.fixture
def chain_with_young_store(make_chain, shopper_ages):
    """A chain whose store 0 has younger shoppers than the others."""
    ages = np.tile(shopper_ages, (5, 1))
    ages[0] *= np.exp(-(YEARS - 40) / 10)
    return make_chain(1, ages=ages / ages.sum(axis=1, keepdims=True), n=50_000)


def test_items_of_the_store_of_the_young_are_not_items_of_the_young(chain_with_young_store):
    chain = chain_with_young_store
    bought = chain.level([chain.item(1000, stores=[0]) for _ in range(20)])
    corrected = chain.estimate(bought)[0]
    naive = np.array([chain.naive_log_index(counts) for counts in bought.counts])
    assert np.abs(naive).mean() > 0.5
    assert np.abs(corrected.log_index).mean() < 0.05
    assert (np.abs(corrected.log_index) < Z_95 * corrected.sd).mean() > 0.9


def test_a_true_preference_in_the_store_of_the_young_is_estimated_from_the_ages_of_its_shoppers(
    chain_with_young_store,
):
    chain = chain_with_young_store
    effects = [0.6 * np.cos(YEARS / 9 + phase) for phase in range(6)]
    bought = chain.level([chain.item(4000, effect, stores=[0]) for effect in effects])
    truth = np.array([chain.true_log_index(effect) for effect in effects])
    # The store has hardly any shoppers of 60 and over.
    assert np.abs(chain.estimate(bought)[0].log_index - truth)[:, :4].mean() < 0.09


def test_a_product_with_few_receipts_is_like_its_category(make_chain):
    chain, effect = make_chain(11), 0.6 * np.cos(YEARS / 15)
    categories = chain.items(4000, [effect, -effect])
    sizes = [400] * 20 + [3]
    like_0 = chain.level([chain.item(n, effect) for n in sizes], parent=[0] * len(sizes))
    category, product = chain.estimate(categories, like_0)
    assert np.abs(category.log_index).max() > 0.3
    assert product.log_index[-1] == pytest.approx(category.log_index[0], abs=0.06)
    assert (product.sd[-1] > 0.95 * category.sd[0]).all()
    other = chain.estimate(categories, chain.level([chain.item(3)], parent=[1]))[1]
    assert np.corrcoef(other.log_index[0], category.log_index[1])[0, 1] > 0.9


def test_a_product_is_at_least_as_uncertain_as_its_category(make_chain):
    chain = make_chain(14)
    category, product = chain.estimate(chain.items(200, [0.5 * np.cos(YEARS / 15)]), chain.level([chain.item(2)]))
    assert (category.sd > 0.08).all()
    assert (product.sd > 0.95 * category.sd).all()


def test_products_of_another_legal_age_take_the_uncertainty_of_the_category_but_not_of_its_step(make_chain):
    chain = make_chain(15)
    model = AffinityModel(chain.window())
    _, above = model._level(chain.level([chain.item(200)], min_age=[18]), None, chain.bands)
    for min_age, of_step in [(18, above.covariance[0, -1]), (16, np.zeros(11))]:
        product = chain.level([chain.item(10)], min_age=[min_age])
        prior = model._problem(product, np.array([0]), above, 0).prior[0]
        assert prior[:-1, :-1] == pytest.approx(above.covariance[0, :-1, :-1])
        assert prior[-1] == pytest.approx(of_step)
        assert prior[:, -1] == pytest.approx(of_step)


@pytest.mark.parametrize("seed", [12, 13])
def test_permuted_ages_leave_hardly_anything_notable(make_chain, seed):
    chain = make_chain(seed)
    stores = chain.counts.astype(int)
    bought = chain.level([
        np.stack([chain.rng.multivariate_hypergeometric(store, chain.rng.integers(5, 60)) for store in stores])
        for _ in range(200)
    ])  # fmt: skip
    result = chain.estimate(bought, replicates=[chain.kernel])[0]
    p = discovery.flatness_test(
        bought.counts,
        shoppers.expected_counts(bought.by_store, chain.counts),
        np.ones(200),
        discovery.contrasts(chain.counts.sum(axis=0)),
    )
    assert stats.kstest(p, "uniform").pvalue > 0.01
    q = np.maximum(discovery.q_values(p, np.ones(200, dtype=bool))[:, None], result.sign_error)
    low, high = result.interval(Z_95)
    assert ((q <= discovery.MAX_Q) & ((low > 100) | (high < 100))).sum() <= 1


def test_an_index_of_any_size_fits_its_column():
    """A model whose errors are noise gave 2.6e9, more than the column can hold."""
    extreme = Estimates(log_index=np.array([[17.1, -40.0]]), sd=np.ones((1, 2)), sign_error=np.zeros((1, 2)))
    assert extreme.index().max() < 2**31
    assert (extreme.index() == extreme.interval(0)[0]).all()
