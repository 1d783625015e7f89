"""Small warehouses of counts, published without Spark."""

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest

from jobs import build_affinity
from jobs.build_affinity import Settings
from jobs.tables.bands import age_bands
from jobs.tables.duck import connect
from jobs.tables.schemas import WAREHOUSE
from jobs.tables.warehouse import Warehouse
from jobs.tables.windows import LEVELS, Versions, read_counts, window_dates
from model.cli import InputError

DATES = [dt.date(2026, 11, day) for day in (8, 9)]
BANDS = age_bands(("under_18", "18-29", "30-44", "45-59", "60_plus"))


@pytest.fixture(autouse=True, scope="module")
def _few_replicates():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build_affinity, "N_REPLICATES", 2)
        yield


def settings(warehouse, date=DATES[-1], **flags) -> Settings:
    return Settings(business_date=date, warehouse=str(warehouse), **flags)


def query(warehouse, *lines) -> list[tuple]:
    with connect(str(warehouse), restricted=True) as connection:
        return connection.execute(" ".join(lines)).fetchall()


def report(warehouse) -> dict[str, float | str]:
    rows = query(
        warehouse,
        "SELECT measure, COALESCE(text, CAST(value AS VARCHAR)) FROM analytics.run_quality",
        "WHERE job = 'build_affinity'",
    )
    return dict(rows)


@pytest.fixture(scope="module")
def published(counted_warehouse):
    """Two dates of 3,000 receipts; products of even numbers are bought by the young, c0 has a legal age of 18."""
    warehouse = counted_warehouse(DATES, 3000, n_products=24, n_stores=4)
    build_affinity.main(settings(warehouse))
    return warehouse


def test_every_item_has_a_cell_in_every_band_and_window(published):
    cells = query(
        published,
        "SELECT window_days, COUNT(*), COUNT(DISTINCT product_id), ANY_VALUE(n_days)"
        " FROM analytics.age_product_affinity GROUP BY window_days ORDER BY window_days",
    )
    assert cells == [(1, 5 * 24, 24, 1), (7, 5 * 24, 24, 2), (28, 5 * 24, 24, 2)]
    levels = query(published, "SELECT level, COUNT(DISTINCT item) FROM analytics.age_category_affinity GROUP BY level")
    assert sorted(levels) == [("category", 4), ("department", 2)]


def test_a_product_of_the_young_is_notable_and_its_index_is_inside_its_interval(published):
    rows = query(
        published,
        "SELECT age_band, affinity_index, index_low, index_high, q_value, is_notable"
        " FROM analytics.age_product_affinity WHERE product_id = 'p2' AND window_days = 7",
        "AND age_band IN ('18-29', '60_plus') ORDER BY age_band",
    )
    (young, *young_interval, young_q, young_notable), (old, *old_interval, _, old_notable) = (row[1:] for row in rows)
    assert young > 110
    assert old < 90
    assert young_interval[0] <= young <= young_interval[1]
    assert old_interval[0] <= old <= old_interval[1]
    assert young_q <= 0.05
    assert (young_notable, old_notable) == (True, True)


def test_offers_are_notable_products_of_adults_with_a_reason(published):
    offers = query(published, "SELECT age_band, product_id, affinity_index, reason FROM analytics.age_offers")
    assert offers
    assert {band for band, *_ in offers} <= {"18-29", "30-44", "45-59", "60_plus"}
    assert all(index > 100 and reason.startswith("Bought 1.") for _, _, index, reason in offers)
    categories = {product: f"c{int(product[1:]) % 4}" for _, product, *_ in offers}
    assert "c0" not in categories.values()  # its legal age is 18


def test_products_with_a_legal_age_are_offered_to_adults_from_30_if_the_setting_allows_it(published):
    bands = ("under_18", "18-29", "30-39", "40_plus")
    build_affinity.main(settings(published, age_bands=bands, offer_age_restricted=True))
    try:
        offers = query(published, "SELECT age_band, product_id FROM analytics.age_offers")
        assert {band for band, product in offers if int(product[1:]) % 4 == 0} == {"30-39"}
    finally:
        build_affinity.main(settings(published))


def test_the_report_has_the_shoppers_and_what_survives_the_error_of_the_ages(published):
    measures = report(published)
    shares = [float(measures[f"share_of_shoppers {band.age_band}"]) for band in BANDS]
    assert sum(shares) == pytest.approx(1, abs=0.03)
    assert shares[-1] == pytest.approx(25 / 70, abs=0.05)
    assert 0.3 < float(measures["reliability 18-29"]) < 1
    assert int(float(measures["items_tested_28_days"])) == 24 + 4 + 2
    assert 1 <= float(measures["overdispersion_7_days"]) < 3
    assert float(measures["notable_cells_7_days"]) > 10


def test_new_bands_need_no_recount_and_a_band_narrower_than_the_error_gives_a_warning(published):
    build_affinity.main(settings(published, age_bands=("under_30", "30-31", "32_plus")))
    try:
        bands = query(published, "SELECT DISTINCT age_band FROM analytics.age_product_affinity ORDER BY age_band")
        assert bands == [("30-31",), ("32_plus",), ("under_30",)]
        measures = report(published)
        assert "narrower than the error of the ages allows" in measures["warning 30-31"]
        assert f"{float(measures['kept_in_band 30-31']):.0%}" in measures["warning 30-31"]
        assert "warning 32_plus" not in measures
    finally:
        build_affinity.main(settings(published))


