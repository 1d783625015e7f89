"""Erasure of a person: no file names an id, and every table equals that of a run without the person."""

import datetime as dt
import shutil
from pathlib import Path
from unittest import mock

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from jobs import count_purchases, erase, match_receipts, sample_chain, score_photos, watch_ages
from jobs.tables.duck import connect
from jobs.tables.erasures import record_begin, recorded
from jobs.tables.landing import LANDING
from jobs.tables.schemas import WAREHOUSE
from jobs.tables.upkeep import delete_dates
from jobs.tables.warehouse import Warehouse
from model.cli import InputError

DATE = sample_chain.Settings.first_date
RECEIPT_AGES, CASES, COUNTS = "restricted/receipt_ages", "restricted/cashier_cases", "restricted/daily_counts"


def count(landing: Path, warehouse: Path, model: Path) -> None:
    places = {"business_date": DATE, "landing": str(landing), "warehouse": str(warehouse)}
    score_photos.main(score_photos.Settings(**places, model=model))
    match_receipts.main(match_receipts.Settings(**places))
    count_purchases.main(count_purchases.Settings(**places))
    watch_ages.main(watch_ages.Settings(business_date=DATE, warehouse=str(warehouse)))


@pytest.fixture(scope="module")
def landing(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("chain") / "sample"
    sample_chain.write_chain(sample_chain.Settings(out=out, receipts_per_day=60, stores=1))
    return out / "landing"


@pytest.fixture(scope="module")
def counted(spark, landing, model_folder, tmp_path_factory) -> Path:
    assert spark
    warehouse = tmp_path_factory.mktemp("counted")
    count(landing, warehouse, model_folder)
    return warehouse


@pytest.fixture(scope="module")
def ids(counted) -> tuple[str, str, str]:
    """A receipt with restricted goods and a photo, its photo, and a photo that is in quarantine."""
    with connect(str(counted), restricted=True) as connection:
        receipt = """SELECT receipt_id, photo_ids[1] FROM restricted.receipt_ages
            SEMI JOIN restricted.age_restricted_sales USING (receipt_id) ORDER BY ALL LIMIT 1"""
        unreadable = "SELECT key FROM restricted.quarantine WHERE source_table = 'photo_events' ORDER BY ALL LIMIT 1"
        return (*connection.sql(receipt).fetchall()[0], *connection.sql(unreadable).fetchall()[0])


@pytest.fixture(scope="module")
def cleaned(landing, ids, tmp_path_factory) -> Path:
    """The landing zone without the person."""
    copy = shutil.copytree(landing, tmp_path_factory.mktemp("cleaned") / "landing")
    for table in LANDING:
        for file in (copy / table).rglob("*.parquet"):
            rows = pq.ParquetFile(file).read()
            for column in {"photo_id", "receipt_id"} & set(rows.column_names):
                rows = rows.filter(pc.invert(pc.fill_null(pc.is_in(rows[column], pc.pa.array(ids)), False)))
            pq.write_table(rows, file)
    return copy


@pytest.fixture
def warehouse(counted, tmp_path) -> Path:
    return shutil.copytree(counted, tmp_path / "warehouse")


def settings(warehouse: Path, landing: Path, **flags: object) -> erase.Settings:
    return erase.Settings(warehouse=str(warehouse), landing=str(landing), reason="request 17", time_zone="UTC", **flags)


def contents(warehouse: Path) -> dict[str, list]:
    with connect(str(warehouse), restricted=True) as connection:
        return {
            name: sorted(connection.sql(f"FROM {name.replace('/', '.')}").fetchall(), key=str)
            for name in WAREHOUSE
            if name != "restricted/erasures"
        }


def test_every_table_equals_that_of_a_run_without_the_person(
    *, warehouse, cleaned, ids, model_folder, tmp_path, file_content
):
    receipt, photo, unreadable = ids
    case = {"case_id": "case-1", "receipt_id": receipt, "delete_after": dt.date(2027, 1, 1)}
    Warehouse(str(warehouse)).replace(CASES, pc.pa.Table.from_pylist([case], schema=WAREHOUSE[CASES].row_schema), DATE)
    assert all(name.encode() in file_content(warehouse) for name in ids)
    erase.main(settings(warehouse, cleaned, receipt_id=(receipt,), photo_id=(unreadable,)))
    assert [name for name in (receipt, photo, unreadable) if name.encode() in file_content(warehouse)] == []
    count(cleaned, tmp_path / "clean", model_folder)
    assert contents(warehouse) == contents(tmp_path / "clean")
    (record,) = Warehouse(str(warehouse)).rows("restricted/erasures").to_pylist()
    assert (record["business_date"], record["reason"]) == (DATE, "request 17")
    # Ages of both photos and of the receipt, sale, case, row of the quarantine.
    assert record["n_rows"] == 6
    assert record["begun_at"] < record["finished_at"]


def test_an_interrupted_erasure_is_continued(warehouse, cleaned, ids, file_content):
    receipt, photo, unreadable = ids
    flags = settings(warehouse, cleaned, receipt_id=(receipt,), photo_id=(unreadable,))
    with mock.patch.object(match_receipts, "main", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        erase.main(flags)
    (record,) = Warehouse(str(warehouse)).rows("restricted/erasures").to_pylist()
    assert record["finished_at"] is None
    erase.main(flags)
    (record,) = Warehouse(str(warehouse)).rows("restricted/erasures").to_pylist()
    assert record["finished_at"] is not None
    assert record["n_rows"] == 5
    assert [name for name in (receipt, photo, unreadable) if name.encode() in file_content(warehouse)] == []


def test_an_interrupted_erasure_is_not_taken_for_another_one(warehouse, cleaned, ids, monkeypatch):
    """The record of the first one stays open until it is run again."""
    first = settings(warehouse, cleaned, receipt_id=ids[:1])
    with monkeypatch.context() as patched:
        patched.setattr(erase, "count_again", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            erase.main(first)
        patched.setattr(erase, "count_again", lambda *_: None)
        erase.main(erase.Settings(**vars(first) | {"receipt_id": (), "photo_id": ids[2:], "reason": "request 18"}))
        records = Warehouse(str(warehouse)).rows("restricted/erasures").to_pylist()
        is_open = {row["reason"]: row["finished_at"] is None for row in records}
        assert is_open == {"request 17": True, "request 18": False}
        erase.main(first)
    records = Warehouse(str(warehouse)).rows("restricted/erasures").to_pylist()
    assert not any(row["finished_at"] is None for row in records)


def test_a_receipt_that_only_a_case_names_needs_no_new_count(warehouse, cleaned, monkeypatch, capsys):
    """The date of a case is that of the screening."""
    later = DATE + dt.timedelta(days=5)
    cases = [{"case_id": f"case-{number}", "receipt_id": f"r-{number}"} for number in (1, 2)]
    table = pc.pa.Table.from_pylist(cases, schema=WAREHOUSE[CASES].row_schema)
    Warehouse(str(warehouse)).replace(CASES, table, later)
    monkeypatch.setattr(erase, "count_again", lambda *_: pytest.fail("nothing to count"))
    erase.main(settings(warehouse, cleaned, receipt_id=("r-1",)))
    assert Warehouse(str(warehouse)).rows(CASES, "receipt_id")["receipt_id"].to_pylist() == ["r-2"]
    erase.main(settings(warehouse, cleaned, receipt_id=("r-1",)))
    assert "no table names r-1: erased before, or wrong" in capsys.readouterr().out


def test_an_interruption_at_the_date_of_a_case_leaves_its_counts(warehouse, cleaned):
    """They never contained the person."""
    later = DATE + dt.timedelta(days=5)
    case, count = {"case_id": "case-1", "receipt_id": "r-1"}, {"age_year": 30, "level": "all", "n_receipts": 5}
    for name, row in ((CASES, case), (COUNTS, count)):
        table = pc.pa.Table.from_pylist([row], schema=WAREHOUSE[name].row_schema)
        Warehouse(str(warehouse)).replace(name, table, later)
    flags = settings(warehouse, cleaned, receipt_id=("r-1",), delete_counts=True)
    with mock.patch.object(erase, "record_end", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        erase.main(flags)
    assert not Warehouse(str(warehouse)).has_rows(CASES, later)
    erase.main(flags)
    assert Warehouse(str(warehouse)).has_rows(COUNTS, later)


def test_rows_that_another_job_writes_meanwhile_are_found(warehouse, cleaned, ids, monkeypatch):
    ages = Warehouse(str(warehouse)).rows("restricted/photo_ages", first=DATE, last=DATE).drop_columns("business_date")

    def write_again(*_):
        Warehouse(str(warehouse)).replace("restricted/photo_ages", ages, DATE)

    monkeypatch.setattr(erase, "count_again", write_again)
    flags = settings(warehouse, cleaned, receipt_id=ids[:1])
    message = rf"wrote the person again at the same time \(restricted/photo_ages\).* with the photos too: {ids[1]}"
    with pytest.raises(InputError, match=message):
        erase.main(flags)
    monkeypatch.setattr(erase, "count_again", lambda *_: None)
    erase.main(settings(warehouse, cleaned, receipt_id=ids[:1], photo_id=ids[1:2]))
    assert ids[1] not in Warehouse(str(warehouse)).rows("restricted/photo_ages")["photo_id"].to_pylist()


def test_a_photo_takes_the_case_of_its_receipt_with_it(warehouse, cleaned, ids, monkeypatch):
    """A reviewer has judged how old the person looks."""
    cases = [{"case_id": f"case-{receipt}", "receipt_id": receipt} for receipt in (ids[0], "r-other")]
    table = pc.pa.Table.from_pylist(cases, schema=WAREHOUSE[CASES].row_schema)
    Warehouse(str(warehouse)).replace(CASES, table, DATE)
    monkeypatch.setattr(erase, "count_again", lambda *_: None)
    erase.main(settings(warehouse, cleaned, photo_id=ids[1:2]))
    assert Warehouse(str(warehouse)).rows(CASES)["receipt_id"].to_pylist() == ["r-other"]


def test_an_erasure_of_a_photo_that_was_interrupted_still_finds_its_case(warehouse, cleaned, ids, monkeypatch):
    """Only the ages tell the receipt of a photo, and they are removed on an earlier date than the case."""
    later = DATE + dt.timedelta(days=5)
    case = pc.pa.Table.from_pylist([{"case_id": "c", "receipt_id": ids[0]}], schema=WAREHOUSE[CASES].row_schema)
    Warehouse(str(warehouse)).replace(CASES, case, later)
    flags = settings(warehouse, cleaned, photo_id=ids[1:2])
    with mock.patch.object(erase, "count_again", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        erase.main(flags)
    monkeypatch.setattr(erase, "count_again", lambda *_: None)
    erase.main(flags)
    assert not Warehouse(str(warehouse)).has_rows(CASES, later)


def test_a_report_of_a_date_whose_ages_are_deleted_stays(warehouse, cleaned):
    later, name = DATE + dt.timedelta(days=5), "analytics/run_quality"
    case = pc.pa.Table.from_pylist([{"case_id": "c", "receipt_id": "r-1"}], schema=WAREHOUSE[CASES].row_schema)
    Warehouse(str(warehouse)).replace(CASES, case, later)
    line = {"source_table": "photo_events", "measure": "rows_used", "value": 97.0}
    report = pc.pa.Table.from_pylist([line], schema=WAREHOUSE[name].row_schema)
    Warehouse(str(warehouse)).replace(name, report, later, job="score_photos")
    erase.main(settings(warehouse, cleaned, receipt_id=("r-1",)))
    assert Warehouse(str(warehouse)).rows(name, "value", first=later)["value"].to_pylist() == [97.0]


def test_an_id_that_is_added_to_an_interrupted_erasure_leaves_no_count(warehouse):
    tables = Warehouse(str(warehouse))
    record_begin(tables, DATE, "request 17", n_rows=1, is_counted=False)
    record_begin(tables, DATE, "request 17", n_rows=1, is_counted=True)
    assert recorded(tables, "request 17").counted == {DATE}


def test_what_was_published_is_deleted_only_with_the_flag(warehouse, tmp_path, ids):
    (tmp_path / "empty").mkdir()
    for name in ("restricted/daily_counts", "restricted/cashier_daily_counts"):
        delete_dates(Warehouse(str(warehouse)), name, DATE)
    offers = pc.pa.Table.from_pylist([{}], schema=WAREHOUSE["analytics/age_offers"].row_schema)
    Warehouse(str(warehouse)).replace("analytics/age_offers", offers, DATE)
    with pytest.raises(InputError, match="add --delete-counts"):
        erase.main(settings(warehouse, tmp_path / "empty", receipt_id=ids[:1]))
    assert Warehouse(str(warehouse)).has_rows("analytics/age_offers", DATE)


def test_files_that_may_name_the_person_tomorrow_are_announced(warehouse, cleaned, ids, monkeypatch, capsys):
    (warehouse / "restricted" / "photo_ages" / f"business_date={DATE}" / "part-0.parquet#1").touch()
    monkeypatch.setattr(erase, "count_again", lambda *_: None)
    erase.main(settings(warehouse, cleaned, receipt_id=ids[:1]))
    assert "1 files of running or killed programs may name the person; tomorrow, run:" in capsys.readouterr().out


def test_a_mistyped_place_is_an_error_and_is_not_created(warehouse, landing, tmp_path, ids):
    with pytest.raises(InputError, match=r"--landing .*none: the folder does not exist"):
        erase.main(settings(warehouse, tmp_path / "none", receipt_id=ids[:1], delete_counts=True))
    with pytest.raises(InputError, match=r"--warehouse .*none has no table analytics/run_quality"):
        erase.main(settings(tmp_path / "none", landing, receipt_id=ids[:1]))
    assert not (tmp_path / "none").exists()


def test_nothing_is_erased_while_the_landing_zone_names_the_person(warehouse, landing, ids):
    before = contents(warehouse)
    message = rf"still names the person on {DATE} \(rows: photo_events 1, receipt_lines \d+, receipts 1\).*{ids[1]}"
    with pytest.raises(InputError, match=message):
        erase.main(settings(warehouse, landing, receipt_id=ids[:1]))
    assert contents(warehouse) == before


def test_counts_that_cannot_be_made_again_are_deleted_only_with_the_flag(warehouse, tmp_path, ids):
    tables = ("restricted/daily_counts", "restricted/cashier_daily_counts", "restricted/age_restricted_sales")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=rf"{DATE} can't be counted again.*add --delete-counts"):
        erase.main(settings(warehouse, tmp_path / "empty", receipt_id=ids[:1]))
    assert all(Warehouse(str(warehouse)).has_rows(name, DATE) for name in tables)
    erase.main(settings(warehouse, tmp_path / "empty", receipt_id=ids[:1], delete_counts=True))
    assert not any(Warehouse(str(warehouse)).has_rows(name, DATE) for name in tables)
    jobs = Warehouse(str(warehouse)).rows("analytics/run_quality", "job")["job"].to_pylist()
    assert set(jobs) == {"score_photos", "match_receipts"}


def test_a_date_whose_ages_are_deleted_is_not_counted_again(warehouse, cleaned, ids):
    """Without ages, the counts would become empty."""
    for name in ("restricted/photo_ages", RECEIPT_AGES):
        delete_dates(Warehouse(str(warehouse)), name, DATE)
    with pytest.raises(InputError, match="can't be counted again"):
        erase.main(settings(warehouse, cleaned, receipt_id=ids[:1]))


def test_unknown_ids_are_an_error(warehouse, landing, ids):
    with pytest.raises(InputError, match=r"no table of .* names p-nobody, r-nobody; correct these ids"):
        erase.main(settings(warehouse, landing, receipt_id=("r-nobody", ids[0]), photo_id=("p-nobody",)))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({}, "give one or more ids"),
        ({"photo_id": ("",)}, "give one or more ids"),
        ({"reason": " "}, "--reason is empty"),
        ({"time_zone": "Vienna"}, "--time-zone is 'Vienna'"),
    ],
)
def test_wrong_flags_are_refused(flags, message):
    with pytest.raises(InputError, match=message):
        erase.Settings(
            **{"warehouse": "w", "landing": "l", "reason": "request 17", "photo_id": ("p1",), "time_zone": "UTC"}
            | flags
            | ({"photo_id": ()} if not flags else {})
        )
