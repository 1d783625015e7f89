"""Landing zone and warehouse in an S3 object store: a whole night, writers at the same time, housekeeping."""

import datetime as dt
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from pyarrow import fs

from jobs import await_landing, keep_house
from jobs.tables import upkeep
from jobs.tables.duck import connect
from jobs.tables.faults import explained
from jobs.tables.schemas import WAREHOUSE
from jobs.tables.warehouse import Warehouse
from model.cli import InputError, TryAgainError
from tests.conftest import JAVA_OPTIONS

DATES = [dt.date(2026, 11, day) for day in (8, 9)]

SERVER = """
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

app = DomainDispatcherApplication(create_backend_app)
# One request at a time: moto looks whether an object exists, then writes it, and two requests could do so at once.
server = make_server("127.0.0.1", 0, app, threaded=False, request_handler=MotoRequestHandler)
print(server.port, flush=True)
server.serve_forever()
"""


@pytest.fixture(scope="module")
def store():
    """Run an S3 server with an empty bucket `chain`, and set the variables that a program needs to use it."""
    with (
        subprocess.Popen(
            [sys.executable, "-c", SERVER], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        try:
            patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{int(server.stdout.readline())}")
            patch.setenv("AWS_ALLOW_HTTP", "true")
            patch.setenv("AWS_REGION", "eu-central-1")
            patch.setenv("AWS_ACCESS_KEY_ID", "key")
            patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
            filesystem, bucket = fs.FileSystem.from_uri("s3://chain?allow_bucket_creation=true")
            filesystem.create_dir(bucket)
            yield filesystem
        finally:
            server.terminate()


def contents(warehouse):
    with connect(str(warehouse), restricted=True) as connection:
        return {
            name: sorted(connection.sql(f"FROM {name.replace('/', '.')}").fetchall(), key=str) for name in WAREHOUSE
        }


NIGHTS = """
import sys
from pathlib import Path
from jobs import build_affinity, nightly, sample_chain

build_affinity.N_REPLICATES = 2
model, *places = sys.argv[1:]
for landing, warehouse in zip(places[::2], places[1::2]):
    dates = (sample_chain.Settings.first_date,)
    nightly.main(nightly.Settings(business_date=dates, landing=landing, warehouse=warehouse, model=Path(model)))
"""


@pytest.fixture(scope="module")
def warehouses(store, chain, model_folder, tmp_path_factory):
    """The same night in folders and in the store, by a process of its own: Spark's workers need the variables."""
    fs.copy_files(str(chain / "landing"), "chain/landing", destination_filesystem=store)
    model = shutil.copytree(model_folder, tmp_path_factory.mktemp("model") / "model")
    model.with_name("model.compiled").touch()  # in place of the folder of the package, which takes 14 s to build
    local = tmp_path_factory.mktemp("warehouse")
    places = [chain / "landing", local, "s3://chain/landing", "s3://chain/warehouse"]
    environment = os.environ | {"JAVA_TOOL_OPTIONS": JAVA_OPTIONS, "SPARK_LOCAL_IP": "127.0.0.1"}
    subprocess.run([sys.executable, "-c", NIGHTS, model, *places], check=True, env=environment)
    return [str(local), "s3://chain/warehouse"]


def test_a_night_in_the_store_writes_the_rows_of_a_night_in_folders(warehouses):
    local, remote = map(contents, warehouses)
    assert remote == local
    assert len(remote["restricted/photo_ages"]) == 155
    assert sum(map(bool, remote.values())) > 10


@pytest.mark.usefixtures("store")
def test_the_landing_zone_of_the_store_is_awaited(chain):
    assert await_landing.missing_folders("s3://chain/landing", DATES[1]) == []
    assert await_landing.missing_folders("s3://chain/landing", DATES[0])[0] == f"photo_events/business_date={DATES[0]}"
    assert chain.exists()


ERRORS = "restricted/age_errors"


def age_errors(estimate):
    columns = [["held_out"] * 50, list(range(50)), [estimate] * 50]
    return pa.table(columns, names=WAREHOUSE[ERRORS].row_schema.names).cast(WAREHOUSE[ERRORS].row_schema)


@pytest.mark.usefixtures("store")
def test_writers_of_one_date_exclude_each_other_and_writers_of_different_dates_do_not():
    warehouse = Warehouse("s3://chain/writers")

    def write(date, estimate):
        try:
            Warehouse(warehouse.uri).create_tables()
            warehouse.replace(ERRORS, age_errors(estimate), date)
        except TryAgainError:
            return 0
        return 1

    with ThreadPoolExecutor(4) as threads:
        n_written = sum(threads.map(write, DATES[:1] * 4, [1.0, 2.0, 3.0, 4.0]))
    rows = warehouse.rows(ERRORS)
    assert n_written >= 1
    assert len(rows) == 50
    assert len(set(rows["estimated_years"].to_pylist())) == 1
    other_dates = [DATES[0] + dt.timedelta(days=days) for days in (1, 2, 3)]
    with ThreadPoolExecutor(3) as threads:
        assert sum(threads.map(write, other_dates, [5.0, 6.0, 7.0])) == 3
    assert len(warehouse.rows(ERRORS)) == 200


def test_housekeeping_deletes_dates_and_replaced_files(store, counted_warehouse):
    expired = DATES[0] - dt.timedelta(days=70)
    root = counted_warehouse([expired, DATES[1], DATES[1]], warehouse="s3://chain/kept")
    warehouse = Warehouse(root)
    assert sum(len(upkeep.dead_files(warehouse, name)) for name in WAREHOUSE) > 5
    keep_house.main(keep_house.Settings(warehouse=root, delete=True))
    listed = store.get_file_info(fs.FileSelector("chain/kept", recursive=True))
    data = [info.path for info in listed if info.path.endswith(".parquet") and "_delta_log" not in info.path]
    named = [file for name in WAREHOUSE for file in DeltaTable(warehouse.table_uri(name)).file_uris()]
    assert sorted(f"s3://{path}" for path in data) == sorted(named)
    assert not warehouse.has_rows("restricted/daily_counts", expired)
    assert warehouse.has_rows("restricted/daily_counts", DATES[1])


@pytest.mark.parametrize(
    ("variables", "bucket", "message"),
    [
        ({}, "missing", "the bucket does not exist: .*/missing.*; create it, or correct the URI"),
        ({"AWS_ALLOW_HTTP": "false"}, "chain", "set AWS_ALLOW_HTTP=true if that is meant"),
    ],
)
@pytest.mark.usefixtures("store")
def test_a_wrong_configuration_is_one_readable_line(variables, bucket, message, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    warehouse = Warehouse(f"s3://{bucket}/new")
    with pytest.raises(InputError, match=message) as error, explained(warehouse.uri):
        warehouse.check_schemas()
    assert "\n" not in str(error.value)
    assert "\x1b" not in str(error.value)
