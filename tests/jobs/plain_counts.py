"""What the jobs compute, by dicts and loops: from rows of the landing zone to ages and counts."""

import datetime as dt
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from fractions import Fraction
from statistics import median

LARGEST = 1_000_000

Judged = list[tuple[dict, str | None]]
"""Rows, and why each can't be used, or None."""


def different(rows: Iterable[dict]) -> list[dict]:
    """Return each different row once."""
    return list({tuple(str(value) for value in row.values()): row for row in rows}.values())


def has_missing(row: dict, *names: str) -> bool:
    """Return whether a column is null or an empty text."""
    return any(row[name] in (None, "") for name in names)


def judged(rows: list[dict], rules: Callable[[dict], dict[str, bool]], *key: str) -> Judged:
    """Return each different row, with the first rule that it breaks, or None; the last one is a key of several rows."""
    once = different(rows)
    n_versions = Counter(tuple(row[name] for name in key) for row in once)
    found = []
    for row in once:
        broken = rules(row) | {"conflicting_key": n_versions[tuple(row[name] for name in key)] > 1}
        found.append((row, next((rule for rule, is_broken in broken.items() if is_broken), None)))
    return found


def usable(rows: Judged) -> list[dict]:
    """Return the rows that break no rule."""
    return [row for row, reason in rows if reason is None]


def judged_receipts(landed: list[dict], date: dt.date) -> Judged:
    """Judge values, times and versions of receipts."""
    noon = dt.datetime.combine(date, dt.time(12), dt.UTC)
    days = dt.timedelta(days=2)
    names = ("receipt_id", "store_id", "till_id", "till_type", "opened_at", "closed_at")

    def rules(row: dict) -> dict[str, bool]:
        if has_missing(row, *names):
            return {"missing_value": True}
        times = row["opened_at"], row["closed_at"]
        return {
            "time_off_date": not all(noon - days <= time <= noon + days for time in times),
            "closes_before_it_opens": times[1] < times[0],
            "open_over_a_day": times[1] - times[0] > dt.timedelta(days=1),
        }

    return judged(landed, rules, "receipt_id")


def judged_products(landed: list[dict]) -> Judged:
    """Judge values and versions of products."""
    names = ("product_id", "product_name", "category", "department", "is_alcohol")
    return judged(
        landed,
        lambda row: {
            "missing_value": has_missing(row, *names),
            "impossible_min_age": not 0 <= (row["min_age"] or 0) <= 120,
        },
        "product_id",
    )


def judged_lines(landed: list[dict], receipts: Judged, products: dict[str, dict]) -> Judged:
    """Judge values, figures, receipts, products and versions of lines."""
    known = {row["receipt_id"] for row, _ in receipts}
    good = {row["receipt_id"] for row in usable(receipts)}

    def rules(row: dict) -> dict[str, bool]:
        if has_missing(row, "receipt_id", "line_no", "product_id", "quantity", "amount"):
            return {"missing_value": True}
        return {
            "impossible_figure": not all(abs(row[name]) <= LARGEST for name in ("quantity", "amount")),
            "receipt_unknown": row["receipt_id"] not in known,
            "receipt_quarantined": row["receipt_id"] not in good,
            "product_unknown": row["product_id"] not in products,
        }

    return judged(landed, rules, "receipt_id", "line_no")


def rejected(rows: Judged, *key: str) -> list[tuple[str, str]]:
    """Return key and reason of the rows in quarantine."""
    return [
        ("/".join("?" if row[name] is None else str(row[name]) for name in key), reason)
        for row, reason in rows
        if reason is not None
    ]


def receipt_ages(
    photos: list[dict], receipts: list[dict], grace_seconds: float
) -> dict[str, tuple[float, list[str], float]]:
    """Return the age of each receipt with a photo, its photos in order, and the probability of an age under 18."""
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
        receipt_id: (
            median(p["age_years"] for p in found),
            sorted(p["photo_id"] for p in found),
            median(p["p_under_18"] for p in found),
        )
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
    for receipt_id, (age, *_) in ages.items():
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
    for receipt_id, (age, *_) in ages.items():
        year = age_year(age)
        for (level, item), (quantity, _) in {("all", ""): (0, 0), **of_receipt.get(receipt_id, {})}.items():
            if level == "all" or quantity > 0:
                cell = cells[stores[receipt_id], level, item, year if level == "all" else None]
                cell[0] += 1
                cell[1] += year
    return {(*key, *counts) for key, counts in cells.items()}


def goods(basket: dict, products: dict[str, dict]) -> str:
    """Return the kind of goods that a receipt contains."""
    kinds = set()
    for (level, item), (quantity, _) in basket.items():
        if level == "product" and quantity > 0:
            product = products[item]
            age = 18 if product["min_age"] is None and product["is_alcohol"] else product["min_age"]
            kinds.add("unrestricted" if not age else "alcohol" if product["is_alcohol"] else "other_restricted")
    return min(kinds, default="unrestricted")  # in the order of the alphabet


def cashier_daily_counts(
    ages: dict[str, tuple], of_receipt: dict, receipts: list[dict], products: dict[str, dict]
) -> set[tuple]:
    """Return the columns of the table, for stores in UTC."""
    cells: dict = defaultdict(lambda: [Fraction(0)] * 9)
    for row in receipts:
        is_staffed = row["till_type"] == "staffed"
        if is_staffed and not row["cashier_id"]:
            continue
        kind = goods(of_receipt.get(row["receipt_id"], {}), products)
        age, _, p_under_18 = ages.get(row["receipt_id"], (None, [], 0))
        is_restricted, has_age = kind != "unrestricted", age is not None
        year = min(60, max(14, math.floor(age + 0.5))) if is_restricted and has_age else None
        capped = min(60, age) if has_age and not is_restricted else None
        key = (row["store_id"], row["cashier_id"] if is_staffed else None, row["opened_at"].hour, kind, year)
        added = [
            1,
            has_age,
            is_restricted and row["id_checked"] is True,
            is_restricted and row["id_checked"] is None,
            Fraction(round(p_under_18 * 1_000_000), 1_000_000) if is_restricted else 0,
            Fraction(round((capped or 0) * 10_000), 10_000),
            Fraction(round((capped or 0) ** 2 * 10_000), 10_000),
            capped is not None and capped < 27,
            capped is not None and capped < 60,
        ]
        cells[key] = [total + Fraction(value) for total, value in zip(cells[key], added, strict=True)]
    return {(*key, *map(float, totals)) for key, totals in cells.items()}
