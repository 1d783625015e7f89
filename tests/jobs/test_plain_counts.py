"""The jobs' tables of random chains, against `plain_counts`."""

import datetime as dt
import random
from collections import Counter

import pytest

from jobs import count_purchases, match_receipts
from jobs.tables.schemas import WAREHOUSE
from tests.jobs import plain_counts
from tests.jobs.small_chain import DATE, SmallChain

NINE = dt.datetime(2026, 11, 9, 9, tzinfo=dt.UTC)
EVENING = dt.datetime(2026, 11, 9, 23, 50, tzinfo=dt.UTC)


def spoilt(rng: random.Random, rows: list[dict], wrong: dict[str, list]) -> list[dict]:
    """Return the rows in another order, some of them twice, some in two versions, and some with a wrong value."""
    landed = list(rows)
    for row in rows:
        fate = rng.random()
        name = rng.choice(list(wrong))
        if fate < 0.08:
            landed.append(dict(row))
        elif fate < 0.12:
            landed.append(row | {name: rng.choice(wrong[name])})
        elif fate < 0.18:
            landed[landed.index(row)] = row | {name: rng.choice(wrong[name])}
    rng.shuffle(landed)
    return landed


def draw(rng: random.Random) -> dict[str, list[dict]]:
    """Return the landing tables and `photo_ages` of a date."""
    products = [
        {
            "product_id": f"p{number}",
            "product_name": f"name {number}",
            "category": f"c{number % 4}",
            "department": f"c{number % 2}",
            "min_age": rng.choice([None, 0, 16, 18]),
            "is_alcohol": rng.random() < 0.3,
        }
        for number in range(12)
    ]
    receipts, lines, photos = [], [], []
    for number in range(90):
        opened = rng.choice([NINE, EVENING]) + dt.timedelta(seconds=rng.randrange(1500))
        till = {"store_id": f"s{rng.randrange(3)}", "till_id": f"t{rng.randrange(2)}"}
        closed = opened + dt.timedelta(seconds=rng.randrange(120))
        receipts.append(
            {
                "receipt_id": f"r{number}",
                **till,
                "till_type": rng.choice(["staffed", "self"]),
                "cashier_id": rng.choice([None, "k1", "k2"]),
                "opened_at": opened,
                "closed_at": closed,
                "id_checked": rng.choice([None, False, True]),
            }
        )
        lines += [
            {
                "receipt_id": f"r{number}",
                "line_no": line_no,
                "product_id": f"p{rng.randrange(13)}",  # p12 is unknown
                "quantity": rng.choice([1.0, 2.0, 0.125, -1.0, -2.0]),
                "amount": rng.randrange(-300, 900) / 100,
            }
            for line_no in range(rng.randrange(6))
        ]
        for copy in range(rng.randrange(3)):
            at = opened + dt.timedelta(microseconds=500_000 * rng.randrange(-30, 280))
            photos.append(
                {
                    "photo_id": f"photo {number} {copy}",
                    **till,
                    "captured_at": at,
                    "age_years": rng.choice([17.5, 31.25, 64.49, 64.5, 118.0, rng.uniform(0, 90)]),
                    "p_under_18": rng.choice([0.0, 0.25, 0.9]),
                    "status": rng.choices(["scored", "unreadable"], [9, 1])[0],
                }
            )
    return {
        "products": spoilt(rng, products, {"category": ["", "c9"], "min_age": [-1, 121, 17], "is_alcohol": [None]}),
        "receipts": spoilt(
            rng,
            receipts,
            {
                "store_id": [None, "", "s1"],
                "opened_at": [None, NINE - dt.timedelta(days=9), NINE + dt.timedelta(days=1.5)],
                "closed_at": [None, NINE + dt.timedelta(days=1.9), NINE - dt.timedelta(days=1)],
                "cashier_id": ["k9"],
            },
        ),
        "receipt_lines": spoilt(
            rng,
            lines,
            {
                "receipt_id": [None, "r999"],
                "line_no": [None],
                "product_id": [None, "", "P1"],
                "quantity": [None, float("nan"), 9.0, 1e7],
                "amount": [None, float("-inf"), 1e300, -1e6],
            },
        ),
        "photo_ages": photos,
    }


