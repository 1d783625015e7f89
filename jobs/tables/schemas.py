"""The Arrow schema of every table of the landing zone and the warehouse, in the column order of the contract.

Parquet footers, Delta and DuckDB all use Arrow schemas.
Timestamps are UTC in microseconds, ages in years, amounts in the currency of the store.
"""

from dataclasses import dataclass

import pyarrow as pa

from jobs.tables.cashier_schemas import CASHIERS

_TIMESTAMP = pa.timestamp("us", tz="UTC")


def _schema(columns: dict[str, pa.DataType]) -> pa.Schema:
    return pa.schema(list(columns.items()))


LANDING: dict[str, pa.Schema] = {
    "photo_events": _schema(
        {
            "photo_id": pa.string(),
            "store_id": pa.string(),
            "till_id": pa.string(),
            "captured_at": _TIMESTAMP,
            "path": pa.string(),
        }
    ),
    "receipts": _schema(
        {
            "receipt_id": pa.string(),
            "store_id": pa.string(),
            "till_id": pa.string(),
            "till_type": pa.string(),
            "cashier_id": pa.string(),
            "opened_at": _TIMESTAMP,
            "closed_at": _TIMESTAMP,
            "id_checked": pa.bool_(),
        }
    ),
    "receipt_lines": _schema(
        {
            "receipt_id": pa.string(),
            "line_no": pa.int32(),
            "product_id": pa.string(),
            "quantity": pa.float64(),
            "amount": pa.float64(),
        }
    ),
    "products": _schema(
        {
            "product_id": pa.string(),
            "product_name": pa.string(),
            "category": pa.string(),
            "department": pa.string(),
            "min_age": pa.int32(),
            "is_alcohol": pa.bool_(),
        }
    ),
}

UNDATED = frozenset({"products"})
"""Landing tables without business-date folders: they hold the current state and are read completely every night."""


@dataclass(frozen=True, kw_only=True)
class WarehouseTable:
    """A Delta table of the warehouse."""

    schema: pa.Schema
    partition_by: tuple[str, ...] = ("business_date",)
    """A job replaces one such partition at a time."""

    @property
    def row_schema(self) -> pa.Schema:
        """The columns that a job fills in: all columns except those of the partition."""
        return pa.schema([field for field in self.schema if field.name not in self.partition_by])


def is_restricted(name: str) -> bool:
    """Return whether a warehouse table is restricted to the service account and auditors.

    >>> is_restricted("restricted/photo_ages"), is_restricted("analytics/age_bands")
    (True, False)
    """
    return name.startswith("restricted/")


_AFFINITY = {
    # Protected counts (fewer than ten are hidden, others are rounded), and ratios of them.
    "n_days": pa.int32(),  # dates in the window with counts; less than window_days at the start
    "n_receipts": pa.int64(),  # receipts of the band
    "n_receipts_with_item": pa.int64(),
    "quantity": pa.float64(),
    "amount": pa.float64(),
    "penetration": pa.float64(),
    "penetration_all": pa.float64(),
    "naive_index": pa.float64(),  # from estimated ages as they are; 100 = the average of all shoppers
    "lift": pa.float64(),
    "leverage": pa.float64(),
    "spend_share": pa.float64(),
    # Corrected for the error of the estimated ages, in whole points.
    "affinity_index": pa.int32(),
    "index_low": pa.int32(),  # 95 % interval
    "index_high": pa.int32(),
    "q_value": pa.float64(),
    "is_notable": pa.bool_(),
    "reason": pa.string(),  # why the cell is hidden or not corrected
}

