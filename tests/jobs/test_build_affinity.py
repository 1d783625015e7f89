import pytest

from jobs.build_affinity import screen_lines, screen_products


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
