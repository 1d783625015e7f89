"""The warehouse: Delta tables in which a job replaces one business date at a time.

A date is replaced in one Delta commit. Readers see either the old rows or the new rows. If two writers replace the same
date at the same time, the second one fails.
"""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from deltalake import ColumnProperties, DeltaTable, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError
from pyarrow import fs

from jobs.tables.compatibility import check_schemas
from jobs.tables.landing import open_warehouse
from jobs.tables.private_files import close_to_others, closed_to_others
from jobs.tables.schemas import WAREHOUSE, is_restricted
from model.cli import InputError, TryAgainError

Rows: TypeAlias = pa.Table | pa.RecordBatchReader
"""Rows in memory, or a stream of batches."""

_LOG_OF_RESTRICTED = {"delta.dataSkippingStatsColumns": "business_date"}


class Warehouse:
    """An opened warehouse. On a local disk, nothing under `restricted/` is open to other users, whatever the umask.

    Attributes:
        uri: folder or URI, for messages.
        place: the same, opened.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.place = open_warehouse(uri)

    def check_writable(self) -> None:
        """Fail early if the warehouse is not writable; close the restricted zone to other users.

        Raises:
            InputError: a file can't be created there, or another user owns the restricted zone and left it open.
            OSError: the storage does not answer.
        """
        filesystem, root = self.place.filesystem, self.place.path
        probe = f"{root}/.writable"
        try:
            filesystem.create_dir(root, recursive=True)
            with filesystem.open_output_stream(probe):
                pass
            with suppress(FileNotFoundError):  # another job has removed it
                filesystem.delete_file(probe)
            restricted = Path(root) / "restricted"
            if isinstance(filesystem, fs.LocalFileSystem) and restricted.is_dir():
                close_to_others(restricted)
        except OSError as error:
            if error.errno is None:  # of an object store, which may only be silent for a moment
                raise
            raise InputError(f"warehouse {self.uri} can't be written to: {error}") from None

    def check_schemas(self) -> None:
        """Fail early if existing tables have other columns than those of the contract.

        Raises:
            InputError: a table is from another version of this project.
        """
        uris = {name: self.table_uri(name) for name in WAREHOUSE}
        check_schemas(self.uri, {name: DeltaTable(uri) for name, uri in uris.items() if DeltaTable.is_deltatable(uri)})

    def create_tables(self) -> None:
        """Create missing tables, empty.

        Creation needs a separate commit: two writers that each create a table and write to it would double its rows.
        """
        for name, table in WAREHOUSE.items():
            uri = self.table_uri(name)
            if DeltaTable.is_deltatable(uri):
                continue
            try:
                with closed_if_restricted(name):
                    DeltaTable.create(
                        uri,
                        schema=table.schema,
                        partition_by=list(table.partition_by),
                        # By default the log stores the minimum and maximum of each column, such as an age or an id.
                        configuration=_LOG_OF_RESTRICTED if is_restricted(name) else None,
                    )
            except DeltaError:
                if not DeltaTable.is_deltatable(uri):  # another job may have created it
                    raise

    def has_rows(self, name: str, business_date: dt.date, **part: str) -> bool:
        """Tell whether a table has rows of a date, or of a part of it."""
        uri, predicate = self.table_uri(name), _predicate({"business_date": business_date, **part})
        return DeltaTable.is_deltatable(uri) and bool(DeltaTable(uri).file_uris(file_pruning_predicate=predicate))

    def rows(self, name: str, *columns: str, first: dt.date | None = None, last: dt.date | None = None) -> pa.Table:
        """Return the rows of the dates `first` to `last`, or of all dates, in memory.

        Args:
            name: a table that exists.
            *columns: names of columns; without them, all columns.
            first: first date.
            last: last date.
        """
        return _rows(DeltaTable(self.table_uri(name)), name, columns, first, last)

    def newest_date(self, last: dt.date | None = None) -> dt.date | None:
        """Return the newest date up to `last` of which a job has reported, or None.

        Args:
            last: None means tomorrow, since the date of the stores may be a day ahead of UTC: a night with a wrong year
                must not make all other dates old.
        """
        last = last or dt.datetime.now(dt.UTC).date() + dt.timedelta(days=1)
        uri = self.table_uri("analytics/run_quality")
        if not DeltaTable.is_deltatable(uri):
            return None
        dates = {dt.date.fromisoformat(str(part["business_date"])) for part in DeltaTable(uri).partitions()}
        return max((date for date in dates if date <= last), default=None)

    def replace(self, name: str, rows: Rows, business_date: dt.date, **part: str) -> None:
        """Replace one date of a table (or one part of a date) in one commit.

        Args:
            name: for example `restricted/photo_ages`.
            rows: rows without the columns of `business_date` and `part`. No rows clear the date.
            business_date: the date that is replaced.
            **part: value of the second partition column, if the table has one.

        Raises:
            ValueError: columns or types differ from the table's (Delta would cast silently), or the table has other
                partition columns.
            TryAgainError: another writer replaced the same date at the same time; nothing was written.
        """
        table = WAREHOUSE[name]
        partition = {"business_date": business_date, **part}
        if tuple(partition) != table.partition_by:
            raise ValueError(f"{name} is replaced by {table.partition_by}, not by {tuple(partition)}")
        self._replace(name, rows, partition)

    def update(self, name: str, business_date: dt.date, change: Callable[[pa.Table], pa.Table], **part: str) -> None:
        """Replace the rows of a date by what `change` makes of them; `replace` would lose another writer's change.

        Args:
            name: the table.
            business_date: the date that is replaced.
            change: gets the rows, without the columns of the partition, and returns rows of the same columns.
            **part: value of the second partition column, if the table has one.

        Raises:
            TryAgainError: another writer replaced the date since it was read; nothing was written.
        """
        read = DeltaTable(self.table_uri(name))
        before = _rows(read, name, WAREHOUSE[name].schema.names, business_date, business_date)
        for column, value in part.items():
            before = before.filter(pc.equal(before[column], value))
        before = before.select(WAREHOUSE[name].row_schema.names)
        self._replace(name, change(before), {"business_date": business_date, **part}, read)

    def _replace(self, name: str, rows: Rows, partition: Mapping[str, object], read: DeltaTable | None = None) -> None:
        """Replace a partition; fail if it has changed since it was `read`."""
        schema = WAREHOUSE[name].schema
        _check_columns(name, _columns(rows.schema), _columns(WAREHOUSE[name].row_schema))
        batches = rows.to_batches() if isinstance(rows, pa.Table) else rows
        stamped = pa.RecordBatchReader.from_batches(schema, (_stamped(batch, partition, schema) for batch in batches))
        try:
            with closed_if_restricted(name):
                write_deltalake(
                    read or self.table_uri(name),
                    stamped,
                    mode="overwrite",
                    predicate=_predicate(partition),
                    writer_properties=writer_properties(name),
                )
        except CommitFailedError:
            raise TryAgainError(
                f"{name} of {partition['business_date']}: another writer replaced it at the same time; run again"
            ) from None

    def table_uri(self, name: str) -> str:
        """Return the URI of a table."""
        return f"{self.place.uri}/{name}"


def writer_properties(name: str) -> WriterProperties:
    """Return how the Parquet files of a table are written."""
    # By default Parquet footers store the minimum and maximum of each column, like the log.
    statistics = ColumnProperties(statistics_enabled="NONE") if is_restricted(name) else None
    return WriterProperties(max_row_group_size=65_536, default_column_properties=statistics)


def closed_if_restricted(name: str) -> AbstractContextManager[None]:
    """Create the files of a restricted table closed to other users."""
    return closed_to_others() if is_restricted(name) else nullcontext()


def _rows(
    table: DeltaTable, name: str, columns: Sequence[str], first: dt.date | None, last: dt.date | None
) -> pa.Table:
    schema = WAREHOUSE[name].schema
    date = ds.field("business_date")
    between = (date >= (first or dt.date.min)) & (date <= (last or dt.date.max))
    rows = table.to_pyarrow_dataset().to_table(columns=list(columns) or schema.names, filter=between)
    return rows.cast(pa.schema([schema.field(column) for column in rows.column_names]))


def _stamped(batch: pa.RecordBatch, partition: Mapping[str, object], schema: pa.Schema) -> pa.RecordBatch:
    """Add the columns of the partition."""
    for column, value in partition.items():
        batch = batch.append_column(column, pa.repeat(pa.scalar(value), len(batch)))
    return batch.select(schema.names)


def _predicate(partition: Mapping[str, object]) -> str:
    return " AND ".join(f"{column} = '{value}'" for column, value in partition.items())


def _columns(schema: pa.Schema) -> list[tuple[str, str]]:
    return [(field.name, str(field.type)) for field in schema]


def _check_columns(name: str, actual: list[tuple[str, str]], expected: list[tuple[str, str]]) -> None:
    if actual != expected:
        raise ValueError(
            f"{name} has columns {sorted(set(actual) - set(expected))}; wanted {sorted(set(expected) - set(actual))}"
        )
