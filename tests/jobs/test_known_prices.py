"""A reader who knows the price of a product looks for its true count in the published amount and quantity."""

import datetime as dt

import numpy as np

from jobs import build_affinity
from jobs.tables.duck import connect

DATE = dt.date(2026, 11, 9)
PRICE = 2  # of all products of `counted_warehouse`
STEPS = {"quantity": 20, "amount": 40}
"""To what the figures are rounded: ten receipts, at a mean of 2 units and 4 units of currency."""


def possible_counts(n: int, quantity: float, amount: float, steps: dict[str, int]) -> int:
    """Return how many true counts agree with a published cell, for one to three units on each receipt."""
    n_possible = 0
    for true in range(max(10, n - 5), n + 5):
        scaled = np.arange(true, 3 * true + 1) * n / true
        agrees = (abs(scaled - quantity) <= steps["quantity"] / 2) & (
            abs(PRICE * scaled - amount) <= steps["amount"] / 2
        )
        n_possible += bool(agrees.any())
    return n_possible


def test_known_prices_tell_no_count(counted_warehouse, monkeypatch):
    warehouse = counted_warehouse([DATE], 400, n_products=60)
    monkeypatch.setattr(build_affinity, "N_REPLICATES", 2)
    build_affinity.main(build_affinity.Settings(business_date=DATE, warehouse=str(warehouse)))
    with connect(str(warehouse)) as connection:
        cells = connection.execute(
            "SELECT n_receipts_with_item, quantity, amount FROM analytics.age_product_affinity"
            " WHERE window_days = 1 AND n_receipts_with_item IS NOT NULL"
        ).fetchall()
    possible = [possible_counts(*cell, STEPS) for cell in cells]
    assert len(cells) > 50
    assert min(possible) > 1


def test_an_amount_in_whole_units_of_currency_would_tell_the_count():
    # 14 receipts with 25 units: 25 x 10 / 14 = 17.86 units, 35.71 of currency.
    assert possible_counts(10, 18, 36, {"quantity": 1, "amount": 1}) < possible_counts(10, 20, 40, STEPS)
    assert possible_counts(10, 18, 36, {"quantity": 0.1, "amount": 0.1}) <= 1
