import datetime as dt

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from jobs.tables import night as night_module, quarantine
from jobs.tables.night import NEEDS, DateSettings, LandingSettings, Night
from jobs.tables.schemas import LANDING, WAREHOUSE
from model.cli import InputError

DATE = dt.date(2026, 11, 9)
COUNTS = "restricted/daily_counts"


@pytest.fixture
def open_night(spark, tmp_path):
    """Return a function that opens a Night on a landing zone with three receipts, one of them without a till."""
    folder = tmp_path / "landing" / "receipts" / f"business_date={DATE}"
    folder.mkdir(parents=True)
    receipts = [{"receipt_id": name, "till_id": till} for name, till in (("r1", "t1"), ("r2", "t1"), ("r3", None))]
    pq.write_table(pa.Table.from_pylist(receipts, schema=LANDING["receipts"]), folder / "part-0.parquet")
    assert spark  # the night uses this session

    def make(job="score_photos", date=DATE, tables=("receipts",)):
        settings = LandingSettings(
            business_date=date, landing=str(tmp_path / "landing"), warehouse=str(tmp_path / "warehouse")
        )
        return Night(settings, job, landing_tables=tables)

    return make


@pytest.fixture
def report(tmp_path):
    """Return a function that reads the report of a job: {(source table, measure): value or text}."""

    def read(job="score_photos"):
        table = DeltaTable(tmp_path / "warehouse" / "analytics" / "run_quality")
        lines = [line for line in table.to_pyarrow_table().to_pylist() if line["job"] == job]
        return {
            (line["source_table"], line["measure"]): line["value"] if line["text"] is None else line["text"]
            for line in lines
        }

    return read


def screen(night):
    return quarantine.screen(night.landing("receipts"), "receipts", [quarantine.missing_value("till_id")]).persist()


def test_rejected_rows_are_counted_and_the_report_has_all_measures(open_night, report, tmp_path):
    with open_night() as night:
        screened = screen(night)
        unreadable = screened.where("receipt_id = 'r2'").selectExpr(
            "receipt_id AS key", "'late' AS reason", "'' AS detail"
        )
        counts = night.set_aside("receipts", screened, unreadable)
        night.measure(share=0.5, version="v1", unknown=None)
    assert counts == {"rows_in": 3, "rows_used": 1, "rows_quarantined": 2, "rows_duplicate": 0}
    assert report() == {("receipts", name): value for name, value in counts.items()} | {
        ("", "share"): 0.5,
        ("", "version"): "v1",
        ("", "unknown"): None,
    }
    rejected = DeltaTable(tmp_path / "warehouse" / "restricted" / "quarantine").to_pyarrow_table().to_pylist()
    assert {(row["key"], row["reason"]) for row in rejected} == {("r2", "late"), ("r3", "missing_value")}


def test_the_report_is_absent_from_the_first_write_until_the_job_ends(open_night, rows, report):
    with open_night() as night:
        night.measure(run="first")
        night.replace(COUNTS, rows(COUNTS, {}))
    with open_night() as night:
        night.measure(run="second")
        assert report() == {("", "run"): "first"}
        night.replace(COUNTS, rows(COUNTS, {}))
        assert report() == {}
    assert report() == {("", "run"): "second"}


def test_a_failed_job_leaves_no_report_and_the_next_job_fails(open_night, rows, report):
    def fail():
        with open_night() as night:
            night.measure(run="first")
            night.replace(COUNTS, rows(COUNTS, {}))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert report() == {}
    with pytest.raises(InputError, match="score_photos has not finished 2026-11-09"), open_night("match_receipts"):
        pass


@pytest.fixture
def finish(open_night):
    """Return a function that runs jobs which only write a report."""

    def run(*jobs):
        for job in jobs:
            with open_night(job) as night:
                night.measure(run="first")

    return run


