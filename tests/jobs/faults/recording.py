"""Repeat the writes of a job without Spark: what it gave to `Night`, in the same order.

A job with Spark takes 3 to 13 s of CPU on twenty receipts, and it is run some thirty times. Its `main` reads, computes
and hands over one table after the other; `Night` and `Warehouse` write them. A recording has the computed rows.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from pyspark.sql.pandas.types import from_arrow_schema

from jobs.tables import night as night_module
from jobs.tables.night import LandingSettings, Night
from jobs.tables.schemas import WAREHOUSE
from tests.jobs.faults.hooks import hooked


class Frame:
    """What `Warehouse.replace` needs of a Spark frame; it is written as Spark writes it."""

    def __init__(self, rows: pa.Table) -> None:
        self._rows = rows
        self.schema = from_arrow_schema(rows.schema)
        self.write = SimpleNamespace(parquet=hooked(self._write, "DataFrameWriter.parquet"))

    def withColumns(self, _: Mapping[str, object]) -> Self:  # noqa: N802 - Spark's name
        """Return the frame, which has the columns of the partition already."""
        return self

    def select(self, *_: str) -> Self:
        """Return the frame, which has the columns in the order of the table."""
        return self

    def _write(self, path: str) -> None:
        folder = Path(path.removeprefix("file://"))
        folder.mkdir()
        pq.write_table(self._rows, folder / "part-00000.snappy.parquet")
        (folder / "_SUCCESS").touch()


@dataclass(frozen=True, kw_only=True)
class Step:
    """A table that a job has handed over."""

    table: str
    part: dict[str, str]
    rows: pa.Table
    """With the columns of the partition, if it was a Spark frame."""
    is_frame: bool


@dataclass(kw_only=True)
class Recording:
    """The writes of one run."""

    landing_tables: Sequence[str] = ()
    steps: list[Step] = field(default_factory=list)
    measures: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, run: Callable[[], object]) -> Self:
        """Run a job and record what it hands over."""
        recording = cls()
        replace, leave = Night.replace, Night.__exit__

        def record(night: Night, table: str, rows: Any, **part: str) -> None:
            replace(night, table, rows, **part)
            is_frame = not isinstance(rows, pa.Table)
            if is_frame:
                written = night._warehouse.rows(table, first=night.date, last=night.date)
                for column, value in part.items():
                    written = written.filter(pc.equal(written[column], value))
                rows = written.select(WAREHOUSE[table].schema.names)
            recording.steps.append(Step(table=table, part=part, rows=rows, is_frame=is_frame))

        def end(night: Night, *error: Any) -> None:
            recording.landing_tables, recording.measures = night._landing_tables, night._measures
            leave(night, *error)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Night, "replace", record)
            patch.setattr(Night, "__exit__", end)
            run()
        return recording

    def repeat(self, settings: LandingSettings, job: str) -> None:
        """Hand the same over again."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(night_module, "check_java", lambda: None)
            with Night(settings, job, landing_tables=self.landing_tables) as night:
                for step in self.steps:
                    night.replace(step.table, Frame(step.rows) if step.is_frame else step.rows, **step.part)
                night._measures = self.measures
