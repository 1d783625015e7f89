"""Housekeeping of a warehouse of 40 dates: what is due is found in no file; without --delete nothing changes."""

import datetime as dt
import hashlib
import shutil
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from jobs import build_affinity, keep_house
from jobs.tables.duck import connect
from jobs.tables.retention import AGES, CASHIER_COUNTS, COUNTS, QUARANTINE, Retention
from jobs.tables.schemas import WAREHOUSE
from jobs.tables.upkeep import stored_dates
from jobs.tables.warehouse import Warehouse
from jobs.tables.windows import read_versions, stale_dates, window_dates
from model.cli import InputError

NEWEST = dt.date(2026, 11, 9)
DATES = [NEWEST - dt.timedelta(days) for days in range(39, -1, -1)]
IDS = ("photo_id", "receipt_id", "cashier_id", "key")


def rows_of(name: str, date: dt.date) -> pa.Table:
    """Return a row in which each text names the column and the date."""
    schema = WAREHOUSE[name].row_schema
    texts = {field.name: f"{field.name}-of-{date}" for field in schema if field.type == pa.string()}
    lists = {field.name: [f"photo_id-of-{date}"] for field in schema if pa.types.is_list(field.type)}
    return pa.Table.from_pylist([texts | lists], schema=schema)


def write_dates(root: Path, name: str, rows: list[pa.Table], **part: str) -> None:
    """Replace all dates of a table in one commit, which takes a fortieth of the time."""
    table = WAREHOUSE[name]
    stamped = []
    for date, of_date in zip(DATES, rows, strict=True):
        for column, value in {"business_date": date, **part}.items():
            of_date = of_date.append_column(column, pa.repeat(pa.scalar(value), len(of_date)))  # noqa: PLW2901
        stamped.append(of_date.select(table.schema.names).cast(table.schema))
    write_deltalake(root / name, pa.concat_tables(stamped), mode="overwrite", partition_by=list(table.partition_by))


@pytest.fixture(scope="module")
def forty_dates(tmp_path_factory) -> Path:
    """Rows of the tables that name photos, receipts or cashiers, twice written, and reports."""
    root = tmp_path_factory.mktemp("forty")
    Warehouse(str(root)).create_tables()
    for name in (*AGES, *CASHIER_COUNTS, COUNTS[0]):
        for _ in range(2):
            write_dates(root, name, [rows_of(name, date) for date in DATES])
    write_dates(root, QUARANTINE[0], [rows_of(QUARANTINE[0], date) for date in DATES], source_table="receipts")
    line = {"source_table": "", "measure": "counts_hash", "text": "hash"}
    report = pa.Table.from_pylist([line], schema=WAREHOUSE["analytics/run_quality"].row_schema)
    write_dates(root, "analytics/run_quality", [report] * len(DATES), job="count_purchases")
    return root


@pytest.fixture
def root(forty_dates, tmp_path) -> Path:
    return shutil.copytree(forty_dates, tmp_path / "warehouse")


def run(root: Path, **flags: object) -> None:
    keep_house.main(keep_house.Settings(warehouse=str(root), **flags))


def found(content: bytes, date: dt.date) -> list[str]:
    return [name for name in IDS if f"{name}-of-{date}".encode() in content]


def test_no_file_contains_an_id_of_a_date_that_is_due(root, file_content, capsys):
    before = file_content(root)
    assert all(found(before, date) == list(IDS) for date in DATES)
    run(root, delete=True, keep_counts_days=38)
    after = file_content(root)
    kept = 35
    assert [found(after, date) for date in DATES[:-kept]] == [[]] * 5
    assert [found(after, date) for date in DATES[-kept:]] == [list(IDS)] * kept
    assert len(list(root.glob("restricted/*/business_date=*/**/*.parquet"))) == 5 * 35 + 38
    printed = capsys.readouterr().out
    rows = {line.split()[0]: line.split()[1:] for line in printed.splitlines() if line.startswith("restricted/")}
    assert rows["restricted/photo_ages"] == ["35", "5", "5", "35", str(DATES[-kept])]
    assert rows["restricted/daily_counts"] == ["38", "2", "2", "38", str(DATES[-38])]
    assert [folder.name for folder in (root / AGES[0]).glob("business_date=*")] != []
    assert not (root / AGES[0] / f"business_date={DATES[0]}").exists()


def test_without_delete_no_byte_changes(root, capsys):
    def digest() -> str:
        files = sorted(path for path in root.rglob("*") if path.is_file())
        content = b"".join(str(path).encode() + path.read_bytes() for path in files)
        return hashlib.sha256(content).hexdigest()

    before = digest()
    run(root)
    assert digest() == before
    printed = capsys.readouterr().out
    assert "nothing was changed; add --delete to delete it" in printed
    assert f"newest business date {NEWEST}" in printed
    assert "files of replaced rows: 200" in printed


def test_a_warehouse_of_an_earlier_version_lacks_tables_and_can_be_looked_at(root, capsys):
    for name in ("restricted/erasures", "restricted/cashier_cases", "restricted/cashier_screening"):
        shutil.rmtree(root / name)
    run(root)
    assert "nothing was changed" in capsys.readouterr().out