def test_without_age_errors_the_naive_indices_are_published_with_intervals_and_the_reason(counted_warehouse):
    warehouse = counted_warehouse(DATES[-1:], 1000, versions=("model1", None))
    build_affinity.main(settings(warehouse))
    rows = query(
        warehouse,
        "SELECT DISTINCT affinity_index, q_value, is_notable, reason,"
        " ROUND(naive_index) BETWEEN index_low AND index_high FROM analytics.age_category_affinity",
        "WHERE n_receipts_with_item IS NOT NULL",
    )
    assert rows == [(None, None, False, "no_age_errors", True)]
    assert query(warehouse, "SELECT COUNT(*) FROM analytics.age_offers") == [(0,)]


def test_a_window_of_few_receipts_is_not_corrected(counted_warehouse):
    few = build_affinity.MIN_RECEIPTS_TO_CORRECT - 1
    warehouse = counted_warehouse(DATES[-1:], few)
    build_affinity.main(settings(warehouse))
    reasons = query(warehouse, "SELECT DISTINCT reason FROM analytics.age_product_affinity ORDER BY reason")
    assert reasons == [("fewer_than_10_receipts",), ("too_few_receipts_to_correct",)]
    warehouse = counted_warehouse(DATES[-1:], few + 1)
    build_affinity.main(settings(warehouse))
    assert query(warehouse, "SELECT COUNT(affinity_index) > 0 FROM analytics.age_category_affinity") == [(True,)]


@pytest.mark.parametrize(
    ("chain", "is_measured"), [({"n_stores": 1}, False), ({"n_stores": 2}, True), ({"n_products": 1}, False)]
)
def test_a_chain_with_one_store_or_one_item_is_published_without_a_measured_dispersion(
    counted_warehouse, chain, is_measured
):
    warehouse = counted_warehouse(DATES[-1:], 600, **chain)
    build_affinity.main(settings(warehouse))
    assert query(warehouse, "SELECT MIN(affinity_index) > 0 FROM analytics.age_product_affinity") == [(True,)]
    dispersion = query(warehouse, "SELECT value FROM analytics.run_quality WHERE measure = 'overdispersion_1_days'")
    assert (dispersion != [(None,)]) == is_measured


def test_an_item_on_every_receipt_has_the_index_100(counted_warehouse):
    warehouse = counted_warehouse(DATES[-1:], 600, n_products=1)
    build_affinity.main(settings(warehouse))
    rows = query(
        warehouse,
        "SELECT DISTINCT affinity_index, is_notable FROM analytics.age_product_affinity"
        " WHERE n_receipts_with_item IS NOT NULL",
    )
    assert rows == [(100, False)]


def test_a_date_without_receipts_is_published_empty(tmp_path):
    tables = Warehouse(str(tmp_path))
    tables.create_tables()
    lines = [{"source_table": "", "measure": "counts_hash", "text": "empty"}]
    schema = WAREHOUSE["analytics/run_quality"].row_schema
    tables.replace("analytics/run_quality", pa.Table.from_pylist(lines, schema), DATES[-1], job="count_purchases")
    build_affinity.main(settings(tmp_path))
    assert query(tmp_path, "SELECT COUNT(*) FROM analytics.age_product_affinity") == [(0,)]
    assert "windows_hash" in report(tmp_path)


def test_a_date_that_was_not_counted_is_an_error(published):
    with pytest.raises(InputError, match="count_purchases has not finished 2026-11-10"):
        build_affinity.main(settings(published, dt.date(2026, 11, 10)))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"min_receipts": 9}, "min_receipts is 9; it must be at least 10"),
        ({"age_bands": ("under_18",)}, "it ends at 17"),
        ({"offers_per_band": 0}, "offers_per_band is 0; it must be at least 1"),
        ({"offers_per_category": -1}, "offers_per_category is -1; it must be at least 1"),
        ({"offer_min_penetration": 1.5}, "offer_min_penetration is 1.5; it must be a share"),
    ],
)
def test_a_wrong_setting_is_an_error(tmp_path, flags, message):
    with pytest.raises(InputError, match=message):
        settings(tmp_path, **flags)


def test_counts_of_a_window_are_arrays_that_agree_with_each_other(published):
    with connect(str(published), restricted=True) as connection:
        connection.register("products", build_affinity.read(connection, "products", dates=DATES))
        counts = read_counts(connection, DATES)
    assert counts.by_store.sum() == 6000
    for name in LEVELS:
        level = counts.levels[name]
        np.testing.assert_array_equal(level.by_year.sum(axis=1), level.by_store.sum(axis=1))
        np.testing.assert_allclose(level.by_year @ np.arange(101), level.age_sums.sum(axis=1))
    product = counts.levels["product"]
    parents = [counts.levels["category"].items[parent] for parent in product.parent]
    assert parents == [f"c{int(item[1:]) % 4}" for item in product.items]
    assert set(product.min_age[np.array(parents) == "c0"]) == {18}
    assert counts.levels["department"].min_age.tolist() == [0, 0]


def test_a_window_contains_only_dates_with_the_model_and_kernel_of_its_last_date():
    versions = {
        dt.date(2026, 10, 1): Versions("too_old", "m", "k", None, None),
        dt.date(2026, 11, 4): Versions("a", "other", "k", None, None),
        dt.date(2026, 11, 5): Versions("b", "m", "other", None, None),
        dt.date(2026, 11, 6): Versions(None, "m", "k", None, None),
        dt.date(2026, 11, 7): Versions("c", "m", "k", None, None),
        dt.date(2026, 11, 8): Versions("d", "m", "k", None, None),
        dt.date(2026, 11, 9): Versions("later", "m", "k", None, None),
    }
    window = window_dates(versions, dt.date(2026, 11, 8))
    assert window.used == [dt.date(2026, 11, 7), dt.date(2026, 11, 8)]
    assert window.left_out == [dt.date(2026, 11, 4), dt.date(2026, 11, 5)]
    assert window.within(dt.date(2026, 11, 8), 1) == [dt.date(2026, 11, 8)]
