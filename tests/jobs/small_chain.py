"""A landing zone and a warehouse that a test fills by hand."""

import datetime as dt
from pathlib import Path
from types import ModuleType

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.tables.duck import connect
from jobs.tables.landing import table_folder
from jobs.tables.schemas import LANDING, WAREHOUSE
from jobs.tables.warehouse import Warehouse

DATE = dt.date(2026, 11, 9)


class SmallChain:
    """A landing zone and a warehouse in one folder."""

    def __init__(self, folder: Path, landing: str = "landing") -> None:
        """Create a warehouse without rows, unless the folder has one."""
        self.landing = folder / landing
        self.places = {"landing": str(self.landing), "warehouse": str(folder / "warehouse")}
        Warehouse(self.places["warehouse"]).create_tables()

    def land(self, table: str, *rows: dict, date: dt.date = DATE) -> None:
        """Replace a landing table by rows; missing columns are null: `land("receipts", {"receipt_id": "r1"}, ...)`."""
        self.land_file(table, pa.Table.from_pylist(rows, schema=LANDING[table]), date=date)

    def land_file(self, table: str, rows: pa.Table, name: str = "part-0.parquet", date: dt.date = DATE) -> None:
        """Write a file of a landing table."""
        folder = self.landing / table_folder(table, date)
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(rows, folder / name)

    def landed(self, table: str) -> list[dict]:
        """Return the rows of a landing table."""
        return pq.ParquetFile(next(self.landing.glob(f"{table}/*/*.parquet"))).read().to_pylist()

    def write(self, table: str, *rows: dict, date: dt.date = DATE, **part: str) -> None:
        """Replace a date of a warehouse table."""
        rows = pa.Table.from_pylist(rows, schema=WAREHOUSE[table].row_schema)
        Warehouse(self.places["warehouse"]).replace(table, rows, date, **part)

    def finish(self, job: str, date: dt.date = DATE) -> None:
        """Write the report of a job."""
        self.write("analytics/run_quality", {"source_table": "", "measure": "n", "value": 1.0}, date=date, job=job)

    def run(self, job: ModuleType, date: dt.date = DATE, **flags: object) -> None:
        """Run a job."""
        job.main(job.Settings(business_date=date, **self.places, **flags))

    def rows(self, statement: str) -> list[tuple]:
        """Return the sorted rows of a query."""
        with connect(self.places["warehouse"], restricted=True) as connection:
            return sorted(connection.sql(statement).fetchall(), key=str)

    def report(self, job: str) -> dict[tuple[str, str], float | str | None]:
        """Return the report of a job: {(source table, measure): value or text}."""
        lines = self.rows("SELECT job, source_table, measure, value, text FROM analytics.run_quality")
        return {
            (table, measure): value if text is None else text
            for name, table, measure, value, text in lines
            if name == job
        }