def test_a_second_run_deletes_nothing(root, capsys):
    run(root, delete=True)
    rows = {name: stored_dates(Warehouse(str(root)), name) for name in WAREHOUSE}
    capsys.readouterr()
    run(root, delete=True)
    assert {name: stored_dates(Warehouse(str(root)), name) for name in WAREHOUSE} == rows
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("restricted/")]
    assert {(line[2], line[3]) for line in lines} == {("0", "0")}


def test_windows_with_deleted_counts_are_neither_stale_nor_published(root):
    """The published windows of a date are more complete than those that could be published after the deletion."""
    with connect(str(root), restricted=True) as connection:
        before = read_versions(connection)
    assert stale_dates(before) == DATES  # nothing is published
    run(root, delete=True, keep_counts_days=35)
    with connect(str(root), restricted=True) as connection:
        after = read_versions(connection)
    assert [date for date, version in after.items() if version.counts_deleted] == DATES[:5]
    assert stale_dates(after) == DATES[5 + 27 :]
    assert {window_dates(after, date).hash for date in DATES} == {window_dates(before, date).hash for date in DATES}
    with pytest.raises(
        InputError, match=rf"the windows of {DATES[31]} contain dates whose counts are deleted, such as {DATES[4]}"
    ):
        build_affinity.main(build_affinity.Settings(warehouse=str(root), business_date=DATES[31]))


def test_counts_that_were_deleted_before_their_report_was_written_are_marked_later(root):
    report = Warehouse(str(root)).rows("analytics/run_quality", first=DATES[0], last=DATES[0])
    line = report.select(WAREHOUSE["analytics/run_quality"].row_schema.names)
    empty = line.schema.empty_table()
    Warehouse(str(root)).replace("analytics/run_quality", empty, DATES[0], job="count_purchases")
    run(root, delete=True, keep_counts_days=35)
    Warehouse(str(root)).replace("analytics/run_quality", line, DATES[0], job="count_purchases")
    run(root, delete=True, keep_counts_days=35)
    with connect(str(root), restricted=True) as connection:
        assert read_versions(connection)[DATES[0]].counts_deleted


def test_a_date_that_is_counted_again_is_not_marked_as_deleted(root):
    run(root, delete=True, keep_counts_days=35)
    report = pa.Table.from_pylist(
        [{"source_table": "", "measure": "counts_hash", "text": "new"}],
        schema=WAREHOUSE["analytics/run_quality"].row_schema,
    )
    Warehouse(str(root)).replace("analytics/run_quality", report, DATES[0], job="count_purchases")
    with connect(str(root), restricted=True) as connection:
        versions = read_versions(connection)
    assert (versions[DATES[0]].counts_deleted, versions[DATES[1]].counts_deleted) == (False, True)


def test_a_night_with_a_wrong_year_does_not_expire_the_others(root, capsys):
    wrong = NEWEST.replace(year=2099)
    Warehouse(str(root)).replace(AGES[0], rows_of(AGES[0], wrong), wrong)
    line = pa.Table.from_pylist([{"measure": "rows"}], schema=WAREHOUSE["analytics/run_quality"].row_schema)
    Warehouse(str(root)).replace("analytics/run_quality", line, wrong, job="score_photos")
    run(root, delete=True)
    assert list(stored_dates(Warehouse(str(root)), AGES[0])) == [*DATES[-35:], wrong]
    assert f"warning: {wrong} is in the future" in capsys.readouterr().out


def test_an_interrupted_erasure_is_reported(root, capsys):
    schema = WAREHOUSE["restricted/erasures"].row_schema
    begun = dt.datetime(2026, 11, 10, tzinfo=dt.UTC)
    for date, finished in ((DATES[-2], None), (NEWEST, begun)):
        row = {"begun_at": begun, "finished_at": finished, "reason": "request 17", "n_rows": 3}
        Warehouse(str(root)).replace("restricted/erasures", pa.Table.from_pylist([row], schema=schema), date)
    run(root, delete=True)
    assert f"warning: an erasure of {DATES[-2]} was interrupted" in capsys.readouterr().out


def test_a_warehouse_without_reports_is_an_error(tmp_path):
    Warehouse(str(tmp_path)).create_tables()
    with pytest.raises(InputError, match=r"has no reports of a night up to \d{4}-\d\d-\d\d"):
        run(tmp_path, delete=True)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"keep_ages_days": 27}, "keep_ages_days is 27; it must be at least 28"),
        ({"keep_not_in_review_days": 91}, "keep_not_in_review_days is 91; it must be at most keep_review_days, 90"),
        ({"keep_published_days": 90}, "keep_published_days is 90; it must be at least 91"),
    ],
)
def test_a_wrong_retention_is_refused(flags, message):
    with pytest.raises(InputError, match=message):
        Retention(**flags)


def test_every_table_has_a_retention():
    assert {*Retention().days, "restricted/cashier_cases"} == set(WAREHOUSE)
