"""The warehouse: Delta tables in which a job replaces one business date at a time.

A date is replaced in one Delta commit. Readers see either the old rows or the new rows. If two writers replace the same
date at the same time, the second one fails.
"""

import datetime as dt
import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial

import pyarrow as pa
import pyarrow.dataset as ds
from deltalake import ColumnProperties, DeltaTable, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError
from pyarrow import fs
from pyspark.sql import DataFrame, SparkSession, functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from jobs.tables.compatibility import check_schemas
from jobs.tables.landing import open_warehouse
from jobs.tables.schemas import WAREHOUSE, is_restricted
from model.cli import InputError

STAGING_MAX_AGE_SECONDS = 24 * 3600
"""A job removes staging folders older than this, which interrupted jobs have left behind."""

UNCOMMITTED_MAX_AGE_HOURS = 24
"""Files that no commit names are deleted when they are older than this; no job runs that long."""

_STAGED = re.compile(r"(?:restricted|analytics)\.\w+-(?P<created>\d+)-[0-9a-f]+")
_SPARK_READ_AHEAD = {"batch_size": 32_768, "batch_readahead": 1, "fragment_readahead": 1}
"""Limits memory: the rows of a large date are read in batches."""


class Warehouse:
    """An opened warehouse.

    Attributes:
        uri: folder or URI, for messages.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._place = open_warehouse(uri)

    def check_writable(self) -> None:
        """Fail early if the warehouse is not writable.

        Raises:
            InputError: a file can't be created there.
        """
        filesystem, root = self._place.filesystem, self._place.path
        probe = f"{root}/.writable-{uuid.uuid4().hex}"
        try:
            filesystem.create_dir(root, recursive=True)
            with filesystem.open_output_stream(probe):
                pass
            filesystem.delete_file(probe)
        except OSError as error:
            raise InputError(f"warehouse {self.uri} can't be written to: {error}") from None

    def check_schemas(self) -> None:
        """Fail early if existing tables have other columns than those of the contract.

        Raises:
            InputError: a table is from another version of this project.
        """
        uris = {name: self._table_uri(name) for name in WAREHOUSE}
        check_schemas(self.uri, {name: DeltaTable(uri) for name, uri in uris.items() if DeltaTable.is_deltatable(uri)})

    def create_tables(self) -> None:
        """Create missing tables, empty.

        Creation needs a separate commit: two writers that each create a table and write to it would double its rows.
        """
        for name, table in WAREHOUSE.items():
            uri = self._table_uri(name)
            if DeltaTable.is_deltatable(uri):
                continue
            try:
                DeltaTable.create(
                    uri,
                    schema=table.schema,
                    partition_by=list(table.partition_by),
                    # By default the log stores the minimum and maximum of each column, such as an age or an id.
                    configuration={"delta.dataSkippingStatsColumns": "business_date"} if is_restricted(name) else None,
                )
            except DeltaError:
                if not DeltaTable.is_deltatable(uri):  # another job may have created it
                    raise

    def has_rows(self, name: str, business_date: dt.date, **part: str) -> bool:
        """Tell whether a table has rows of a date, or of a part of it."""
        return bool(self._files(name, _predicate({"business_date": business_date, **part})))

    def rows(self, name: str, *columns: str, first: dt.date | None = None, last: dt.date | None = None) -> pa.Table:
        """Return the rows of the dates `first` to `last`, or of all dates, in memory.

        Args:
            name: a table that exists.
            *columns: names of columns; without them, all columns.
            first: first date.
            last: last date.
        """
        return _rows(DeltaTable(self._table_uri(name)), name, columns, first, last)

    def newest_date(self) -> dt.date | None:
        """Return the newest date of which a job has reported, or None."""
        uri = self._table_uri("analytics/run_quality")
        if not DeltaTable.is_deltatable(uri):
            return None
        dates = [str(partition["business_date"]) for partition in DeltaTable(uri).partitions()]
        return max(map(dt.date.fromisoformat, dates), default=None)

    def read(self, spark: SparkSession, name: str, first: dt.date, last: dt.date) -> DataFrame:
        """Read the dates `first` to `last` of a table."""
        table = WAREHOUSE[name]
        schema = from_arrow_schema(table.schema)
        between = f"business_date >= '{first}' AND business_date <= '{last}'"
        paths = self._files(name, between)
        if not paths:
            return spark.createDataFrame([], schema)
        # Reading the folder would include the files of replaced dates.
        folder = f"{self._place.path}/{name}"
        reader = spark.read.schema(schema).option("basePath", f"{self._place.spark_prefix}{folder}")
        frame = reader.parquet(*(self._place.for_spark(f"{folder}/{path}") for path in paths))
        return frame.where(between).select(*table.schema.names)

    def replace(self, name: str, rows: DataFrame | pa.Table, business_date: dt.date, **part: str) -> None:
        """Replace one date of a table (or one part of a date) in one commit.

        Args:
            name: for example `restricted/photo_ages`.
            rows: rows without the columns of `business_date` and `part`. No rows clear the date. A Spark frame is
                staged as Parquet; an Arrow table is written from memory.
            business_date: the date that is replaced.
            **part: value of the second partition column, if the table has one.

        Raises:
            ValueError: columns or types differ from the table's (Delta would cast silently), or the table has other
                partition columns.
            RuntimeError: another writer replaced the same date at the same time; nothing was written.
        """
        table = WAREHOUSE[name]
        partition = {"business_date": business_date, **part}
        if tuple(partition) != table.partition_by:
            raise ValueError(f"{name} is replaced by {table.partition_by}, not by {tuple(partition)}")
        if isinstance(rows, pa.Table):
            self._replace_arrow(name, rows, partition)
            return
        stamped = rows.withColumns({column: F.lit(value) for column, value in partition.items()})
        stamped = stamped.select(*table.schema.names)
        # simpleString leaves out nullability, which is irrelevant here.
        spark_columns = [(field.name, field.dataType.simpleString()) for field in stamped.schema]
        expected = [(field.name, field.dataType.simpleString()) for field in from_arrow_schema(table.schema)]
        _check_columns(name, spark_columns, expected)
        with self._staging(name) as path:
            stamped.write.parquet(f"{self._place.spark_prefix}{path}")
            staged = ds.dataset(path, schema=table.schema, format="parquet", filesystem=self._place.filesystem)
            self._commit(name, staged.scanner(**_SPARK_READ_AHEAD).to_reader(), partition)

    def update(self, name: str, business_date: dt.date, change: Callable[[pa.Table], pa.Table]) -> None:
        """Replace the rows of a date by what `change` makes of them; `replace` would lose another writer's change.

        Args:
            name: a table that has no partition column but the date.
            business_date: the date that is replaced.
            change: gets the rows of the date, without their date, and returns rows of the same columns.

        Raises:
            RuntimeError: another writer replaced the date since it was read; nothing was written.
        """
        read = DeltaTable(self._table_uri(name))
        schema = WAREHOUSE[name].row_schema
        before = _rows(read, name, schema.names, business_date, business_date)
        self._replace_arrow(name, change(before), {"business_date": business_date}, read)

    def delete(self, name: str, last: dt.date) -> None:
        """Delete the rows of all dates up to `last`."""
        predicate = f"business_date <= '{last}'"  # the log keeps it, so it must never name an id
        if self._files(name, predicate):
            DeltaTable(self._table_uri(name)).delete(predicate)

    def vacuum(self, name: str) -> None:
        """Delete the files of replaced and deleted rows, so that nobody can read an old version of the table.

        - A file that a commit has removed is deleted at once ("lite" vacuum: only such files). A reader that opened the
          table before that commit fails and must be run again.
        - A file that no commit names belongs to a writer that has not committed yet, or to one that was interrupted. It
          is deleted after UNCOMMITTED_MAX_AGE_HOURS ("full" vacuum), never at once.
        """
        table = DeltaTable(self._table_uri(name))
        for hours, full in ((0, False), (UNCOMMITTED_MAX_AGE_HOURS, True)):
            vacuum = partial(table.vacuum, retention_hours=hours, enforce_retention_duration=False, full=full)
            if vacuum(dry_run=True):  # a vacuum without files would write to the log
                vacuum(dry_run=False)

    def _replace_arrow(
        self, name: str, rows: pa.Table, partition: Mapping[str, object], read: DeltaTable | None = None
    ) -> None:
        table = WAREHOUSE[name]
        _check_columns(name, _columns(rows.schema), _columns(table.row_schema))
        for column, value in partition.items():
            rows = rows.append_column(column, pa.repeat(pa.scalar(value), len(rows)))
        self._commit(name, rows.select(table.schema.names).to_reader(), partition, read)

    def _commit(
        self, name: str, rows: pa.RecordBatchReader, partition: Mapping[str, object], read: DeltaTable | None = None
    ) -> None:
        """Replace a partition; fail if it has changed since it was `read`."""
        # By default Parquet footers store the minimum and maximum of each column, like the log.
        statistics = ColumnProperties(statistics_enabled="NONE") if is_restricted(name) else None
        try:
            write_deltalake(
                read or self._table_uri(name),
                rows,
                mode="overwrite",
                predicate=_predicate(partition),
                writer_properties=WriterProperties(max_row_group_size=65_536, default_column_properties=statistics),
            )
        except CommitFailedError:
            raise RuntimeError(
                f"{name} of {partition['business_date']}: another writer replaced it at the same time; "
                "nothing was written, run again"
            ) from None

    def _table_uri(self, name: str) -> str:
        return f"{self._place.uri}/{name}"

    def _files(self, name: str, predicate: str) -> list[str]:
        """Return the files of some partitions, relative to the table."""
        uri = self._table_uri(name)
        if not DeltaTable.is_deltatable(uri):
            return []
        uris = DeltaTable(uri).file_uris(file_pruning_predicate=predicate)
        # The root can't be cut off: it is percent-encoded in these URIs.
        n_parts = len(WAREHOUSE[name].partition_by) + 1
        return ["/".join(file.split("/")[-n_parts:]) for file in uris]

    @contextmanager
    def _staging(self, name: str) -> Iterator[str]:
        """Yield a folder for Parquet files from Spark to the Delta writer; executors and driver must reach it."""
        filesystem = self._place.filesystem
        folder = f"{self._place.path}/restricted/_staging"
        for entry in filesystem.get_file_info(fs.FileSelector(folder, allow_not_found=True)):
            # The name contains the time, because folders of an object store have none.
            staged = _STAGED.fullmatch(entry.base_name)
            is_folder = entry.type == fs.FileType.Directory
            if is_folder and staged and time.time() - int(staged["created"]) > STAGING_MAX_AGE_SECONDS:
                with suppress(FileNotFoundError):  # another job removed it
                    filesystem.delete_dir(entry.path)
        filesystem.create_dir(folder, recursive=True)
        path = f"{folder}/{name.replace('/', '.')}-{time.time():.0f}-{uuid.uuid4().hex}"
        try:
            yield path
        finally:
            if filesystem.get_file_info(path).type == fs.FileType.Directory:
                filesystem.delete_dir(path)


def _rows(
    table: DeltaTable, name: str, columns: Sequence[str], first: dt.date | None, last: dt.date | None
) -> pa.Table:
    schema = WAREHOUSE[name].schema
    date = ds.field("business_date")
    between = (date >= (first or dt.date.min)) & (date <= (last or dt.date.max))
    rows = table.to_pyarrow_dataset().to_table(columns=list(columns) or schema.names, filter=between)
    return rows.cast(pa.schema([schema.field(column) for column in rows.column_names]))


def _predicate(partition: Mapping[str, object]) -> str:
    return " AND ".join(f"{column} = '{value}'" for column, value in partition.items())


def _columns(schema: pa.Schema) -> list[tuple[str, str]]:
    return [(field.name, str(field.type)) for field in schema]


def _check_columns(name: str, actual: list[tuple[str, str]], expected: list[tuple[str, str]]) -> None:
    if actual != expected:
        raise ValueError(
            f"{name} has columns {sorted(set(actual) - set(expected))}; wanted {sorted(set(expected) - set(actual))}"
        )
