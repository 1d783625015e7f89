"""The rows of a warehouse by table and partition, and what must hold after a fault."""

import datetime as dt
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest
from deltalake import DeltaTable

from jobs.tables.night import NEEDS, DateSettings, Night, with_dependants
from jobs.tables.schemas import WAREHOUSE
from jobs.tables.warehouse import Warehouse
from model.cli import InputError
from tests.jobs.faults.points import LOG

REPORTS = "analytics/run_quality"
CASES = "restricted/cashier_cases"
DRAWN = {"case_id", "batch_id", "receipt_id", "till_id", "opened_at", "goods", "shown_order"}
"""Columns of a case that are drawn at random."""

TIMES = {"decided_at", "begun_at", "finished_at"}
"""Columns with the time of the run."""
STEPWISE = {REPORTS, "restricted/erasures"}
"""Tables that a run writes several times: a report is withdrawn or marked, an erasure is recorded before it begins."""

Partition = tuple[str, ...]
"""Table, date, and the second partition value, if there is one."""
Rows = dict[Partition, tuple[str, ...]]

LEFTOVERS = {
    "probe": r"\.writable",
    "uncommitted data": r".*\.parquet(#\d+)?",
    "temporary log entry": r".*/_delta_log/[^/]+#\d+",
}
"""What interrupted jobs may leave for housekeeping."""


def rows_of(warehouse: Path) -> Rows:
    """Return the rows of all partitions as sorted texts; a partition without rows is absent."""
    found: dict[Partition, list[str]] = {}
    for name, table in WAREHOUSE.items():
        uri = warehouse / name
        if not DeltaTable.is_deltatable(str(uri)):
            continue
        files = frozenset(DeltaTable(uri).file_uris())
        for row in _read(str(warehouse), name, files):
            key = (name, *(str(row[column]) for column in table.partition_by))
            shown = {
                column: value is not None if column in TIMES and value else value
                for column, value in row.items()
                if name != CASES or column not in DRAWN
            }
            found.setdefault(key, []).append(str(shown))
    return {key: tuple(sorted(rows)) for key, rows in found.items()}


@cache
def _read(warehouse: str, name: str, files: frozenset[str]) -> list[dict]:
    assert isinstance(files, frozenset)  # the key of the cache: files of a Delta table never change
    return Warehouse(warehouse).rows(name).to_pylist()


def differing(left: Rows, right: Rows) -> set[Partition]:
    """Return the partitions with other rows."""
    return {key for key in left.keys() | right.keys() if left.get(key) != right.get(key)}


def check_readers(before: Rows, now: Rows, clean: Rows) -> None:
    """Check that each partition has the rows that it had before the run, or those that it has after a clean run."""
    for key in differing(now, clean) & differing(now, before):
        assert key[0] in STEPWISE, f"{key} has rows of neither the run before nor the clean run"


def check_reports(job: str, date: dt.date, before: Rows, now: Rows, clean: Rows) -> None:
    """Check that no report speaks of rows that the warehouse does not have.

    The job's own report is the old one only if nothing has changed, and the new one only if nothing is missing. The
    reports of jobs that depend on it are there only if nothing has changed.
    """
    changed = {key for key in differing(before, now) if key[0] != REPORTS}
    missing = {key for key in differing(clean, now) if key[0] != REPORTS}
    for name in with_dependants(job):
        key = (REPORTS, str(date), name)
        report = now.get(key)
        if report and changed:
            assert name == job, f"{name} has its old report, but changed: {changed}"
            assert report == clean[key]
            assert not missing, f"{name} has its new report, but these lack the rows of a clean run: {missing}"


def check_dependants(job: str, date: dt.date, warehouse: Path, now: Rows) -> None:
    """Check that the jobs that need this one refuse the date unless it has reported."""
    if (REPORTS, str(date), job) in now:
        return
    for name, needed in NEEDS.items():
        if job in needed:
            with pytest.raises(InputError, match="has not finished"), Night(_settings(warehouse, date), name):
                pass


def _settings(warehouse: Path, date: dt.date) -> DateSettings:
    return DateSettings(warehouse=str(warehouse), business_date=date)


def leftovers(warehouse: Path) -> list[str]:
    """Return the files that no table has ever named, with their kinds.

    Raises:
        AssertionError: a file is of no kind in `LEFTOVERS`.
    """
    known = set(_named(warehouse))
    found = []
    for path in sorted(path for path in warehouse.rglob("*") if path.is_file()):
        relative = str(path.relative_to(warehouse))
        if path in known or re.fullmatch(rf".*{LOG}(\d{{20}}\.(json|checkpoint\.parquet)|_last_checkpoint)", relative):
            continue
        kind = next((kind for kind, pattern in LEFTOVERS.items() if re.fullmatch(pattern, relative)), None)
        assert kind, f"{relative} is of no known kind"
        found.append(f"{kind}: {relative}")
    return found


def _named(warehouse: Path) -> Iterable[Path]:
    for name in WAREHOUSE:
        if DeltaTable.is_deltatable(str(warehouse / name)):
            for uri in DeltaTable(warehouse / name).file_uris():
                yield Path(uri.removeprefix("file://"))
