"""The job on real files; tests/sql/nightly/receipt_ages.yaml has the cases of the matching itself."""

import datetime as dt

import pytest

from jobs import count_purchases, match_receipts
from jobs.tables.schemas import WAREHOUSE
from model.cli import InputError
from tests.jobs.small_chain import DATE, SmallChain

COUNTED = [f"restricted/{table}" for table in count_purchases.COUNTED]


@pytest.fixture
def chain(tmp_path, rows):
    """Two usable receipts, one of them with two photos, a bad one, and a photo without a receipt."""
    chain = SmallChain(tmp_path)
    bad = {"receipt_id": "r3", "opened_at": dt.datetime(1970, 1, 1, tzinfo=dt.UTC)}
    chain.land_file("receipts", rows("receipts", {}, {}, {"receipt_id": "r2", "till_id": "t2"}, bad))
    photos = [{"photo_id": "p1", "age_years": 30.0}, {"photo_id": "p2"}, {"photo_id": "p3", "till_id": "t9"}]
    chain.write("restricted/photo_ages", *rows("restricted/photo_ages", *photos, for_writing=True).to_pylist())
    chain.finish("score_photos")
    return chain


def test_the_job_writes_ages_quarantine_and_a_report(chain):
    chain.run(match_receipts)
    assert chain.rows("SELECT receipt_id, store_id, till_id, age_years, photo_ids FROM restricted.receipt_ages") == [
        ("r1", "s1", "t1", 35.0, ["p1", "p2"])
    ]
    assert chain.rows("SELECT source_table, key, reason FROM restricted.quarantine") == [
        ("receipts", "r3", "time_off_date")
    ]
    assert chain.report("match_receipts") == {
        ("receipts", "rows_in"): 4,
        ("receipts", "rows_used"): 2,
        ("receipts", "rows_quarantined"): 1,
        ("receipts", "rows_duplicate"): 1,
        ("", "receipts_matched"): 1,
        ("", "photos_unmatched"): 1,
        ("", "matched_share"): 0.5,
    }


def test_counts_of_other_ages_are_removed(chain):
    later = DATE + dt.timedelta(days=1)
    for table in COUNTED:
        row = dict.fromkeys(WAREHOUSE[table].row_schema.names)
        chain.write(table, row)
        chain.write(table, row, date=later)
    chain.run(match_receipts)
    kept = {"restricted/catalogue": 2}  # a table of products
    for table in COUNTED:
        assert len(chain.rows(f"FROM {table.replace('/', '.')}")) == kept.get(table, 1)


def test_a_second_run_with_another_grace_period_replaces_the_first(chain, rows):
    late = {"captured_at": dt.datetime(2026, 11, 9, 9, 1, 7, tzinfo=dt.UTC)}
    chain.write("restricted/photo_ages", *rows("restricted/photo_ages", late, for_writing=True).to_pylist())
    for grace_seconds, n_matched in ((5.0, 0), (7.5, 1), (0, 0)):
        chain.run(match_receipts, grace_seconds=grace_seconds)
        assert chain.report("match_receipts")["", "receipts_matched"] == n_matched
        assert chain.rows("SELECT COUNT(*) FROM restricted.receipt_ages") == [(n_matched,)]


@pytest.mark.parametrize("grace_seconds", [-0.001, 300.5, float("nan")])
def test_a_wrong_grace_period_is_refused(chain, grace_seconds):
    with pytest.raises(InputError, match=r"grace_seconds is .*; it must be between 0 and 300"):
        chain.run(match_receipts, grace_seconds=grace_seconds)
