"""Warehouses whose path has special characters."""

import datetime as dt

import pytest

from jobs.tables.duck import connect, execute
from jobs.tables.upkeep import vacuum
from jobs.tables.warehouse import Warehouse

DATE = dt.date(2026, 11, 9)
NAME = "restricted/quarantine"


@pytest.mark.parametrize("folder", ["w {a,b}*?#%\u00fc", f"x/{NAME}/w", "12:30 {50}%"])
def test_a_warehouse_works_whatever_its_path(rows, tmp_path, folder):
    neighbour = tmp_path / "w a*?#%\u00fc"  # the first folder matches it as a pattern
    Warehouse(str(neighbour)).create_tables()
    root = str(tmp_path / folder)
    warehouse = Warehouse(root)
    warehouse.check_writable()
    warehouse.create_tables()
    for table in ("receipts", "products", "receipts"):
        warehouse.replace(NAME, rows(NAME, {"key": "k1"}, {"key": "k2"}, for_writing=True), DATE, source_table=table)
    vacuum(warehouse, NAME)
    assert warehouse.has_rows(NAME, DATE, source_table="products")
    expected = [("products", "k1"), ("products", "k2"), ("receipts", "k1"), ("receipts", "k2")]
    assert sorted((row["source_table"], row["key"]) for row in warehouse.rows(NAME).to_pylist()) == expected
    with connect(root, restricted=True) as connection:
        assert execute(connection, "SELECT COUNT(*) FROM restricted.quarantine", {}).rows == [(4,)]


def test_a_warehouse_can_be_a_uri_with_escapes(rows, tmp_path):
    warehouse = Warehouse(f"file://{tmp_path}/a%20b")
    warehouse.create_tables()
    warehouse.replace(NAME, rows(NAME, {}, for_writing=True), DATE, source_table="receipts")
    assert len(Warehouse(f"{tmp_path}/a b").rows(NAME)) == 1