WAREHOUSE: dict[str, WarehouseTable] = {
    "restricted/photo_ages": WarehouseTable(
        schema=_schema(
            {
                "business_date": pa.date32(),
                "photo_id": pa.string(),
                "store_id": pa.string(),
                "till_id": pa.string(),
                "captured_at": _TIMESTAMP,
                "age_years": pa.float64(),
                "age_low": pa.float64(),
                "age_high": pa.float64(),
                "p_under_18": pa.float64(),
                "p_under_25": pa.float64(),
                "status": pa.string(),
                "reason": pa.string(),
                "model_version": pa.string(),
            }
        )
    ),
    "restricted/age_errors": WarehouseTable(
        schema=_schema(
            {
                "business_date": pa.date32(),
                "source": pa.string(),  # held_out or kernel_photos
                "age_years": pa.int32(),  # true age, completed years
                "estimated_years": pa.float64(),
            }
        )
    ),
    "restricted/receipt_ages": WarehouseTable(
        schema=_schema(
            {
                "business_date": pa.date32(),
                "receipt_id": pa.string(),
                "store_id": pa.string(),
                "till_id": pa.string(),
                "age_years": pa.float64(),
                "n_photos": pa.int32(),
                "photo_ids": pa.list_(pa.string()),
                "p_under_18": pa.float64(),
                "p_under_25": pa.float64(),
            }
        )
    ),
    "restricted/daily_counts": WarehouseTable(
        schema=_schema(
            {
                "business_date": pa.date32(),
                "age_year": pa.int32(),  # completed years, 100 and over as 100
                "level": pa.string(),  # all, department, category or product
                "item": pa.string(),  # empty at level all
                "n_receipts": pa.int64(),
                "quantity": pa.float64(),
                "amount": pa.float64(),
            }
        )
    ),
    "restricted/daily_store_counts": WarehouseTable(
        schema=_schema(
            {
                "business_date": pa.date32(),
                "store_id": pa.string(),
                "level": pa.string(),
                "item": pa.string(),
                "age_year": pa.int32(),  # null except at level all
                "n_receipts": pa.int64(),
                "age_years_sum": pa.int64(),  # sum of age_year over these receipts
            }
        )
    ),
    "restricted/catalogue": WarehouseTable(
        schema=_schema(
            {
                "business_date": pa.date32(),
                "product_id": pa.string(),
                "product_name": pa.string(),
                "category": pa.string(),
                "department": pa.string(),
                "min_age": pa.int32(),
            }
        )
    ),
    "restricted/quarantine": WarehouseTable(
        schema=_schema(
            {
                "business_date": pa.date32(),
                "source_table": pa.string(),
                "key": pa.string(),
                "reason": pa.string(),
                "detail": pa.string(),
            }
        ),
        partition_by=("business_date", "source_table"),
    ),
    **{name: WarehouseTable(schema=schema) for name, schema in CASHIERS.items()},
    "restricted/erasures": WarehouseTable(
        schema=_schema(
            {
                "business_date": pa.date32(),
                "begun_at": _TIMESTAMP,
                "finished_at": _TIMESTAMP,  # null: interrupted
                "reason": pa.string(),
                "n_rows": pa.int64(),  # erased, in all tables
                "is_counted": pa.bool_(),  # the counts of the date contained the person
            }
        )
    ),
    "analytics/age_bands": WarehouseTable(
        schema=_schema(
            {
                "business_date": pa.date32(),
                "age_band": pa.string(),
                "from_years": pa.int32(),  # completed years, both ends included
                "to_years": pa.int32(),
            }
        )
    ),
    "analytics/age_product_affinity": WarehouseTable(
        schema=_schema(
            {
                "business_date": pa.date32(),
                "window_days": pa.int32(),
                "age_band": pa.string(),
                "product_id": pa.string(),
                "product_name": pa.string(),
                "category": pa.string(),
                "department": pa.string(),
                **_AFFINITY,
            }
        )
    ),
    "analytics/age_category_affinity": WarehouseTable(
        schema=_schema(
            {
                "business_date": pa.date32(),
                "window_days": pa.int32(),
                "age_band": pa.string(),
                "level": pa.string(),
                "item": pa.string(),
                **_AFFINITY,
            }
        )
    ),
    "analytics/age_offers": WarehouseTable(
        schema=_schema(
            {
                "business_date": pa.date32(),
                "window_days": pa.int32(),
                "age_band": pa.string(),
                "rank": pa.int32(),
                "product_id": pa.string(),
                "product_name": pa.string(),
                "category": pa.string(),
                "department": pa.string(),
                "affinity_index": pa.int32(),
                "index_low": pa.int32(),
                "index_high": pa.int32(),
                "penetration": pa.float64(),
                "reason": pa.string(),  # a sentence for category managers
            }
        )
    ),
    "analytics/run_quality": WarehouseTable(
        schema=_schema(
            {
                "business_date": pa.date32(),
                "job": pa.string(),
                "source_table": pa.string(),
                "measure": pa.string(),
                "value": pa.float64(),
                "text": pa.string(),
            }
        ),
        partition_by=("business_date", "job"),
    ),
}
