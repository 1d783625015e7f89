"""One job on one business date: it reads and replaces tables, and writes its report last."""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

import duckdb
import pyarrow as pa

import sql
from jobs.tables.duck import memory_limit, register_warehouse
from jobs.tables.faults import explain, explained
from jobs.tables.landing import Place, check_business_date, landing_files, open_place
from jobs.tables.landing_views import create_landing_views, local_files, repaired_files
from jobs.tables.private_files import scratch_folder
from jobs.tables.schemas import WAREHOUSE, is_restricted
from jobs.tables.warehouse import Rows, Warehouse
from model.cli import InputError

MEMORY = "4GB"
"""Of DuckDB, whatever the size of the date; what does not fit is on disk meanwhile."""

BATCH_ROWS = 65_536
"""Rows that are passed on to the Delta writer at a time."""

NEEDS: Mapping[str, Sequence[str]] = {
    "score_photos": (),
    "match_receipts": ("score_photos",),
    "count_purchases": ("match_receipts",),
    "build_affinity": ("count_purchases",),
    "screen_cashiers": ("count_purchases",),
    "watch_ages": ("count_purchases",),
}
"""The jobs of a night, in an order in which they can run, and the jobs whose report each requires."""

Measure = float | str | None


@dataclass(frozen=True, kw_only=True)
class WarehouseSettings:
    """Flags that every program takes that writes to the warehouse."""

    warehouse: str
    """Warehouse: a folder or URI; its Delta tables are created when missing."""


@dataclass(frozen=True, kw_only=True)
class DateSettings(WarehouseSettings):
    """Flags that every nightly job takes."""

    business_date: dt.date
    """Local day of the stores, YYYY-MM-DD."""


@dataclass(frozen=True, kw_only=True)
class LandingSettings(DateSettings):
    """Flags that every nightly job takes that reads the landing zone."""

    landing: str
    """Landing zone: a folder or URI (s3://, gs://, hdfs://)."""


def with_dependants(job: str) -> list[str]:
    """Return a job and all jobs that depend on it, directly or not, in the order of `NEEDS`.

    >>> with_dependants("count_purchases")
    ['count_purchases', 'build_affinity', 'screen_cashiers', 'watch_ages']
    """
    jobs = [job]
    for later, needed in NEEDS.items():
        if not set(jobs).isdisjoint(needed):
            jobs.append(later)
    return jobs


