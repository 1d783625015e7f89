import datetime as dt

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from jobs.sample.assortment import BANDS, assortment, category_affinity
from jobs.sample.receipts import draw_receipts, plan_tills

DAY_ONE = dt.date(2026, 11, 9)


@pytest.fixture(scope="module")
def day():
    """One date of 30 stores, as data frames."""
    goods, rng = assortment(5), np.random.default_rng(5)
    blocks = [draw_receipts(rng, DAY_ONE, tills, goods) for tills in plan_tills(30, 40_000).blocks(15_000)]
    frames = {name: pa.concat_tables([block[name] for block in blocks]).to_pandas() for name in blocks[0]}
    return frames | {"products": goods.products.to_pandas()}


@pytest.mark.parametrize("item", ["category", "product_id"])
def test_counted_affinities_agree_with_the_known_ones(day, item):
    shoppers = day["ages"].drop_duplicates("receipt_id")
    bands = pd.cut(shoppers["true_age"], [0, 17, 29, 44, 59, 120], labels=[band.age_band for band in BANDS])
    shoppers = shoppers.assign(age_band=bands.astype(str))
    bought = day["receipt_lines"].merge(day["products"], on="product_id").merge(shoppers, on="receipt_id")
    bought = bought.drop_duplicates(["receipt_id", item])
    cells = bought.groupby([*dict.fromkeys([item, "category", "age_band"])]).size().rename("n").reset_index()
    n_band = cells["age_band"].map(shoppers["age_band"].value_counts())
    n_item = cells.groupby(item)["n"].transform("sum")
    cells["counted"] = 100 * (cells["n"] / n_band) / (n_item / len(shoppers))
    cells = cells.merge(category_affinity().to_pandas(), on=["age_band", "category"])
    sure = cells[(cells["n"] >= 30) & (cells["category"] != "Bread")]
    z = np.log(sure["counted"] / sure["affinity_index"]) * np.sqrt(sure["n"])
    assert len(sure) > 150
    assert z.abs().max() < 4.5
    assert (z.abs() > 2).mean() < 0.08


def test_a_receipt_has_about_ten_lines_numbered_from_one(day):
    numbers = day["receipt_lines"].groupby("receipt_id")["line_no"].agg(["min", "max", "size", "nunique"])
    assert set(numbers.index) == set(day["receipts"]["receipt_id"])
    assert (numbers["min"] == 1).all()
    assert (numbers["max"] == numbers["size"]).all()
    assert (numbers["nunique"] == numbers["size"]).all()
    assert 9.5 < numbers["size"].mean() < 11


def test_receipts_of_a_till_do_not_overlap(day):
    receipts = day["receipts"].sort_values(["store_id", "till_id", "opened_at"])
    tills = receipts.groupby(["store_id", "till_id"])
    gap_seconds = (receipts["opened_at"] - tills["closed_at"].shift()).dt.total_seconds().dropna()
    assert tills.ngroups == 30 * 9
    assert gap_seconds.min() > 0
    assert 0.9 < (gap_seconds > 10).mean() < 1


def test_receipts_take_40_to_300_seconds_on_the_business_date(day):
    receipts = day["receipts"]
    seconds = (receipts["closed_at"] - receipts["opened_at"]).dt.total_seconds()
    assert seconds.between(39.9, 300.1).all()
    assert set(receipts["opened_at"].dt.date) | set(receipts["closed_at"].dt.date) == {DAY_ONE}


def test_photos_are_taken_while_their_receipt_is_open(day):
    shown = day["ages"].dropna(subset="photo_id").merge(day["receipts"], on="receipt_id")
    photos = day["photo_events"].merge(shown, on="photo_id", validate="1:1", suffixes=("", "_receipt"))
    assert len(photos) == len(day["photo_events"])
    assert photos["captured_at"].between(photos["opened_at"], photos["closed_at"]).all()
    assert (photos["store_id"] == photos["store_id_receipt"]).all()
    assert (photos["till_id"] == photos["till_id_receipt"]).all()
    assert (photos["path"] == "photos/business_date=2026-11-09/" + photos["photo_id"] + ".jpg").all()


def test_most_receipts_have_a_photo_and_some_have_two(day):
    n_photos = day["ages"].groupby("receipt_id")["photo_id"].count()
    assert (n_photos > 0).mean() == pytest.approx(0.88, abs=0.01)
    assert (n_photos[n_photos > 0] == 2).mean() == pytest.approx(0.12, abs=0.01)
    assert n_photos.max() == 2


def test_id_checks_are_recorded_only_for_receipts_with_restricted_products(day):
    lines = day["receipt_lines"].merge(day["products"], on="product_id")
    restricted = lines[lines["min_age"] == 18]
    checked = day["receipts"].set_index("receipt_id")["id_checked"].dropna()
    assert set(checked.index) == set(restricted["receipt_id"])
    assert set(restricted["category"]) == {"Beer", "Wine", "Spirits", "Tobacco"}
    assert lines.loc[lines["is_alcohol"], "min_age"].eq(18).all()
    age = day["ages"].drop_duplicates("receipt_id").set_index("receipt_id")["true_age"]
    assert (age[checked.index] < 18).mean() < 0.002


def test_self_checkouts_have_no_cashier_and_a_cashier_works_at_one_till(day):
    receipts = day["receipts"]
    assert receipts.loc[receipts["till_type"] == "self", "cashier_id"].isna().all()
    staffed = receipts[receipts["till_type"] == "staffed"]
    assert staffed["cashier_id"].notna().all()
    assert staffed.drop_duplicates(["store_id", "till_id", "cashier_id"])["cashier_id"].is_unique
