"""The steps of `jobs.count_purchases` about cashiers."""

import datetime as dt

import pytest

from jobs.count_purchases import CASHIER_COUNTS, Settings, lacks_cashiers, receipt_goods, sum_receipts, usable_receipts
from jobs.tables.schemas import LANDING, WAREHOUSE
from model.cli import InputError

DATE = dt.date(2026, 11, 9)


@pytest.fixture
def goods(rows):
    """Return a function that gives the goods of receipts: `goods(receipts=[...], lines=[...], ...)`."""

    def build(receipts, lines=({},), products=({},), ages=({},), time_zone="UTC"):
        frames = [
            rows(table, *partial)
            for table, partial in (
                ("receipts", receipts),
                ("receipt_lines", lines),
                ("products", products),
                ("restricted/receipt_ages", ages),
            )
        ]
        return receipt_goods(*frames, time_zone)

    return build


def test_usable_receipts_are_those_not_rejected_and_each_occurs_once(rows):
    receipts = rows(
        "receipts",
        {"receipt_id": "good"},
        {"receipt_id": "twice", "cashier_id": None},
        {"receipt_id": "twice", "cashier_id": None},
        {"receipt_id": "conflicting", "cashier_id": "c1"},
        {"receipt_id": "conflicting", "cashier_id": "c2"},
        {"receipt_id": "late"},
        {"receipt_id": None},
        {"receipt_id": ""},
    )
    keys = ("conflicting", "conflicting", "late", "?", "")
    rejected = rows("restricted/quarantine", *({"key": key} for key in keys))
    used = usable_receipts(receipts, rejected)
    assert sorted(row.receipt_id for row in used.collect()) == ["good", "twice"]
    assert set(used.columns) == set(LANDING["receipts"].names)


@pytest.mark.parametrize(
    ("product", "expected"),
    [
        ({"min_age": None, "is_alcohol": True}, "alcohol"),
        ({"min_age": 16, "is_alcohol": True}, "alcohol"),
        ({"min_age": 16, "is_alcohol": False}, "other_restricted"),
        ({"min_age": None, "is_alcohol": False}, "unrestricted"),
        ({"min_age": 0, "is_alcohol": True}, "unrestricted"),
    ],
    ids=["alcohol without a legal age", "alcohol", "tobacco", "bread", "alcohol for all ages"],
)
def test_the_legal_age_decides_whether_goods_are_restricted(goods, product, expected):
    assert [row.goods for row in goods([{"cashier_id": "c1"}], products=[product]).collect()] == [expected]


def test_a_receipt_has_the_local_hour_of_its_opening(goods):
    hours = [goods([{}], time_zone=zone).collect()[0].hour for zone in ("UTC", "Europe/Madrid", "Asia/Tokyo")]
    assert hours == [9, 10, 18]


def test_both_tables_of_cashiers_read_the_persisted_receipts(spark, goods):
    persisted = goods([{"cashier_id": "c1"}]).persist()
    tables = {table: sum_receipts(spark, table, persisted) for table in CASHIER_COUNTS}
    for table, frame in tables.items():
        assert frame.count() == 1
        assert sorted(frame.columns) == sorted(WAREHOUSE[f"restricted/{table}"].row_schema.names)
        assert "InMemoryTableScan" in frame._jdf.queryExecution().executedPlan().toString()
    persisted.unpersist()


def test_receipts_of_staffed_tills_without_a_cashier_are_noticed(goods):
    complete = [{"receipt_id": "r1", "cashier_id": "c1"}, {"receipt_id": "self-checkout", "till_type": "self"}]
    assert not lacks_cashiers(goods(complete))
    assert lacks_cashiers(goods([*complete, {"receipt_id": "no cashier"}]))
    assert not lacks_cashiers(goods([]))


@pytest.mark.parametrize("name", ["Madrid", "Europe/Nowhere", "EST", "", "+01:00", "/etc/localtime", "../UTC"])
def test_a_wrong_time_zone_is_an_error(name):
    with pytest.raises(InputError, match=f"--time-zone is '{name.replace('+', '.')}'; it must be UTC or an IANA name"):
        Settings(business_date=DATE, landing="l", warehouse="w", time_zone=name)
