from jobs.build_affinity import screen_lines, screen_products


def test_an_unusable_line_is_rejected_with_a_reason(rows):
    cases = [
        ({}, None),
        ({"quantity": -1.0, "amount": -2.0}, None),
        ({"receipt_id": "unknown"}, "receipt_unknown"),
        ({"receipt_id": "rejected"}, "receipt_quarantined"),
        ({"product_id": "000000"}, "product_unknown"),
        ({"line_no": None}, "missing_value"),
        ({"amount": None}, "missing_value"),
        ({"quantity": float("nan")}, "impossible_figure"),
        ({"amount": float("-inf")}, "impossible_figure"),
        ({"amount": 1e10}, "impossible_figure"),
    ]
    lines = [{"line_no": number, **line} for number, (line, _) in enumerate(cases)]
    receipts = rows("receipts", {}, {}, {"receipt_id": "rejected"})
    rejected = rows("restricted/quarantine", {"key": "rejected"}, {"key": "rejected"})
    screened = screen_lines(rows("receipt_lines", *lines), rows("products", {}), receipts, rejected).collect()
    assert {(row.line_no, row.reason, row.n_copies) for row in screened} == {
        (line["line_no"], reason, 1) for line, (_, reason) in zip(lines, cases, strict=True)
    }


def test_an_unusable_product_is_rejected_with_a_reason(rows):
    reasons = {"good": None, "no age": None, "age": "impossible_min_age", "category": "missing_value"}
    products = rows(
        "products",
        {"product_id": "good"},
        {"product_id": "no age", "min_age": None},
        {"product_id": "age", "min_age": 121},
        {"product_id": "category", "category": None},
    )
    assert {row.product_id: row.reason for row in screen_products(products).collect()} == reasons
