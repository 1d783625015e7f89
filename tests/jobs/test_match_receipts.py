import datetime as dt

import pytest
from pyspark.sql import functions as F

from jobs.match_receipts import combine_photos, match_photos, screen_receipts

NINE = dt.datetime(2026, 11, 9, 9, tzinfo=dt.UTC)


def at(seconds: float) -> dt.datetime:
    return NINE + dt.timedelta(seconds=seconds)


def receipt(receipt_id: str, opened: float, closed: float, **columns) -> dict:
    return {"receipt_id": receipt_id, "opened_at": at(opened), "closed_at": at(closed), **columns}


def photo(photo_id: str, captured: float, **columns) -> dict:
    return {"photo_id": photo_id, "captured_at": at(captured), **columns}


@pytest.fixture
def matches(rows):
    def match(photos: list[dict], receipts: list[dict], grace_seconds: float = 5) -> dict[str, str]:
        pairs = match_photos(
            rows("restricted/photo_ages", *photos), rows("receipts", *receipts), grace_seconds
        ).collect()
        assert len({pair.photo_id for pair in pairs}) == len(pairs)
        return {pair.photo_id: pair.receipt_id for pair in pairs}

    return match


def test_a_photo_matches_a_receipt_within_the_grace_period(matches):
    photos = [photo("early", -5.001), photo("first", -5), photo("in", 30), photo("last", 65), photo("late", 65.001)]
    assert matches(photos, [receipt("r", 0, 60)]) == {"first": "r", "in": "r", "last": "r"}


def test_a_photo_of_another_till_or_store_does_not_match(matches):
    photos = [photo("till", 30, till_id="t2"), photo("store", 30, store_id="s2")]
    assert matches(photos, [receipt("r", 0, 60)]) == {}


def test_a_photo_belongs_to_the_nearest_receipt(matches):
    receipts = [receipt("a", 0, 60), receipt("b", 62, 120), receipt("d", 200, 260), receipt("c", 200, 260)]
    photos = [photo("inside_a", 59), photo("gap_a", 60.5), photo("gap_b", 61.5), photo("tie", 230)]
    assert matches(photos, receipts) == {"inside_a": "a", "gap_a": "a", "gap_b": "b", "tie": "c"}
    overlapping = [receipt("long", 0, 500), receipt("short", 20, 40)]
    assert matches([photo("p", 30)], overlapping) == {"p": "short"}


def test_receipts_across_slots_and_midnight_match_each_photo_once(matches):
    overnight = receipt("r", 14 * 3600 + 50 * 60, 15 * 3600 + 10 * 60)
    photos = [photo("before", 15 * 3600 - 1), photo("midnight", 15 * 3600), photo("after", 15 * 3600 + 1)]
    assert matches(photos, [overnight]) == {"before": "r", "midnight": "r", "after": "r"}
    assert matches([photo("grace", 598)], [receipt("r", 601, 660)]) == {"grace": "r"}


def test_no_photos_or_no_receipts_give_no_matches(matches):
    assert matches([], [receipt("r", 0, 60)]) == {}
    assert matches([photo("p", 30)], []) == {}


def test_several_photos_are_combined_by_the_median(rows):
    ages = [
        {"photo_id": f"p{i}", "age_years": age, "p_under_18": p}
        for i, (age, p) in enumerate([(20.0, 0.5), (28.0, 0.1), (60.0, 0.0)])
    ]
    receipts = rows("receipts", {"receipt_id": "r1", "till_id": "t7"}, {"receipt_id": "without_photo"})
    matched = rows("restricted/photo_ages", *ages).withColumn("receipt_id", F.lit("r1"))
    (row,) = combine_photos(matched, receipts).collect()
    assert (row.receipt_id, row.till_id, row.age_years) == ("r1", "t7", 28.0)
    assert (row.n_photos, row.photo_ids, row.p_under_18, row.p_under_25) == (3, ["p0", "p1", "p2"], 0.1, None)


def test_an_unusable_receipt_is_rejected_with_a_reason(rows):
    cases = [
        ({}, None),
        ({"closed_at": NINE}, None),
        ({"closed_at": at(-1)}, "closes_before_it_opens"),
        ({"closed_at": at(86_401)}, "open_over_a_day"),
        ({"opened_at": dt.datetime(1970, 1, 1, tzinfo=dt.UTC)}, "time_off_date"),
        ({"closed_at": None}, "missing_value"),
        ({"store_id": None}, "missing_value"),
        ({"cashier_id": None, "id_checked": None}, None),
    ]
    receipts = [{"receipt_id": f"r{number}", **columns} for number, (columns, _) in enumerate(cases)]
    screened = screen_receipts(rows("receipts", *receipts), NINE.date()).collect()
    assert {row.receipt_id: row.reason for row in screened} == {
        f"r{number}": reason for number, (_, reason) in enumerate(cases)
    }


def test_an_extreme_time_is_rejected_without_an_error(rows):
    extreme_times = {
        "opened_at": F.timestamp_micros(F.lit(-(2**63))),
        "closed_at": F.timestamp_micros(F.lit(2**63 - 1)),
    }
    screened = screen_receipts(rows("receipts", {}).withColumns(extreme_times), NINE.date())
    assert [row.reason for row in screened.select("reason").collect()] == ["time_off_date"]