@pytest.mark.parametrize("seed", range(5))
def test_the_jobs_compute_what_loops_compute(tmp_path, seed, monkeypatch):
    monkeypatch.setattr(count_purchases, "RECEIPTS_AT_ONCE", (1, 7, count_purchases.RECEIPTS_AT_ONCE)[seed % 3])
    rng = random.Random(seed)  # noqa: S311 - no secrets
    drawn = draw(rng)
    chain = SmallChain(tmp_path)
    for table in ("products", "receipts", "receipt_lines"):
        chain.land(table, *drawn[table])
    columns = WAREHOUSE["restricted/photo_ages"].row_schema.names
    chain.write(
        "restricted/photo_ages", *({name: photo.get(name) for name in columns} for photo in drawn["photo_ages"])
    )
    chain.finish("score_photos")
    chain.run(match_receipts, grace_seconds=7.5)
    chain.run(count_purchases)

    judged_receipts = plain_counts.judged_receipts(drawn["receipts"], DATE)
    judged_products = plain_counts.judged_products(drawn["products"])
    receipts = plain_counts.usable(judged_receipts)
    products = {row["product_id"]: row for row in plain_counts.usable(judged_products)}
    judged_lines = plain_counts.judged_lines(drawn["receipt_lines"], judged_receipts, products)
    lines = plain_counts.usable(judged_lines)
    ages = plain_counts.receipt_ages(drawn["photo_ages"], receipts, 7.5)
    of_receipt = plain_counts.baskets(lines, products)
    found = {
        receipt_id: (age, photo_ids, p_under_18)
        for receipt_id, age, photo_ids, p_under_18 in chain.rows(
            "SELECT receipt_id, age_years, photo_ids, p_under_18 FROM restricted.receipt_ages"
        )
    }
    assert found == {
        receipt_id: (pytest.approx(age), photo_ids, pytest.approx(p_under_18))
        for receipt_id, (age, photo_ids, p_under_18) in ages.items()
    }
    for table, expected in {
        "daily_counts": plain_counts.daily_counts(ages, of_receipt),
        "daily_store_counts": plain_counts.daily_store_counts(ages, of_receipt, receipts),
        "cashier_daily_counts": plain_counts.cashier_daily_counts(ages, of_receipt, receipts, products),
    }.items():
        rows = chain.rows(f"SELECT * EXCLUDE (business_date) FROM restricted.{table}")  # noqa: S608
        assert set(rows) == expected
        assert len(rows) == len(expected)
    for table, expected in {
        "products": plain_counts.rejected(judged_products, "product_id"),
        "receipts": plain_counts.rejected(judged_receipts, "receipt_id"),
        "receipt_lines": plain_counts.rejected(judged_lines, "receipt_id", "line_no"),
    }.items():
        rows = chain.rows(f"SELECT key, reason FROM restricted.quarantine WHERE source_table = '{table}'")  # noqa: S608
        assert Counter(rows) == Counter(expected)
    used = {"products": products, "receipts": receipts, "receipt_lines": lines}
    report = chain.report("match_receipts") | chain.report("count_purchases")
    assert {table: report[table, "rows_used"] for table in used} == {table: len(rows) for table, rows in used.items()}
    # The chain is not trivial.
    assert min(len(ages), len(lines)) > 20
    assert len(receipts) < len(drawn["receipts"]) - 5
    assert min(report[table, "rows_quarantined"] for table in ("receipts", "receipt_lines")) > 0
    assert any(len(photo_ids) > 1 for _, photo_ids, _ in ages.values())
