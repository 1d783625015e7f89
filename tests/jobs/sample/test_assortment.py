import numpy as np
import pytest

from jobs.sample.assortment import (
    AGE_SHARE,
    AGE_YEARS,
    BANDS,
    CATEGORIES,
    assortment,
    category_affinity,
    category_probability,
)


def test_the_true_indices_of_a_category_average_to_100_over_the_shoppers():
    truth = category_affinity().to_pandas().pivot_table(index="category", columns="age_band", values="affinity_index")
    share = {
        band.age_band: AGE_SHARE[(band.from_years <= AGE_YEARS) & (band.to_years >= AGE_YEARS)].sum() for band in BANDS
    }
    assert truth.index.size == len(CATEGORIES)
    np.testing.assert_allclose(sum(truth[band] * share[band] for band in share), 100, atol=1e-3)


def test_bread_has_index_100_and_minors_buy_little_alcohol():
    truth = category_affinity().to_pandas().set_index(["age_band", "category"])["affinity_index"]
    assert (truth.xs("Bread", level="category") == 100).all()
    assert (truth["under_18"][["Beer", "Wine", "Spirits", "Tobacco"]] < 5).all()


def test_the_probability_of_a_category_follows_the_formula():
    names = [category.name for category in CATEGORIES]
    probability = category_probability(np.array([17, 20, 45]))
    assert probability.shape == (3, len(CATEGORIES))
    # Fish: 0.13 at 45 and a tilt of 0.18 per decade, no bump
    assert probability[1, names.index("Fish")] == pytest.approx(0.13 * np.exp(-0.45))
    assert probability[2, names.index("Fish")] == pytest.approx(0.13)
    # Energy Drinks: 0.04 at 45, a tilt of -0.10 per decade and a bump of 1.6 whose peak is at 20
    assert probability[1, names.index("Energy Drinks")] == pytest.approx(0.04 * np.exp(0.25 + 1.6))
    # Wine: 0.12 at 45 and a tilt of 0.14 per decade; 2 % of that below 18
    assert probability[0, names.index("Wine")] == pytest.approx(0.02 * 0.12 * np.exp(-0.392))
    assert ((probability > 0) & (probability <= 1)).all()


def test_every_uniform_number_picks_a_product_of_the_category():
    goods = assortment(1)
    categories = goods.products["category"].to_pylist()
    for number, category in enumerate(CATEGORIES):
        picked = goods.pick(np.full(4, number), np.array([0.0, 0.5, 0.999, np.nextafter(1, 0)]))
        assert {categories[product] for product in picked} == {category.name}


def test_there_are_300_to_600_products_with_unique_ids_and_positive_prices():
    goods = assortment(1)
    assert 300 <= goods.products.num_rows <= 600
    assert len(set(goods.products["product_id"].to_pylist())) == goods.products.num_rows == goods.price.size
    assert (goods.price > 0).all()