@pytest.mark.parametrize(
    ("job", "needed", "finished"),
    [
        ("match_receipts", "score_photos", []),
        ("count_purchases", "match_receipts", ["score_photos"]),
        ("build_affinity", "count_purchases", ["score_photos", "match_receipts"]),
        ("screen_cashiers", "count_purchases", ["score_photos", "match_receipts"]),
        ("watch_ages", "count_purchases", ["score_photos", "match_receipts"]),
    ],
)
def test_a_job_requires_the_reports_of_the_jobs_that_it_needs(open_night, finish, job, needed, finished):
    finish(*finished)
    with pytest.raises(InputError, match=f"{needed} has not finished 2026-11-09"), open_night(job):
        pass
    finish(needed, job)


@pytest.mark.parametrize(
    ("job", "removed"),
    [
        ("score_photos", set(NEEDS)),
        ("match_receipts", {"match_receipts", "count_purchases", "build_affinity", "screen_cashiers", "watch_ages"}),
        ("count_purchases", {"count_purchases", "build_affinity", "screen_cashiers", "watch_ages"}),
        ("build_affinity", {"build_affinity"}),
        ("screen_cashiers", {"screen_cashiers"}),
        ("watch_ages", {"watch_ages"}),
    ],
)
def test_the_first_write_removes_the_reports_of_the_job_and_its_dependants(open_night, report, finish, job, removed):
    finish(*NEEDS)
    with open_night(job) as night:
        night.clear(COUNTS)
        assert {name for name in NEEDS if not report(name)} == removed
        night.measure(run="second")
    assert {name: report(name) for name in NEEDS} == {
        name: {("", "run"): "second"} if name == job else {} if name in removed else {("", "run"): "first"}
        for name in NEEDS
    }


def test_each_job_is_listed_after_the_jobs_that_it_needs():
    jobs = list(NEEDS)
    assert all(jobs.index(needed) < jobs.index(job) for job in jobs for needed in NEEDS[job])


def test_a_job_reads_only_its_business_date(open_night, rows):
    for day in range(6, 11):
        with open_night(date=dt.date(2026, 11, day), tables=()) as night:
            night.replace(COUNTS, rows(COUNTS, {"item": str(day)}))
    with open_night() as night:
        assert [row.item for row in night.read(COUNTS).collect()] == ["9"]


def test_a_job_without_a_landing_zone_needs_neither_java_nor_spark(finish, report, tmp_path, monkeypatch):
    def fail(*_):
        raise AssertionError

    finish("score_photos", "match_receipts", "count_purchases")
    monkeypatch.setattr(night_module, "check_java", fail)
    monkeypatch.setattr(night_module, "spark_session", fail)
    settings = DateSettings(business_date=DATE, warehouse=str(tmp_path / "warehouse"))
    with Night(settings, "build_affinity") as night:
        bands = [{"age_band": "0_plus", "from_years": 0, "to_years": 120}]
        schema = WAREHOUSE["analytics/age_bands"].row_schema
        night.replace("analytics/age_bands", pa.Table.from_pylist(bands, schema=schema))
        night.measure(run="second")
        with pytest.raises(ValueError, match="build_affinity has no landing zone"):
            _ = night.place
    assert report("build_affinity") == {("", "run"): "second"}


def test_a_warehouse_of_another_version_is_an_error_before_anything_is_written(open_night, tmp_path):
    table = tmp_path / "warehouse" / COUNTS
    DeltaTable.create(table, schema=pa.schema({"business_date": pa.date32(), "age_band": pa.string()}))
    with pytest.raises(InputError, match="restricted/daily_counts: column age_year is missing"), open_night():
        pass
    assert list((tmp_path / "warehouse").iterdir()) == [table.parent]


def test_input_is_checked_before_anything_is_written(open_night, tmp_path):
    with (
        pytest.raises(InputError, match="products of 2026-11-09 is missing"),
        open_night(tables=("receipts", "products")),
    ):
        pass
    assert not (tmp_path / "warehouse").exists()
