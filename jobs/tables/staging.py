"""Staging folders: Parquet files on their way from Spark to the Delta writer."""

import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pyarrow import fs

from jobs.tables.landing import Place

MAX_AGE_SECONDS = 24 * 3600
"""An interrupted job leaves its folder behind. It is removed when it is older than this; no job runs that long."""

_FOLDER = "restricted/_staging"
_STAGED = re.compile(r"(?:restricted|analytics)\.\w+-(?P<created>\d+)-[0-9a-f]+")


@contextmanager
def staging(warehouse: Place, name: str) -> Iterator[str]:
    """Yield a new folder for the rows of a table; executors and driver must reach it. It is removed at the end.

    Args:
        warehouse: the warehouse, opened.
        name: the table.
    """
    remove_leftovers(warehouse)
    folder = f"{warehouse.path}/{_FOLDER}"
    warehouse.filesystem.create_dir(folder, recursive=True)
    path = f"{folder}/{name.replace('/', '.')}-{int(time.time())}-{uuid.uuid4().hex}"
    try:
        yield path
    finally:
        if warehouse.filesystem.get_file_info(path).type == fs.FileType.Directory:
            warehouse.filesystem.delete_dir(path)


def leftovers(warehouse: Place, min_age_seconds: float = MAX_AGE_SECONDS) -> list[str]:
    """Return the staging folders of interrupted jobs; with a smaller age, those of running jobs too."""
    selector = fs.FileSelector(f"{warehouse.path}/{_FOLDER}", allow_not_found=True)
    found = []
    for entry in warehouse.filesystem.get_file_info(selector):
        # The name contains the time, because folders of an object store have none.
        staged = _STAGED.fullmatch(entry.base_name)
        is_folder = entry.type == fs.FileType.Directory
        if is_folder and staged and time.time() - int(staged["created"]) >= min_age_seconds:
            found.append(entry.path)
    return found


def remove_leftovers(warehouse: Place) -> None:
    """Remove the staging folders of interrupted jobs."""
    for folder in leftovers(warehouse):
        with suppress(FileNotFoundError):  # another job removed it
            warehouse.filesystem.delete_dir(folder)
