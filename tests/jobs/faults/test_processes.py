"""Real processes: one that is killed, and several at the same time."""

import re
import shutil
import signal
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from jobs import build_affinity, keep_house
from jobs.tables.schemas import WAREHOUSE
from jobs.tables.warehouse import Warehouse
from model.cli import TryAgainError
from tests.jobs.faults.conftest import DATE, YESTERDAY
from tests.jobs.faults.points import KILLS, Fault
from tests.jobs.faults.processes import context, night, rebuild, run_with_fault, together
from tests.jobs.faults.states import REPORTS, differing, rows_of

COUNTS = "restricted/daily_counts"
COUNTED = (COUNTS, "restricted/daily_store_counts", "restricted/catalogue", "restricted/cashier_daily_counts")
AGAIN = re.compile("run (it )?again")


def files_of(warehouse: Path) -> Counter:
    """Count the files by name, without the random parts."""
    names = Counter()
    for path in warehouse.rglob("*"):
        name = re.sub(r"[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}", "*", str(path.relative_to(warehouse)))
        names[name] += 1
    return names


def test_a_simulated_kill_leaves_the_same_files_as_a_signal(publication, everything):
    points = [point for point in publication.points if set(KILLS) <= set(point.kinds)]
    faults = [Fault(point.name, kind) for point in points for kind in KILLS]
    assert len(faults) >= 20
    for fault in faults if everything else faults[-8::3]:
        publication.restore()
        publication.check_fault(fault)
        simulated = files_of(publication.warehouse)
        publication.restore()
        settings = publication.run.args[0]
        process = context().Process(
            target=run_with_fault, args=(build_affinity.main, settings, publication.warehouse, fault)
        )
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert files_of(publication.warehouse) == simulated, fault


def rows(writer: str, n_rows: int) -> pa.Table:
    items = [{"item": f"{writer}{number}"} for number in range(n_rows)]
    return pa.Table.from_pylist(items, schema=WAREHOUSE[COUNTS].row_schema)


def replace_often(job: tuple[Path, str]) -> None:
    """Replace one date twenty times; go on if another writer has won."""
    warehouse, writer = Warehouse(str(job[0])), job[1]
    for turn in range(20):
        try:
            warehouse.replace(COUNTS, rows(f"{writer}{turn}-", 50), DATE)
        except Exception as error:
            if not AGAIN.search(str(error)):
                raise


def test_writers_of_one_date_never_double_or_mix_its_rows(tmp_path):
    warehouse = Warehouse(str(tmp_path))
    warehouse.create_tables()
    warehouse.replace(COUNTS, rows("yesterday", 7), YESTERDAY)
    errors = together(*([(replace_often, (tmp_path, writer))] for writer in "xyz"))
    assert errors == [""] * 3
    items = warehouse.rows(COUNTS, "item", first=DATE)["item"].to_pylist()
    assert len(items) == len(set(items)) == 50
    assert len({item.partition("-")[0] for item in items}) == 1
    assert len(warehouse.rows(COUNTS, last=YESTERDAY)) == 7


def check_errors(errors: list[str]) -> None:
    for error in filter(None, errors):
        assert AGAIN.search(error), error


@pytest.fixture
def clean(published, tmp_path):
    """The rows after one night without another writer."""
    warehouse = shutil.copytree(published, tmp_path / "clean")
    for job, settings in night(warehouse, DATE):
        job(settings)
    return rows_of(warehouse)


def test_two_nights_of_one_date_end_with_one_winner(published, clean, tmp_path, everything):
    for number in range(10 if everything else 2):
        warehouse = shutil.copytree(published, tmp_path / str(number))
        errors = together(night(warehouse, DATE), night(warehouse, DATE))
        check_errors(errors)
        if all(errors):  # each has stopped the other: the operator, or Airflow, runs it again
            assert together(night(warehouse, DATE)) == [""]
        assert differing(rows_of(warehouse), clean) == set()


def replace_counts(warehouses: tuple[Path, Path]) -> None:
    """Bring the counts of yesterday and their report from another warehouse, as `count_purchases` leaves them."""
    source, target = (Warehouse(str(warehouse)) for warehouse in warehouses)
    none = WAREHOUSE[REPORTS].row_schema.empty_table()
    for job in ("build_affinity", "screen_cashiers", "count_purchases"):
        target.replace(REPORTS, none, YESTERDAY, job=job)
    for name in COUNTED:
        target.replace(
            name, source.rows(name, first=YESTERDAY, last=YESTERDAY).drop_columns("business_date"), YESTERDAY
        )
    reports = source.rows(REPORTS, first=YESTERDAY, last=YESTERDAY)
    of_counts = reports.filter(pc.equal(reports["job"], "count_purchases")).drop_columns(["business_date", "job"])
    target.replace(REPORTS, of_counts, YESTERDAY, job="count_purchases")


def keep_house_often(path: Path) -> None:
    """Keep house ten times; go on if another job has changed a date."""
    for _ in range(10):
        with suppress(TryAgainError):
            keep_house.main(keep_house.Settings(warehouse=str(path), delete=True))


def test_night_beside_backfill_beside_housekeeping_ends_as_if_they_had_run_one_after_the_other(
    published, counted_warehouse, tmp_path, everything
):
    recounted = counted_warehouse([YESTERDAY, DATE], 40, 5, n_products=6)
    clean = shutil.copytree(published, tmp_path / "clean")
    for step, argument in [(replace_counts, (recounted, clean)), *rebuild(clean)]:
        step(argument)
    for number in range(10 if everything else 1):
        warehouse = shutil.copytree(published, tmp_path / str(number))
        backfill = [(replace_counts, (recounted, warehouse)), *rebuild(warehouse)]
        errors = together(night(warehouse, DATE), backfill, [(keep_house_often, warehouse)])
        check_errors(errors)
        steps = [night(warehouse, DATE), backfill, []]
        for failed, error in zip(steps, errors, strict=True):
            assert not error or together(failed) == [""]
        assert together(rebuild(warehouse)) == [""]
        assert differing(rows_of(warehouse), rows_of(clean)) == set()
