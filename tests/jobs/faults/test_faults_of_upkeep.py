"""The programs beside the night fail, or are killed, at each of their writes."""

import csv
import datetime as dt
import functools
import os
import shutil
import time
from pathlib import Path

import pyarrow as pa
import pytest

from jobs import erase, keep_house, review_cases, watch_ages
from jobs.tables.case_files import is_answered, open_cases
from jobs.tables.retention import CASHIER_COUNTS, COUNTS, ERASURES
from jobs.tables.schemas import WAREHOUSE
from jobs.tables.warehouse import Warehouse
from tests.jobs.faults.conftest import DATE, LONG_AGO, YESTERDAY, make_old
from tests.jobs.faults.hooks import watched
from tests.jobs.faults.points import KILLED_HALF_WAY, Fault, Killed, Writes
from tests.jobs.faults.states import CASES, REPORTS, Rows, differing, leftovers
from tests.jobs.faults.trials import Trial, check_all

PHOTO_AGES, RECEIPT_AGES, SALES = "restricted/photo_ages", "restricted/receipt_ages", "restricted/age_restricted_sales"


def write(warehouse: Path, name: str, date: dt.date, *rows: dict, **part: str) -> None:
    Warehouse(str(warehouse)).replace(
        name, pa.Table.from_pylist(list(rows), schema=WAREHOUSE[name].row_schema), date, **part
    )


def check_marks(now: Rows, before: Rows) -> None:
    """A date whose counts are deleted is marked, so that no window contains it."""
    for name, mark in ((COUNTS[0], "counts_deleted"), (CASHIER_COUNTS[0], "cashier_counts_deleted")):
        for _, date in {key for key in before.keys() - now.keys() if key[0] == name}:
            report = now.get((REPORTS, date, "count_purchases"), ())
            assert any(f"'{mark}'" in row for row in report), f"{name} of {date} is deleted without a mark"


@pytest.fixture(scope="module")
def housekeeping(screened, tmp_path_factory) -> Trial:
    """`keep_house --delete` with old rows in all tables, files of replaced rows, and what interrupted jobs left."""
    folder = tmp_path_factory.mktemp("housekeeping")
    start, warehouse = shutil.copytree(screened, folder / "start"), folder / "warehouse"
    for name in (COUNTS[0], PHOTO_AGES):
        for _ in range(2):
            write(start, name, LONG_AGO, {})
            write(start, name, DATE, {})
    settings = keep_house.Settings(warehouse=str(warehouse), delete=True)
    trial = Trial(
        name="keep_house", date=DATE, start=start, warehouse=warehouse, run=functools.partial(keep_house.main, settings)
    )
    trial.check_more = lambda now: check_marks(now, trial.before)
    return trial.count()


@pytest.fixture(scope="module")
def watch(published, tmp_path_factory) -> Trial:
    """`watch_ages` with an old report."""
    folder = tmp_path_factory.mktemp("watch")
    start, warehouse = shutil.copytree(published, folder / "start"), folder / "warehouse"
    make_old(start, f"{REPORTS}:watch_ages")
    settings = watch_ages.Settings(warehouse=str(warehouse), business_date=DATE)
    run = functools.partial(watch_ages.main, settings)
    return Trial(name="watch_ages", job="watch_ages", date=DATE, start=start, warehouse=warehouse, run=run).count()


