"""For each landing table: rows in = rows used + rows quarantined + declared duplicates."""

import pytest

from jobs.tables.night import LandingSettings, Night
from jobs.tables.schemas import LANDING
from tests.jobs.small_chain import DATE, SmallChain

MEASURES = ("rows_in", "rows_used", "rows_quarantined", "rows_duplicate")


@pytest.fixture
def set_aside(tmp_path, rows):
    """Screen landing rows; return the four counts and the rows of the quarantine."""
    chain = SmallChain(tmp_path)
    parameters = {"receipts": {"business_date": DATE}, "photo_events": {"business_date": DATE}}
    parameters |= {"products": {}, "receipt_lines": {"max_figure": 1000.0}}

    def screen(table, *partial):
        for name in LANDING:
            chain.land_file(name, rows(name))
        # What the rows are checked against.
        chain.land_file("receipts", rows("receipts", {}))
        chain.land_file("products", rows("products", {}))
        chain.land_file(table, rows(table, *partial))
        settings = LandingSettings(business_date=DATE, **chain.places)
        with Night(settings, "score_photos", landing_tables=list(LANDING)) as night:
            if table == "receipt_lines":
                night.screen("products")
                night.create("receipts", "nightly/receipts", business_date=DATE, time_zone="UTC")
            night.screen(table, **parameters[table])
            counts = night.set_aside(table)
            n_used = night.connection.table(table).count("*").fetchall()
        assert n_used == [(counts["rows_used"],)]
        assert {(table, name): counts[name] for name in MEASURES} == chain.report("score_photos")
        return tuple(counts[name] for name in MEASURES), chain.rows(
            "SELECT source_table, key, reason, detail FROM restricted.quarantine"
        )

    return screen


BAD = {
    "photo_events": {"till_id": None},
    "receipts": {"till_id": None},
    "receipt_lines": {"amount": None},
    "products": {"category": None},
}
KEYS = {"photo_events": "photo_id", "receipts": "receipt_id", "receipt_lines": "line_no", "products": "product_id"}


def keyed(table, number):
    key = number if table == "receipt_lines" else f"k{number}"
    return {KEYS[table]: key} | ({"path": f"{number}.jpg"} if table == "photo_events" else {})


@pytest.mark.parametrize("table", LANDING)
@pytest.mark.parametrize("n_bad", [0, 3])
def test_every_row_is_used_quarantined_or_duplicate(set_aside, table, n_bad):
    good = [keyed(table, number) for number in range(4)] * 2
    bad = [keyed(table, number) | BAD[table] for number in range(4, 4 + n_bad)]
    counts, rejected = set_aside(table, *good, *bad)
    assert counts == (8 + n_bad, 4, n_bad, 4)
    assert {(name, reason, detail) for name, _, reason, detail in rejected} == (
        {(table, "missing_value", *BAD[table])} if n_bad else set()
    )
    assert len(rejected) == n_bad


@pytest.mark.parametrize("table", LANDING)
def test_the_counts_of_an_empty_table_are_zero(set_aside, table):
    assert set_aside(table) == ((0, 0, 0, 0), [])


@pytest.mark.parametrize("table", LANDING)
def test_a_bad_row_delivered_twice_is_one_quarantine_row_and_one_duplicate(set_aside, table):
    counts, rejected = set_aside(table, BAD[table], BAD[table])
    assert counts == (2, 0, 1, 1)
    assert len(rejected) == 1


@pytest.mark.parametrize("table", LANDING)
def test_different_rows_with_the_same_key_are_all_rejected(set_aside, table):
    other = {"path": "b.jpg"} if table == "photo_events" else {"amount": 9.0, "category": "Wine", "till_id": "t2"}
    counts, rejected = set_aside(table, {}, {}, other)
    assert counts == (3, 0, 2, 1)
    assert [(reason, detail) for _, _, reason, detail in rejected] == [("conflicting_key", "2 versions")] * 2


def test_a_row_that_is_rejected_later_is_counted_too(tmp_path, rows):
    chain = SmallChain(tmp_path)
    chain.land_file("receipts", rows("receipts", {}, {}, {"receipt_id": "r2"}, {"receipt_id": "r3", "till_id": None}))
    settings = LandingSettings(business_date=DATE, **chain.places)
    with Night(settings, "score_photos", landing_tables=["receipts"]) as night:
        night.screen("receipts", business_date=DATE)
        late = rows("restricted/quarantine", {"key": "r2", "reason": "late"}).select(["key", "reason", "detail"])
        counts = night.set_aside("receipts", late)
    assert counts == {"rows_in": 4, "rows_used": 1, "rows_quarantined": 2, "rows_duplicate": 1}
    rejected = chain.rows("SELECT key, reason FROM restricted.quarantine")
    assert rejected == [("r2", "late"), ("r3", "missing_value")]
