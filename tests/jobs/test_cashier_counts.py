"""What `jobs.count_purchases` counts of cashiers; tests/sql has the cases of its statements."""

import zoneinfo
from contextlib import suppress

import duckdb
import pytest

from jobs import count_purchases
from jobs.count_purchases import Settings
from model.cli import InputError
from tests.jobs.small_chain import DATE, SmallChain

PRODUCTS = {
    "alcohol without a legal age": ({"min_age": None, "is_alcohol": True}, "alcohol"),
    "alcohol": ({"min_age": 16, "is_alcohol": True}, "alcohol"),
    "tobacco": ({"min_age": 16, "is_alcohol": False}, "other_restricted"),
    "bread": ({"min_age": None, "is_alcohol": False}, "unrestricted"),
    "alcohol for all ages": ({"min_age": 0, "is_alcohol": True}, "unrestricted"),
}


@pytest.fixture
def count(tmp_path, rows):
    """Return a function that counts a landing zone: `count(receipts=[...], receipt_lines=[...], products=[...])`."""
    chain = SmallChain(tmp_path)
    chain.finish("match_receipts")

    def run(*, time_zone="UTC", **landed):
        for table in ("receipts", "receipt_lines", "products"):
            chain.land_file(table, rows(table, *landed.get(table, [{}])))
        chain.run(count_purchases, time_zone=time_zone)
        return chain

    return run


def test_the_legal_age_decides_whether_goods_are_restricted(count):
    chain = count(
        products=[{"product_id": name} | product for name, (product, _) in PRODUCTS.items()],
        receipts=[{"receipt_id": name, "cashier_id": name} for name in PRODUCTS],
        receipt_lines=[{"receipt_id": name, "product_id": name} for name in PRODUCTS],
    )
    goods = chain.rows("SELECT cashier_id, goods FROM restricted.cashier_daily_counts")
    assert dict(goods) == {name: goods for name, (_, goods) in PRODUCTS.items()}


def test_a_receipt_has_the_local_hour_of_its_opening(count):
    hours = {"UTC": 9, "Europe/Madrid": 10, "Asia/Tokyo": 18, "Asia/Kathmandu": 14, "Pacific/Honolulu": 23}
    for time_zone, hour in hours.items():
        chain = count(receipts=[{"cashier_id": "c1"}], time_zone=time_zone)
        assert chain.rows("SELECT hour FROM restricted.cashier_daily_counts") == [(hour,)]


def test_receipts_of_staffed_tills_without_a_cashier_are_noticed(count):
    complete = [{"receipt_id": "r1", "cashier_id": "c1"}, {"receipt_id": "self-checkout", "till_type": "self"}]
    cases = [
        (complete, "none"),
        ([*complete, {"receipt_id": "no cashier"}], "some"),
        ([*complete, {"receipt_id": "empty", "cashier_id": ""}], "some"),
        ([], "none"),
    ]
    for receipts, noticed in cases:
        assert count(receipts=receipts).report("count_purchases")["", "staffed_without_cashier"] == noticed


def test_a_rejected_receipt_is_nobodys(count):
    chain = count()
    chain.write(
        "restricted/quarantine", {"key": "?"}, {"key": "conflict"}, {"key": "conflict"}, source_table="receipts"
    )
    receipts = [
        {"receipt_id": "good", "cashier_id": "c1"},
        {"receipt_id": "twice", "cashier_id": "c1"},
        {"receipt_id": "twice", "cashier_id": "c1"},
        {"receipt_id": "conflict", "cashier_id": "c1"},
        {"receipt_id": "conflict", "cashier_id": "c2"},
        {"receipt_id": "conflict", "cashier_id": None},
        {"receipt_id": None, "cashier_id": "c1"},
    ]
    count(receipts=receipts)
    assert chain.rows("SELECT cashier_id, n_receipts FROM restricted.cashier_daily_counts") == [("c1", 2)]
    assert chain.report("count_purchases")["", "staffed_without_cashier"] == "none"


@pytest.mark.parametrize("name", ["Madrid", "Europe/Nowhere", "EST", "", "+01:00", "/etc/localtime", "../UTC"])
def test_a_wrong_time_zone_is_an_error(name):
    with pytest.raises(InputError, match=f"--time-zone is '{name.replace('+', '.')}'; it must be UTC or an IANA name"):
        Settings(business_date=DATE, landing="l", warehouse="w", time_zone=name)


def test_duckdb_knows_each_time_zone_that_is_accepted():
    """The statements take it from DuckDB's list, the flag from Python's."""
    known = {name for (name,) in duckdb.sql("SELECT name FROM pg_timezone_names()").fetchall()}
    accepted = set()
    for name in zoneinfo.available_timezones():
        with suppress(InputError):
            accepted.add(Settings(business_date=DATE, landing="l", warehouse="w", time_zone=name).time_zone)
    assert {"UTC", "Europe/Madrid"} <= accepted
    assert accepted - known == set()
