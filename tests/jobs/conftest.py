"""Frames with default values, a small chain with photos, and a model with random weights."""

import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import from_arrow_schema

from jobs import sample_chain
from jobs.tables.schemas import LANDING, WAREHOUSE
from model import predict
from model.network import AgeNetwork, NetworkConfig
from model.release import checkpoint

NINE = dt.datetime(2026, 11, 9, 9, tzinfo=dt.UTC)

DEFAULTS = {
    "photo_id": "p1",
    "store_id": "s1",
    "till_id": "t1",
    "captured_at": NINE,
    "path": "photos/p1.jpg",
    "receipt_id": "r1",
    "till_type": "staffed",
    "cashier_id": None,
    "opened_at": NINE,
    "closed_at": NINE + dt.timedelta(seconds=60),
    "id_checked": None,
    "line_no": 1,
    "product_id": "lager",
    "quantity": 1.0,
    "amount": 2.0,
    "product_name": "Lager",
    "category": "Beer",
    "department": "Drinks",
    "min_age": 18,
    "is_alcohol": True,
    "business_date": NINE.date(),
    "age_years": 40.0,
    "age_year": 40,
    "age_band": "30-44",
    "from_years": 30,
    "to_years": 44,
    "status": "scored",
    "level": "category",
    "item": "Beer",
    "n_receipts": 10,
}


@pytest.fixture
def rows(spark: SparkSession) -> Callable[..., DataFrame]:
    """Build a frame of a landing or warehouse table: `rows("receipts", {"receipt_id": "r2"}, ...)`."""

    def build(table: str, *partial: dict) -> DataFrame:
        schema = LANDING[table] if table in LANDING else WAREHOUSE[table].schema
        full = [{name: row.get(name, DEFAULTS.get(name)) for name in schema.names} for row in partial]
        return spark.createDataFrame(full, from_arrow_schema(schema)).coalesce(1)

    return build


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One date with photos and all blemishes; read-only for tests."""
    out = tmp_path_factory.mktemp("chain") / "sample"
    sample_chain.write_chain(sample_chain.Settings(out=out, receipts_per_day=300, stores=3))
    return out


@pytest.fixture(autouse=True, scope="module")
def _uncompiled() -> Iterator[None]:
    """Score without the compiled package, which takes 14 s to build; tests/model/test_compiled.py tests it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predict, "prepare", lambda _: "cpu, not compiled in tests")
        yield


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model") / "model"
    checkpoint.save(folder, AgeNetwork(NetworkConfig(image_size=32)), {})
    return folder
