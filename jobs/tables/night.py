"""One job on one business date: it reads and replaces tables, and writes its report last."""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import Self

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import from_arrow_schema

from jobs.tables import quarantine
from jobs.tables.faults import explain, explained
from jobs.tables.landing import Place, check_business_date, landing_files, open_place
from jobs.tables.schemas import LANDING, WAREHOUSE
from jobs.tables.spark import check_java, check_worker_python, spark_session
from jobs.tables.warehouse import Warehouse
from model.cli import InputError

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
    """Flags that every nightly job takes that reads the landing zone with Spark."""

    landing: str
    """Landing zone: a folder or URI (s3a://, gs://, hdfs://)."""


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

    - At the start of the `with` statement everything is checked that can be checked without Spark.
    - The job's rows in `analytics/run_quality`, its report, tell the jobs that need it that the date is complete. The
      report is written when the `with` statement ends without an error. Before the first table is replaced, the old
      reports of this job and of the jobs that depend on it are removed, because what they describe no longer holds.
    - A job whose settings have no landing zone needs neither Java nor Spark. It reads the warehouse with DuckDB and
      replaces tables with Arrow tables.

    Attributes:
        date: the business date.
    """

    def __init__(self, settings: DateSettings, job: str, *, landing_tables: Sequence[str] = ()) -> None:
        """Open the places.

        Args:
            settings: date and places; `LandingSettings` for a job that reads the landing zone or uses Spark.
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
        self._files: dict[str, list[str]] = {}
        self._measures: dict[str, dict[str, Measure]] = {}
        self._writes = False

    def __enter__(self) -> Self:
        """Check the job's input and the warehouse.

        Raises:
            InputError: Java is missing, PYSPARK_PYTHON is wrong, a landing table is missing or breaks the contract, the
                warehouse can't be written to or is from another version of this project, or a job that this job needs
                has not finished the date.
            TryAgainError: the storage does not answer.
        """
        with explained(self._warehouse.uri):
            if self._place:
                check_java()
                check_worker_python()
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
    def spark(self) -> SparkSession:
        """The Spark session, started at first use."""
        return spark_session(self._job)

    def landing(self, table: str) -> DataFrame:
        """Read a landing table of the date, with the columns of the contract."""
        return self.spark.read.schema(from_arrow_schema(LANDING[table])).parquet(*self._files[table])

    def read(self, table: str) -> DataFrame:
        """Read the date of a warehouse table."""
        return self._warehouse.read(self.spark, table, self.date, self.date)

    def replace(self, table: str, rows: DataFrame | pa.Table, **part: str) -> None:
        """Replace the date, or a part of it, in a warehouse table; see `Warehouse.replace`."""
        self._begin_writing()
        self._warehouse.replace(table, rows, self.date, **part)

    def update(self, table: str, change: Callable[[pa.Table], pa.Table]) -> None:
        """Replace the rows of the date by what `change` makes of them; see `Warehouse.update`."""
        self._begin_writing()
        self._warehouse.update(table, self.date, change)

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

    def set_aside(self, table: str, screened: DataFrame, unreadable: DataFrame | None = None) -> dict[str, float]:
        """Write the rejected rows of a landing table to quarantine, and count all its rows for the report.

        Args:
            table: name of the landing table.
            screened: from `quarantine.screen`. Persist it, because it is read several times.
            unreadable: `key, reason, detail` of rows that were rejected after screening.

        Returns:
            The counts of `quarantine.count`, corrected for `unreadable`.
        """
        counts = quarantine.count(screened)
        rejected = quarantine.rejected(screened, table)
        if unreadable is not None:
            rejected = rejected.unionByName(unreadable)
            n_unreadable = unreadable.count()
            counts["rows_used"] -= n_unreadable
            counts["rows_quarantined"] += n_unreadable
        self.replace("restricted/quarantine", rejected, source_table=table)
        self._measures[table] = {**counts}
        return counts

    def measure(self, **measures: Measure) -> None:
        """Add numbers and texts about the whole job to its report."""
        self._measures.setdefault("", {}).update(measures)

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            if known := explain(error, self._warehouse.uri):
                raise known from error
            return
        with explained(self._warehouse.uri):
            self._finish()

    def _finish(self) -> None:
        lines = [
            {"source_table": table, "measure": name, "text" if isinstance(value, str) else "value": value}
            for table, measures in self._measures.items()
            for name, value in measures.items()
        ]
        self._report(self._job, lines)
        if "spark" in self.__dict__:  # cached_property stores it there at first use
            self.spark.catalog.clearCache()
        figures = "; ".join(
            f"{table or 'all'}: {', '.join(f'{name} {value}' for name, value in measures.items())}"
            for table, measures in self._measures.items()
        )
        print(f"{self._job}: {self.date}, {figures}", flush=True)

    def _report(self, job: str, lines: Sequence[dict[str, Measure]]) -> None:
        rows = pa.Table.from_pylist(lines, schema=WAREHOUSE["analytics/run_quality"].row_schema)
        self._warehouse.replace("analytics/run_quality", rows, self.date, job=job)
