"""Reading tables with Spark, and replacing one date of a warehouse table.

A date is replaced in one Delta commit: a reader sees the old rows or the new ones, and a second writer of the same
date is refused.
"""

import datetime as dt
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow.dataset as ds
from deltalake import DeltaTable, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError
from pyarrow import fs
from pyspark.sql import (
    DataFrame,
    SparkSession,
    functions as F,  # noqa: N812
)
from pyspark.sql.pandas.types import from_arrow_schema

from jobs.tables.landing import open_filesystem
from jobs.tables.schemas import LANDING, WAREHOUSE
from model.cli import InputError

STAGING_MAX_AGE_SECONDS = 24 * 3600
"""A killed job leaves its staging folder behind; the next run removes those older than this."""


def read_landing(spark: SparkSession, files: Sequence[str], table: str) -> DataFrame:
    """Read the files that `landing_files` returned, columns in the order of the contract."""
    return spark.read.schema(from_arrow_schema(LANDING[table])).parquet(*files)


def check_warehouse(warehouse: str) -> None:
    """Make sure that the warehouse can be written to, before an hour of work is lost on it.

    Raises:
        InputError: a file can't be created there.
    """
    filesystem, root, _ = open_filesystem(warehouse)
    probe = f"{root}/.writable-{uuid.uuid4().hex}"
    try:
        filesystem.create_dir(root, recursive=True)
        with filesystem.open_output_stream(probe):
            pass
        filesystem.delete_file(probe)
    except OSError as error:
        raise InputError(f"warehouse {warehouse} can't be written to: {error}") from None


def require_run(warehouse: str, job: str, business_date: dt.date) -> None:
    """Make sure that the job before this one has written the date, or a good date is replaced by nothing.

    Raises:
        InputError: `analytics/run_quality` has no word of it.
    """
    uri = _delta_uri(warehouse, "analytics/run_quality")
    said = f"business_date = '{business_date}' AND job = '{job}'"
    if not (DeltaTable.is_deltatable(uri) and DeltaTable(uri).file_uris(file_pruning_predicate=said)):
        raise InputError(f"{job} has not run for {business_date} in the warehouse {warehouse}; run it first")


def read_warehouse(
    spark: SparkSession, warehouse: str, name: str, first: dt.date, last: dt.date | None = None
) -> DataFrame:
    """Read the dates `first` to `last` (by default `first` alone) of a Delta table; empty where there are none."""
    _, root, prefix = open_filesystem(warehouse)
    table = WAREHOUSE[name]
    schema = from_arrow_schema(table.schema)
    path = f"{root}/{name}"
    between = f"business_date >= '{first}' AND business_date <= '{last or first}'"
    uris = []
    if DeltaTable.is_deltatable(_delta_uri(warehouse, name)):
        uris = DeltaTable(_delta_uri(warehouse, name)).file_uris(file_pruning_predicate=between)
    if not uris:
        return spark.createDataFrame([], schema)
    # A list of files, not the folder: the folder also holds files of replaced dates.
    files = [f"{prefix}{path}/{uri.partition(f'/{name}/')[2]}" for uri in uris]
    frame = spark.read.schema(schema).option("basePath", f"{prefix}{path}").parquet(*files)
    return frame.where(between).select(*table.schema.names)


def replace(frame: DataFrame, warehouse: str, name: str, business_date: dt.date, **part: str) -> None:
    """Replace one date of a Delta table (or one part of a date) with the rows of `frame`, in one commit.

    Args:
        frame: columns and types of the table but for those that `business_date` and `part` give; no rows clear
            the date.
        warehouse: folder or URI.
        name: such as `restricted/photo_ages`.
        business_date: the date replaced.
        **part: value of the further partition column, where the table has one.

    Raises:
        ValueError: columns or types differ from the table's (Delta would cast silently), or the part is not the
            table's.
        RuntimeError: another writer replaced the same date meanwhile; nothing was written.
    """
    table = WAREHOUSE[name]
    given = {"business_date": business_date, **part}
    if tuple(given) != table.partition_by:
        raise ValueError(f"{name} is replaced by {table.partition_by}, not by {tuple(given)}")
    stamped = frame.withColumns({column: F.lit(value) for column, value in given.items()})
    stamped = stamped.select(*table.schema.names)
    # simpleString leaves out nullability, which Delta does not mind.
    wanted = [(field.name, field.dataType.simpleString()) for field in from_arrow_schema(table.schema)]
    found = [(field.name, field.dataType.simpleString()) for field in stamped.schema]
    if found != wanted:
        raise ValueError(
            f"{name} has columns {sorted(set(found) - set(wanted))}; wanted {sorted(set(wanted) - set(found))}"
        )
    with _staging(warehouse, name) as (filesystem, path, prefix):
        stamped.write.parquet(f"{prefix}{path}")
        # Small read-ahead: the rows of a big date pass through in 32,768s, not all at once.
        rows = ds.dataset(path, schema=table.schema, format="parquet", filesystem=filesystem).scanner(
            batch_size=32_768, batch_readahead=1, fragment_readahead=1
        )
        try:
            write_deltalake(
                _delta_uri(warehouse, name),
                rows.to_reader(),
                mode="overwrite",
                predicate=" AND ".join(f"{column} = '{value}'" for column, value in given.items()),
                partition_by=list(table.partition_by),
                writer_properties=WriterProperties(max_row_group_size=65_536),
            )
        except CommitFailedError:
            raise RuntimeError(
                f"{name} of {business_date}: another writer replaced it meanwhile; nothing was written, run again"
            ) from None


def _delta_uri(warehouse: str, name: str) -> str:
    if "://" in warehouse:
        return f"{warehouse.rstrip('/')}/{name}"
    return str(Path(warehouse).resolve() / name)


@contextmanager
def _staging(warehouse: str, name: str) -> Iterator[tuple[fs.FileSystem, str, str]]:
    """A folder for what Spark hands to the Delta writer, where every executor and the driver can reach it."""
    filesystem, root, prefix = open_filesystem(warehouse)
    folder = f"{root}/restricted/_staging"
    selector = fs.FileSelector(folder, allow_not_found=True)
    for leftover in filesystem.get_file_info(selector):
        # The name says when, because a folder of an object store has no time of its own.
        began = leftover.base_name.split("-")[-2]
        if time.time() - int(began) > STAGING_MAX_AGE_SECONDS:
            with suppress(FileNotFoundError):  # another job is clearing up too
                filesystem.delete_dir(leftover.path)
    filesystem.create_dir(folder, recursive=True)
    path = f"{folder}/{name.replace('/', '.')}-{time.time():.0f}-{uuid.uuid4().hex}"
    try:
        yield filesystem, path, prefix
    finally:
        if filesystem.get_file_info(path).type == fs.FileType.Directory:
            filesystem.delete_dir(path)
