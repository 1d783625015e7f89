import datetime as dt

import pytest

from jobs.build_affinity import age_affinity, check_bands, screen_lines, screen_products
from model.cli import InputError

DATE = dt.date(2026, 11, 9)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ({}, None),
        ({"quantity": -1.0, "amount": -2.0}, None),
        ({"receipt_id": "nobody"}, "receipt_unknown"),
        ({"receipt_id": "rejected"}, "receipt_quarantined"),
        ({"product_id": "000000"}, "product_unknown"),
        ({"line_no": None}, "missing_value"),
        ({"amount": None}, "missing_value"),
        ({"quantity": float("nan")}, "impossible_figure"),
        ({"amount": float("-inf")}, "impossible_figure"),
        ({"amount": 1e10}, "impossible_figure"),
    ],
)
def test_a_line_that_cannot_be_used_has_a_reason(rows, line, reason):
    receipts = rows("receipts", {}, {}, {"receipt_id": "rejected"})
    rejected = rows("restricted/quarantine", {"key": "rejected"}, {"key": "rejected"})
    screened = screen_lines(rows("receipt_lines", line), rows("products", {}), receipts, rejected).collect()
    assert [(row.reason, row.n_copies) for row in screened] == [(reason, 1)]


@pytest.mark.parametrize(
    ("product", "reason"),
    [
        ({}, None),
        ({"min_age": None}, None),
        ({"min_age": 121}, "impossible_min_age"),
        ({"category": None}, "missing_value"),
    ],
)
def test_a_product_that_cannot_be_used_has_a_reason(rows, product, reason):
    assert [row.reason for row in screen_products(rows("products", product)).collect()] == [reason]


def test_other_bands_than_match_receipts_was_told_are_refused(rows):
    ages = rows("restricted/receipt_ages", {"age_band": "30-44"})
    check_bands(ages, ("under_18", "30-44"))
    with pytest.raises(InputError, match=r"age_bands is under_18 18_plus, but match_receipts wrote 30-44"):
        check_bands(ages, ("under_18", "18_plus"))


def test_a_date_that_was_counted_by_other_bands_is_in_no_window(spark, rows):
    today = {"business_date": DATE, "n_receipts": 20}
    yesterday = {"business_date": DATE - dt.timedelta(days=1), "n_receipts": 30}
    counts = rows(
        "restricted/daily_counts",
        {**today, "level": "all", "item": ""},
        today,
        {**yesterday, "level": "all", "item": ""},
        {**yesterday, "age_band": "30-39"},
        yesterday,
    )
    cells = age_affinity(spark, counts, DATE, ("30-44",), 10).collect()
    assert {(cell.window_days, cell.n_days, cell.n_receipts) for cell in cells} == {(1, 1, 20), (7, 1, 20), (28, 1, 20)}
