"""What the jobs compute, by dicts and loops: from rows of the landing zone to ages and counts."""

import datetime as dt
import math
from collections import defaultdict
from collections.abc import Iterable
from fractions import Fraction
from statistics import median

LARGEST = 1_000_000


def different(rows: Iterable[dict]) -> list[dict]:
    """Return each different row once."""
    return list({tuple(str(value) for value in row.values()): row for row in rows}.values())


def without_conflicts(rows: list[dict], *key: str) -> list[dict]:
    """Return the rows whose key no other row has."""
    keys = [tuple(row[name] for name in key) for row in rows]
    return [row for row, of_row in zip(rows, keys, strict=True) if keys.count(of_row) == 1]


def usable_receipts(landed: list[dict], date: dt.date) -> list[dict]:
    """Return the receipts without a missing value, a time that is impossible or a second version."""
    noon = dt.datetime.combine(date, dt.time(12), dt.UTC)
    days = dt.timedelta(days=2)

    def is_good(row: dict) -> bool:
        values = [row[name] for name in ("receipt_id", "store_id", "till_id", "till_type", "opened_at", "closed_at")]
        if any(value in (None, "") for value in values):
            return False
        times = row["opened_at"], row["closed_at"]
        return all(noon - days <= time <= noon + days for time in times) and (
            dt.timedelta(0) <= times[1] - times[0] <= dt.timedelta(days=1)
        )

    return [row for row in without_conflicts(different(landed), "receipt_id") if is_good(row)]


def usable_products(landed: list[dict]) -> dict[str, dict]:
    """Return the products without a missing value, an impossible age or a second version, by id."""
    names = ("product_id", "product_name", "category", "department", "is_alcohol")
    return {
        row["product_id"]: row
        for row in without_conflicts(different(landed), "product_id")
        if all(row[name] not in (None, "") for name in names) and 0 <= (row["min_age"] or 0) <= 120
    }


def usable_lines(landed: list[dict], receipts: list[dict], products: dict[str, dict]) -> list[dict]:
    """Return the lines of usable receipts and products whose figures are possible and that have no second version."""
    ids = {row["receipt_id"] for row in receipts}
    return [
        row
        for row in without_conflicts(different(landed), "receipt_id", "line_no")
        if row["receipt_id"] in ids
        and row["product_id"] in products
        and row["line_no"] is not None
        and all(row[name] is not None and abs(row[name]) <= LARGEST for name in ("quantity", "amount"))
    ]


def receipt_ages(photos: list[dict], receipts: list[dict], grace_seconds: float) -> dict[str, tuple[float, list[str]]]:
    """Return the age of each receipt with a photo, and its photos in order."""
    grace = dt.timedelta(seconds=grace_seconds)
    nearest = defaultdict(list)
    for photo in photos:
        at = photo["captured_at"]
        candidates = [
            (
                max(receipt["opened_at"] - at, at - receipt["closed_at"], dt.timedelta(0)),
                abs((at - receipt["opened_at"]) + (at - receipt["closed_at"])),
                receipt["receipt_id"],
            )
            for receipt in receipts
            if (receipt["store_id"], receipt["till_id"]) == (photo["store_id"], photo["till_id"])
            and receipt["opened_at"] - grace <= at <= receipt["closed_at"] + grace
        ]
        if photo["status"] == "scored" and candidates:
            nearest[min(candidates)[2]].append(photo)
    return {
        receipt_id: (median(p["age_years"] for p in found), sorted(p["photo_id"] for p in found))
        for receipt_id, found in nearest.items()
    }


def baskets(
    lines: list[dict], products: dict[str, dict]
) -> dict[str, dict[tuple[str, str], tuple[Fraction, Fraction]]]:
    """Return the net quantity and amount of each receipt, by level and item."""
    sums: dict = defaultdict(lambda: defaultdict(lambda: (Fraction(0), Fraction(0))))
    for line in lines:
        product = products[line["product_id"]]
        figures = [Fraction(round(line[name] * 10_000), 10_000) for name in ("quantity", "amount")]
        items = [("all", ""), ("product", line["product_id"])]
        items += [(level, product[level]) for level in ("category", "department")]
        for item in items:
            quantity, amount = sums[line["receipt_id"]][item]
            sums[line["receipt_id"]][item] = quantity + figures[0], amount + figures[1]
    return sums


def age_year(age_years: float) -> int:
    """Return completed years, 100 and over as 100."""
    return min(100, math.floor(age_years + 0.5))


def daily_counts(ages: dict[str, tuple], of_receipt: dict) -> set[tuple]:
    """Return (age_year, level, item, n_receipts, quantity, amount)."""
    cells: dict = defaultdict(lambda: [0, Fraction(0), Fraction(0)])
    for receipt_id, (age, _) in ages.items():
        for (level, item), (quantity, amount) in {("all", ""): (0, 0), **of_receipt.get(receipt_id, {})}.items():
            cell = cells[age_year(age), level, item]
            cell[0] += level == "all" or quantity > 0
            cell[1] += quantity
            cell[2] += amount
    return {(*key, n, float(quantity), float(amount)) for key, (n, quantity, amount) in cells.items()}


def daily_store_counts(ages: dict[str, tuple], of_receipt: dict, receipts: list[dict]) -> set[tuple]:
    """Return (store_id, level, item, age_year, n_receipts, age_years_sum)."""
    stores = {row["receipt_id"]: row["store_id"] for row in receipts}
    cells: dict = defaultdict(lambda: [0, 0])
    for receipt_id, (age, _) in ages.items():
        year = age_year(age)
        for (level, item), (quantity, _) in {("all", ""): (0, 0), **of_receipt.get(receipt_id, {})}.items():
            if level == "all" or quantity > 0:
                cell = cells[stores[receipt_id], level, item, year if level == "all" else None]
                cell[0] += 1
                cell[1] += year
    return {(*key, *counts) for key, counts in cells.items()}
