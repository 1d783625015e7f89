import pytest
from pyspark.sql import functions as F

from jobs.tables import quarantine


@pytest.fixture
def no_till(spark):
    assert spark  # F.col needs a running session
    return [quarantine.missing_value("receipt_id", "till_id")]


def outcome(screened):
    return sorted((row.receipt_id or "?", row.n_copies, row.reason) for row in screened.collect())


def test_a_receipt_delivered_twice_is_used_once(rows, no_till):
    screened = quarantine.screen(rows("receipts", {}, {}, {"receipt_id": "r2"}), "receipts", no_till)
    assert outcome(screened) == [("r1", 2, None), ("r2", 1, None)]
    assert quarantine.count(screened) == {"rows_in": 3, "rows_used": 2, "rows_quarantined": 0, "rows_duplicate": 1}


def test_different_rows_with_the_same_key_are_all_rejected(rows, no_till):
    screened = quarantine.screen(rows("receipts", {}, {"till_id": "t2"}), "receipts", no_till)
    assert outcome(screened) == [("r1", 1, "conflicting_key"), ("r1", 1, "conflicting_key")]
    assert quarantine.used(screened, "receipts").count() == 0


def test_a_bad_row_delivered_twice_is_one_quarantine_row_and_one_duplicate(rows, no_till):
    screened = quarantine.screen(rows("receipts", {"till_id": None}, {"till_id": None}), "receipts", no_till)
    assert quarantine.count(screened) == {"rows_in": 2, "rows_used": 0, "rows_quarantined": 1, "rows_duplicate": 1}
    assert [tuple(row) for row in quarantine.rejected(screened, "receipts").collect()] == [
        ("r1", "missing_value", "till_id")
    ]


def test_the_first_rule_that_applies_gives_the_reason(rows, no_till):
    late = quarantine.Defect("late", F.col("store_id") == "s1", F.lit("it is"))
    screened = quarantine.screen(rows("receipts", {"till_id": None}), "receipts", [late, *no_till])
    assert [row.reason for row in screened.collect()] == ["late"]


def test_a_row_without_key_has_a_question_mark_as_key(rows):
    lines = rows("receipt_lines", {"receipt_id": None}, {"receipt_id": None, "amount": 9.0})
    screened = quarantine.screen(lines, "receipt_lines", [quarantine.missing_value("receipt_id")])
    assert {row.key for row in quarantine.rejected(screened, "receipt_lines").collect()} == {"?/1"}


def test_the_counts_of_an_empty_table_are_zero(rows, no_till):
    screened = quarantine.screen(rows("receipts"), "receipts", no_till)
    assert quarantine.count(screened) == dict.fromkeys(
        ("rows_in", "rows_used", "rows_quarantined", "rows_duplicate"), 0
    )


@pytest.mark.parametrize("n_bad", [0, 3])
def test_every_row_is_used_quarantined_or_duplicate(rows, no_till, n_bad):
    good = [{"receipt_id": f"g{i}"} for i in range(4)] * 2
    bad = [{"receipt_id": f"b{i}", "till_id": None} for i in range(n_bad)]
    counts = quarantine.count(quarantine.screen(rows("receipts", *good, *bad), "receipts", no_till))
    assert counts == {"rows_in": 8 + n_bad, "rows_used": 4, "rows_quarantined": n_bad, "rows_duplicate": 4}