class Night:
    """A job that processes one business date; use it in a `with` statement.

    - At the start of the `with` statement the input is checked.
    - The job's rows in `analytics/run_quality`, its report, tell the jobs that need it that the date is complete. The
      report is written when the `with` statement ends without an error. Before the first table is replaced, the old
      reports of this job and of the jobs that depend on it are removed, because what they describe no longer holds.
    - The statements of a job run in DuckDB and see the tables `landing.<table>` that the job reads, those of
      `restricted`, and the answers of the statements before them, which are tables of their names.

    Attributes:
        date: the business date.
    """

    def __init__(self, settings: DateSettings, job: str, *, landing_tables: Sequence[str] = ()) -> None:
        """Open the places.

        Args:
            settings: date and places; `LandingSettings` for a job that reads the landing zone.
            job: one of `NEEDS`.
            landing_tables: tables of the landing zone that the job reads.

        Raises:
            InputError: pyarrow does not read one of the URIs, or the date can't be a business date.
        """
        self.date = settings.business_date
        check_business_date(self.date)
        self._place = open_place(settings.landing, "--landing") if isinstance(settings, LandingSettings) else None
        self._warehouse = Warehouse(settings.warehouse)
        self._job, self._landing_tables = job, landing_tables
        self._files: Mapping[str, Sequence[str]] = {}
        self._local_files: Mapping[str, Sequence[str]] = {}
        self._closing = ExitStack()
        self._measures: dict[str, dict[str, Measure]] = {}
        self._writes = False

    def __enter__(self) -> Self:
        """Check the job's input and the warehouse.

        Raises:
            InputError: a landing table is missing or breaks the contract, the warehouse can't be written to or is from
                another version of this project, or a job that this job needs has not finished the date.
            TryAgainError: the storage does not answer.
        """
        with explained(self._warehouse.uri):
            self._files = {table: landing_files(self.place, table, self.date) for table in self._landing_tables}
            self._warehouse.check_writable()
            self._warehouse.check_schemas()
            for job in NEEDS[self._job]:
                # Otherwise we would overwrite good rows with none.
                if not self._warehouse.has_rows("analytics/run_quality", self.date, job=job):
                    raise InputError(
                        f"{job} has not finished {self.date} in the warehouse {self._warehouse.uri}; run it first"
                    )
        return self

    @property
    def place(self) -> Place:
        """The landing zone, opened.

        Raises:
            ValueError: the job's settings have no landing zone.
        """
        if self._place is None:
            raise ValueError(f"{self._job} has no landing zone; its settings must be LandingSettings")
        return self._place

    @cached_property
    def _scratch(self) -> Path:
        return self._closing.enter_context(scratch_folder())

    @cached_property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """The connection of the job's statements, opened at first use."""
        limits: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": memory_limit(MEMORY),
            "temp_directory": str(self._scratch),
            "preserve_insertion_order": False,
            "python_enable_replacements": False,  # a missing table must not be a variable of our code
        }
        connection = self._closing.enter_context(duckdb.connect(config=limits))
        register_warehouse(connection, self._warehouse.uri, filter(is_restricted, WAREHOUSE))
        if self._files:
            self._local_files = local_files(self.place, self._files, self._scratch)
            create_landing_views(connection, self._local_files)
        return connection

    def create(self, table: str, statement: str, **parameters: object) -> None:
        """Create or replace a table of the connection: the answer of a statement of `sql`."""
        # A relation with parameters would be computed before `create`, held in memory outside the limit, and copied.
        text = f"CREATE OR REPLACE TABLE {table} AS\n{sql.load(statement)}"
        try:
            self.connection.execute(text, parameters)
        except duckdb.InvalidInputException as error:
            if "not valid UTF8" not in str(error):
                raise
            create_landing_views(self.connection, repaired_files(self._local_files, self._scratch))
            self.connection.execute(text, parameters)

    def append(self, table: str, statement: str, **parameters: object) -> None:
        """Add the answer of a statement of `sql` to a table of the connection; create the table if it is missing."""
        answer = f"FROM (\n{sql.load(statement)}\n)"
        self.connection.execute(f"CREATE TABLE IF NOT EXISTS {table} AS {answer} LIMIT 0", parameters)
        self.connection.execute(f"INSERT INTO {table} {answer}", parameters)

    def rows(self, statement: str, **parameters: object) -> pa.Table:
        """Return the answer of a statement of `sql`."""
        return self.connection.sql(sql.load(statement), params=parameters or None).to_arrow_table()

    def screen(self, table: str, **parameters: object) -> None:
        """Create `screened_<table>`, the rows of a landing table with the reason why they can't be used.

        Its usable rows are the view of the table's name. See `sql/landing`.
        """
        screened = f"screened_{table}"
        self.create(screened, f"landing/{table}", **parameters)
        self.connection.table(screened).filter("reason IS NULL").create_view(table)

    def replace(self, table: str, rows: Rows, **part: str) -> None:
        """Replace the date, or a part of it, in a warehouse table; see `Warehouse.replace`."""
        self._begin_writing()
        self._warehouse.replace(table, rows, self.date, **part)

    def update(self, table: str, change: Callable[[pa.Table], pa.Table]) -> None:
        """Replace the rows of the date by what `change` makes of them; see `Warehouse.update`."""
        self._begin_writing()
        self._warehouse.update(table, self.date, change)

    def replace_by(self, table: str, source: str) -> None:
        """Replace the date in a warehouse table by a table of the connection, whose further columns are left out.

        Raises:
            DeltaError: a value does not fit the type of its column; nothing was written.
        """
        schema = WAREHOUSE[table].row_schema
        rows = self.connection.table(source).select(*schema.names)
        self.replace(table, rows.to_arrow_reader(BATCH_ROWS).cast(schema))

    def _begin_writing(self) -> None:
        if not self._writes:
            self._warehouse.create_tables()
            for job in with_dependants(self._job):
                if self._warehouse.has_rows("analytics/run_quality", self.date, job=job):
                    self._report(job, [])
            self._writes = True

    def clear(self, table: str) -> None:
        """Remove the rows of the date from a warehouse table."""
        self.replace(table, WAREHOUSE[table].row_schema.empty_table())

    def set_aside(self, table: str, unreadable: pa.Table | None = None) -> dict[str, float]:
        """Write the rejected rows of a landing table to quarantine, and count all its rows for the report.

        For every landing table, rows in = rows used + rows quarantined + declared duplicates.

        Args:
            table: name of the landing table, after `screen`.
            unreadable: `key, reason, detail` of rows that were rejected after screening.

        Returns:
            rows_in, rows_used, rows_quarantined and rows_duplicate.
        """
        schema = pa.schema([("key", pa.string()), ("reason", pa.string()), ("detail", pa.string())])
        screened = self.connection.table(f"screened_{table}")
        rejected = screened.filter("reason IS NOT NULL").select(*schema.names)
        if unreadable is not None:
            rejected = rejected.union(self.connection.from_arrow(unreadable).select(*schema.names))
        n_landed, n_different, n_rejected = (
            rows.count("*").fetchall()[0][0] for rows in (self.connection.table(f"landing.{table}"), screened, rejected)
        )
        counts: dict[str, float] = {
            "rows_in": n_landed,
            "rows_used": n_different - n_rejected,
            "rows_quarantined": n_rejected,
            "rows_duplicate": n_landed - n_different,
        }
        # A stream: a wrong catalogue rejects every line. 3 million rows took 250 MB, and as a table 580 MB.
        self.replace("restricted/quarantine", rejected.to_arrow_reader(BATCH_ROWS).cast(schema), source_table=table)
        self._measures[table] = {**counts}
        return counts

    def measure(self, **measures: Measure) -> None:
        """Add numbers and texts about the whole job to its report."""
        self._measures.setdefault("", {}).update(measures)

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        paths = [path for paths in self._files.values() for path in paths]
        landed = (self.place.filesystem, paths) if paths else None
        with self._closing:
            if error is None:
                with explained(self._warehouse.uri):
                    self._finish()
            elif known := explain(error, self._warehouse.uri, landed):
                raise known from error

    def _finish(self) -> None:
        lines = [
            {"source_table": table, "measure": name, "text" if isinstance(value, str) else "value": value}
            for table, measures in self._measures.items()
            for name, value in measures.items()
        ]
        self._report(self._job, lines)
        figures = "; ".join(
            f"{table or 'all'}: {', '.join(f'{name} {value}' for name, value in measures.items())}"
            for table, measures in self._measures.items()
        )
        print(f"{self._job}: {self.date}, {figures}", flush=True)

    def _report(self, job: str, lines: Sequence[dict[str, Measure]]) -> None:
        rows = pa.Table.from_pylist(lines, schema=WAREHOUSE["analytics/run_quality"].row_schema)
        self._warehouse.replace("analytics/run_quality", rows, self.date, job=job)
