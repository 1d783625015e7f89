"""Keep the files of the warehouse: delete dates, the files of old versions, and what interrupted programs have left."""

import datetime as dt
import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError
from pyarrow import fs

from jobs.tables.landing import Place
from jobs.tables.private_files import close_to_others
from jobs.tables.schemas import WAREHOUSE
from jobs.tables.warehouse import Warehouse, closed_if_restricted, writer_properties
from model.cli import TryAgainError

UNCOMMITTED_MAX_AGE_HOURS = 24
"""Files that no commit names are deleted when they are older than this; no job runs that long."""

_UNFINISHED = re.compile(r".*#\d+|_commit_.*\.tmp|\.writable")
"""Names of files that the Delta writer renames when they are complete. A killed program leaves them behind, and the
vacuum of delta-rs does not see them."""


class Stored(NamedTuple):
    """What a table holds of one date."""

    n_files: int
    n_rows: int
    n_bytes: int


def stored_dates(warehouse: Warehouse, name: str) -> dict[dt.date, Stored]:
    """Return what a table holds, by date, ascending."""
    uri = warehouse.table_uri(name)
    if not DeltaTable.is_deltatable(uri):
        return {}
    files = pa.table(DeltaTable(uri).get_add_actions(flatten=True))
    grouped = files.group_by("partition.business_date").aggregate(
        [([], "count_all"), ("num_records", "sum"), ("size_bytes", "sum")]
    )
    columns = ("partition.business_date", "count_all", "num_records_sum", "size_bytes_sum")
    rows = zip(*(grouped[column].to_pylist() for column in columns), strict=True)
    return {date: Stored(*counts) for date, *counts in sorted(rows)}


def delete_dates(warehouse: Warehouse, name: str, last: dt.date) -> None:
    """Delete the rows of all dates up to `last`. The predicate is stored in the log, so it must never name an id.

    Raises:
        TryAgainError: another writer changed one of these dates at the same time; nothing was deleted.
    """
    if not any(date <= last for date in stored_dates(warehouse, name)):
        return
    try:
        with closed_if_restricted(name):
            DeltaTable(warehouse.table_uri(name)).delete(f"business_date <= '{last}'")
    except CommitFailedError:
        raise TryAgainError(f"{name} up to {last}: another writer changed it at the same time; run again") from None


def dead_files(warehouse: Warehouse, name: str) -> list[str]:
    """Return the files of replaced and deleted rows that still exist."""
    exists = DeltaTable.is_deltatable(warehouse.table_uri(name))
    return _vacuum(warehouse, name, hours=0, full=False, dry_run=True) if exists else []


def vacuum(warehouse: Warehouse, name: str) -> None:
    """Delete the files of replaced and deleted rows, so that nobody can read an old version of the table.

    - A file that a commit has removed is deleted at once ("lite" vacuum: only such files). A reader that opened the
      table before that commit fails and must be run again.
    - A file that no commit names belongs to a writer that has not committed yet, or to one that was interrupted. It
      is deleted after UNCOMMITTED_MAX_AGE_HOURS ("full" vacuum), never at once.
    """
    for hours, full in ((0, False), (UNCOMMITTED_MAX_AGE_HOURS, True)):
        run = partial(_vacuum, warehouse, name, hours=hours, full=full)
        if run(dry_run=True):  # a vacuum without files would write to the log
            run(dry_run=False)


def _vacuum(warehouse: Warehouse, name: str, *, hours: int, full: bool, dry_run: bool) -> list[str]:
    table = DeltaTable(warehouse.table_uri(name))
    with closed_if_restricted(name):
        files: list[str] = table.vacuum(hours, dry_run=dry_run, enforce_retention_duration=False, full=full)
    if not dry_run or not files:
        return files
    # A dry run lists files that an earlier vacuum has deleted too.
    root = f"{warehouse.place.path}/{name}"
    found = warehouse.place.filesystem.get_file_info([f"{root}/{file}" for file in files])
    return [file for file, info in zip(files, found, strict=True) if info.type == fs.FileType.File]


def shorten_log(warehouse: Warehouse, name: str) -> None:
    """Write a checkpoint, and delete the log before it that is older than 30 days, which is Delta's default.

    Several files of one date are first merged, unless a job writes to the table at the same time.
    """
    table = DeltaTable(warehouse.table_uri(name))
    with closed_if_restricted(name):
        if any(stored.n_files > 1 for stored in stored_dates(warehouse, name).values()):
            with suppress(CommitFailedError):
                table.optimize.compact(writer_properties=writer_properties(name))
        table.create_checkpoint()
        table.cleanup_metadata()


def leftovers(place: Place, min_age_hours: float = UNCOMMITTED_MAX_AGE_HOURS) -> list[str]:
    """Return the unfinished files of interrupted programs.

    An object store has none; let it abort incomplete uploads itself.
    """
    if not isinstance(place.filesystem, fs.LocalFileSystem):
        return []
    before = time.time() - min_age_hours * 3600
    return sorted(str(path) for path in _unfinished(place) if path.lstat().st_mtime <= before)


def young_files(warehouse: Warehouse) -> list[str]:
    """Return the files of running and of killed programs that are too young to be deleted."""
    found = set(leftovers(warehouse.place, 0)) - set(leftovers(warehouse.place))
    for name in WAREHOUSE:
        if DeltaTable.is_deltatable(warehouse.table_uri(name)):
            unnamed, old = (
                _vacuum(warehouse, name, hours=hours, full=True, dry_run=True)
                for hours in (0, UNCOMMITTED_MAX_AGE_HOURS)
            )
            young = set(unnamed) - set(old) - set(dead_files(warehouse, name))
            found |= {f"{warehouse.place.path}/{name}/{file}" for file in young}
    return sorted(found)


def _unfinished(place: Place) -> Iterator[Path]:
    staged = Path(place.path) / "restricted" / "_staging"  # of earlier versions, which passed rows on through files
    for folder, _, names in os.walk(place.path):
        is_staged = staged in (Path(folder), *Path(folder).parents)
        yield from (Path(folder, name) for name in names if is_staged or _UNFINISHED.fullmatch(name))


def remove_leftovers(place: Place) -> None:
    """Remove what `leftovers` returns."""
    for path in leftovers(place):
        with suppress(FileNotFoundError):
            place.filesystem.delete_file(path)


def remove_empty_dates(place: Place, name: str, last: dt.date) -> None:
    """Remove the empty folders of the dates up to `last`. Object stores have none."""
    if isinstance(place.filesystem, fs.LocalFileSystem):
        for folder in (Path(place.path) / name).glob("business_date=*"):
            if folder.name <= f"business_date={last}":
                for empty in (*folder.glob("*=*"), folder):
                    with suppress(OSError):  # not empty
                        empty.rmdir()


def close_restricted(place: Place) -> int:
    """Close what others could open under `restricted/`; return the number of files and folders that were open.

    The jobs write closed files; a restored backup or an earlier version may have left others.
    """
    root = Path(place.path) / "restricted"
    if not isinstance(place.filesystem, fs.LocalFileSystem) or not root.is_dir():
        return 0
    n_open = 0
    for path in (root, *root.rglob("*")):
        with suppress(FileNotFoundError):  # a running job has replaced it
            n_open += close_to_others(path)
    return n_open


def size(place: Place) -> tuple[int, int]:
    """Return the number of files of the warehouse and their bytes."""
    entries = place.filesystem.get_file_info(fs.FileSelector(place.path, recursive=True, allow_not_found=True))
    sizes = [entry.size for entry in entries if entry.is_file]
    return len(sizes), sum(sizes)
