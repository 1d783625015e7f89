import datetime as dt

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from jobs.tables.duck import connect
from jobs.tables.schemas import WAREHOUSE
from jobs.tables.warehouse import Warehouse
from model.cli import InputError

COUNTS = "restricted/daily_counts"
DATE = dt.date(2026, 11, 9)

COUNTS_BY_BAND = pa.schema(
    {
        "business_date": pa.date32(),
        "age_band": pa.string(),
        "level": pa.string(),
        "item": pa.string(),
        "n_receipts": pa.int64(),
        "quantity": pa.float64(),
        "amount": pa.float64(),
    }
)
"""The columns of `restricted/daily_counts` when counts were kept by age band."""


@pytest.fixture
def warehouse(tmp_path):
    Warehouse(str(tmp_path)).create_tables()
    return tmp_path


def replace_table(warehouse, name, schema):
    for file in sorted((warehouse / name).rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    rows = pa.Table.from_pylist([{"business_date": DATE}], schema=schema)
    write_deltalake(warehouse / name, rows, partition_by=["business_date"])


def openings(warehouse):
    """Return the two ways to open a warehouse: for jobs and for queries."""

    def query():
        with connect(str(warehouse), restricted=True):
            pass

    return Warehouse(str(warehouse)).check_schemas, query


def test_the_tables_of_the_contract_pass(warehouse):
    for opening in openings(warehouse):
        opening()


def test_a_warehouse_without_tables_passes(tmp_path):
    Warehouse(str(tmp_path / "new")).check_schemas()
    assert list(tmp_path.iterdir()) == []


def test_the_error_names_each_old_table_a_column_and_the_next_step(warehouse):
    replace_table(warehouse, COUNTS, COUNTS_BY_BAND)
    receipt_ages = WAREHOUSE["restricted/receipt_ages"].schema
    replace_table(warehouse, "restricted/receipt_ages", receipt_ages.append(pa.field("age_band", pa.string())))
    for opening in openings(warehouse):
        with pytest.raises(InputError) as error:
            opening()
        assert str(error.value) == (
            f"the warehouse {warehouse} is from another version of this project: "
            "restricted/receipt_ages: column age_band is unexpected; "
            "restricted/daily_counts: column age_year is missing. "
            f"Remove the folders {warehouse}/restricted/receipt_ages, {warehouse}/restricted/daily_counts; "
            "then run the nightly jobs again for their dates, oldest first (photo scores are kept)"
        )
    assert DeltaTable(warehouse / COUNTS).count() == 1


def test_another_type_is_an_error(warehouse):
    schema = WAREHOUSE[COUNTS].schema
    text = schema.set(schema.get_field_index("n_receipts"), pa.field("n_receipts", pa.string()))
    replace_table(warehouse, COUNTS, text)
    for opening in openings(warehouse):
        with pytest.raises(InputError, match="column n_receipts is string, expected int64"):
            opening()


def test_an_old_table_of_scores_is_not_said_to_be_kept(warehouse):
    replace_table(warehouse, "restricted/photo_ages", COUNTS_BY_BAND)
    with pytest.raises(InputError, match=r"again for their dates, oldest first$"):
        Warehouse(str(warehouse)).check_schemas()


def test_analysts_are_not_stopped_by_a_table_they_cannot_see(warehouse):
    replace_table(warehouse, COUNTS, COUNTS_BY_BAND)
    with connect(str(warehouse)):
        pass


def test_a_table_that_is_not_in_the_contract_is_ignored(warehouse):
    replace_table(warehouse, "restricted/removed_table", COUNTS_BY_BAND)
    for opening in openings(warehouse):
        opening()