def answer_open_cases(warehouse: Path) -> None:
    """Answer all open cases in one file."""
    cases = [case["case_id"] for case in open_cases(str(warehouse)).cases if not is_answered(case)]
    if cases:
        with (warehouse.parent / "answers.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("case_id", *review_cases.QUESTIONS), *((case, "yes", "no") for case in cases)])
        review_cases.import_answers(
            review_cases.Import(warehouse=str(warehouse), file=Path(file.name), reviewer="R. Meyer")
        )


@pytest.fixture(scope="module")
def answers(tmp_path_factory) -> Trial:
    """`review_cases import` of a file with batches of two dates."""
    folder = tmp_path_factory.mktemp("answers")
    start, warehouse = folder / "start", folder / "warehouse"
    Warehouse(str(start)).create_tables()
    write(start, REPORTS, DATE, {"measure": "rows"}, job="screen_cashiers")
    for date in (YESTERDAY, DATE):
        opened_at = dt.datetime(2026, 11, 9, 9, tzinfo=dt.UTC)
        case = {"batch_id": f"batch-{date}", "opened_at": opened_at, "delete_after": dt.date(2027, 2, 7)}
        write(start, CASES, date, *(case | {"case_id": f"case-{date}-{n}", "shown_order": n} for n in range(3)))
    run = functools.partial(answer_open_cases, warehouse)
    return Trial(name="review_cases import", date=DATE, start=start, warehouse=warehouse, run=run).count()


@pytest.fixture(scope="module")
def erasure(published, tmp_path_factory) -> Trial:
    """`erase` of a receipt whose date is no longer in the landing zone, so that its counts are deleted."""
    folder = tmp_path_factory.mktemp("erasure")
    start, warehouse, landing = shutil.copytree(published, folder / "start"), folder / "warehouse", folder / "landing"
    landing.mkdir()
    for name, column in ((PHOTO_AGES, "photo_id"), (RECEIPT_AGES, "receipt_id"), (CASES, "receipt_id")):
        case = {"delete_after": dt.date(2027, 2, 7)} if name == CASES else {}
        photos = [{"photo_ids": [f"p{number}"]} if name == RECEIPT_AGES else {} for number in (1, 2)]
        write(start, name, DATE, *({column: f"{column[0]}{number}", **photos[number - 1], **case} for number in (1, 2)))
    write(start, "restricted/quarantine", DATE, {"key": "r1/1"}, {"key": "r2/1"}, source_table="receipt_lines")
    settings = erase.Settings(
        warehouse=str(warehouse),
        landing=str(landing),
        receipt_id=("r1",),
        reason="request 17",
        delete_counts=True,
        time_zone="UTC",
    )

    def is_open(now: Rows) -> None:
        if differing(now, trial.before) and differing(now, trial.clean):
            assert "'finished_at': None" in str(now.get((ERASURES, str(DATE)))), "the erasure is not recorded as open"

    trial = Trial(
        name="erase", date=DATE, start=start, warehouse=warehouse, run=functools.partial(erase.main, settings)
    )
    trial.check_more = is_open
    return trial.count()


TRIALS = ("housekeeping", "watch", "answers", "erasure")


@pytest.fixture
def trial(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("trial", TRIALS, indirect=True)
def test_after_a_fault_at_any_write_readers_see_whole_dates_and_a_second_run_ends_well(trial, everything, capsys):
    table = check_all(trial, everything=everything)
    if everything:
        with capsys.disabled():
            print(f"\n{table}")


@pytest.mark.parametrize("trial", TRIALS, indirect=True)
def test_the_rows_of_a_clean_run_differ_from_those_before(trial):
    differs = {key[0] for key in differing(trial.before, trial.clean)}
    written = {name.split()[1] for name, _ in trial.points if name.startswith(("write_deltalake", "DeltaTable.delete"))}
    assert differs == written


def test_an_exported_file_is_whole_or_absent(answers, tmp_path):
    answers.restore()
    out = tmp_path / "out" / "cases.csv"
    settings = review_cases.Export(warehouse=str(answers.warehouse), out=out, open=True)

    def export(fault: Fault | None = None) -> Writes:
        shutil.rmtree(out.parent, ignore_errors=True)
        out.parent.mkdir()
        with watched(Writes(out.parent, fault)) as writes:
            review_cases.export(settings)
        return writes

    points = export().points()
    content = out.read_bytes()
    assert len(points) >= 3
    for point in points:
        for kind in point.kinds:
            with pytest.raises((Killed, Exception)):
                export(Fault(point.name, kind))
            assert not out.exists() or out.read_bytes() == content
            for file in out.parent.iterdir():  # also the draft, whose name contains the number of the process
                file.unlink()
            review_cases.export(settings)
            assert out.read_bytes() == content


def test_housekeeping_removes_what_killed_jobs_have_left(publication):
    publication.restore()
    for point in publication.points[-3:]:
        if KILLED_HALF_WAY in point.kinds:
            publication.check_fault(Fault(point.name, KILLED_HALF_WAY))
    found = leftovers(publication.warehouse)
    assert {line.partition(":")[0] for line in found} == {"uncommitted data", "temporary log entry"}
    for path in publication.warehouse.rglob("*"):
        two_days_ago = time.time() - 48 * 3600
        os.utime(path, (two_days_ago, two_days_ago))
    keep_house.main(keep_house.Settings(warehouse=str(publication.warehouse), delete=True))
    assert leftovers(publication.warehouse) == []
    publication.check_end()
