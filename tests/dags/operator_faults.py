"""The faults of `dags/README.md`, each raised by the code that it comes from."""

import datetime as dt
from pathlib import Path

import pyarrow as pa
import torch
from deltalake import DeltaTable

from jobs import await_landing, erase, keep_house
from jobs.tables import landing, spark
from jobs.tables.duck import connect
from jobs.tables.faults import explained
from jobs.tables.night import DateSettings, Night
from jobs.tables.schemas import LANDING
from jobs.tables.warehouse import Warehouse
from model import promote, retire
from model.network import AgeNetwork, NetworkConfig
from tests.dags.operator_folder import COUNTS, DATE, EVENTS, MODEL_JSON, OperatorFolder


class Faults(OperatorFolder):
    """One method for each text."""

    def landing_zone_does_not_exist(self):
        await_landing.missing_folders(str(self.folder / "nowhere"), DATE)

    def storage_is_silent(self):
        def no_answer(*_):  # a real one takes six seconds, see tests/jobs/test_await_landing.py
            raise OSError("AWS Error NETWORK_CONNECTION")

        self.monkeypatch.setattr(await_landing, "missing_folders", no_answer)
        await_landing.main(await_landing.Settings(business_date=DATE, landing="s3a://chain/landing"))

    def bucket_does_not_exist(self):  # for the real texts, see tests/jobs/test_object_store.py
        with explained("s3://chain/warehouse"):
            raise OSError("Bucket 'chain' not found.")

    def store_is_not_encrypted(self):
        with explained("s3://chain/warehouse"):
            raise OSError("Generic S3 error\n ↳ URL scheme is not allowed")

    def date_is_in_the_future(self):
        settings = await_landing.Settings(business_date=DATE, landing=str(self.folder))
        await_landing.check_night(settings, dt.datetime(2026, 11, 7, tzinfo=dt.UTC))

    def bands_leave_a_gap(self):
        settings = await_landing.Settings(business_date=DATE, landing=str(self.folder), age_bands=("18-29",))
        await_landing.check_night(settings, dt.datetime(2026, 11, 10, tzinfo=dt.UTC))

    def table_is_missing(self):
        (self.folder / "landing").mkdir()
        self.read_landing()

    def transfer_is_not_complete(self):
        self.land().with_name("part-1.parquet.tmp").touch()
        self.read_landing()

    def date_is_a_file(self):
        folder = self.land().parent
        folder.rename(self.folder / "moved")
        folder.touch()
        self.read_landing()

    def date_is_a_broken_link(self):
        folder = self.land().parent
        folder.rename(self.folder / "moved")
        folder.symlink_to(self.folder / "nowhere")
        self.read_landing()

    def permission_is_denied(self):
        # Raised here, because the superuser, who may run this test, can open all files.
        with explained(self.warehouse.uri):
            raise PermissionError(13, "Permission denied", str(self.folder))

    def folder_has_other_files(self):
        self.land().with_name("part-1.csv").touch()
        self.read_landing()

    def file_is_not_parquet(self):
        self.land().write_text("no Parquet")
        self.read_landing()

    def column_is_missing(self):
        self.land(schema=LANDING[EVENTS].remove(0))
        self.read_landing()

    def column_has_another_type(self):
        self.land(schema=LANDING[EVENTS].set(0, LANDING[EVENTS].field(0).with_type(pa.int64())))
        self.read_landing()

    def warehouse_is_not_writable(self):
        (self.folder / "file").touch()
        Warehouse(str(self.folder / "file" / "warehouse")).check_writable()

    def warehouse_is_of_another_version(self):
        from deltalake import write_deltalake  # noqa: PLC0415

        write_deltalake(self.folder / "warehouse" / COUNTS, pa.table({"age_year": [1]}))
        self.warehouse.check_schemas()

    def step_before_has_not_finished(self):
        with Night(DateSettings(business_date=DATE, warehouse=self.warehouse.uri), "build_affinity"):
            pass

    def another_writer_replaced_the_date(self):
        self.write_counts()

        def change(rows):
            self.warehouse.replace(COUNTS, rows, DATE)
            return rows

        self.warehouse.update(COUNTS, DATE, change)

    def another_job_changed_the_table(self):
        self.write_counts()
        read_before = DeltaTable(self.folder / "warehouse" / COUNTS)
        self.write_counts()
        with explained(self.warehouse.uri):
            read_before.delete()

    def warehouse_has_a_bracket(self):
        landing.open_warehouse(str(self.folder / "ware[house"))

    def file_was_removed(self):
        self.write_counts().unlink()
        self.read_counts()

    def file_is_damaged(self):
        file = self.write_counts()
        file.write_bytes(file.read_bytes()[:100])
        self.read_counts()

    def landing_file_is_damaged(self):
        file = self.land([{"photo_id": f"p{n}"} for n in range(3000)])
        content = file.read_bytes()
        file.write_bytes(content[:30] + bytes(2970) + content[3000:])
        self.screen_events()

    def memory_is_too_small(self):
        self.land([{"photo_id": f"p{n}"} for n in range(3000)])
        self.monkeypatch.setenv("BREAD_SALT_DUCKDB_MEMORY", "1MB")
        self.screen_events()

    def memory_is_no_size(self):
        self.monkeypatch.setenv("BREAD_SALT_DUCKDB_MEMORY", "much")
        with connect(self.warehouse.uri):
            pass

    def log_is_damaged(self):
        self.write_counts()
        (self.folder / "warehouse" / COUNTS / "_delta_log" / f"{1:020}.json").write_text("{")
        self.read_counts()

    def disk_is_full(self):
        with explained(self.warehouse.uri), Path("/dev/full").open("w") as full:
            full.write("x")
            full.flush()

    def java_is_missing(self):
        self.monkeypatch.delenv("JAVA_HOME", raising=False)
        self.monkeypatch.setenv("PATH", str(self.folder))
        spark.check_java()

    def python_of_workers_is_wrong(self):
        self.monkeypatch.setenv("PYSPARK_PYTHON", str(self.folder / "python"))
        self.monkeypatch.delenv("PYSPARK_GATEWAY_PORT", raising=False)
        spark.check_worker_python()

    def model_folder_is_empty(self):
        self.read_model()

    def model_was_changed(self):
        self.read_model(model_json=MODEL_JSON, weights_safetensors="others")

    def model_is_incomplete(self):
        self.read_model(model_json=MODEL_JSON)

    def model_is_not_json(self):
        self.read_model(model_json="{")

    def hash_of_a_model_is_a_number(self):
        self.read_model(model_json=MODEL_JSON.replace(f'"{"0" * 64}"', "17"))

    def weights_do_not_fit(self):
        self.load_model(NetworkConfig(image_size=64), {"weight": torch.zeros(1)})

    def weights_are_not_finite(self):
        config = NetworkConfig(image_size=64)
        weights = AgeNetwork(config).state_dict()
        next(iter(weights.values())).fill_(float("nan"))
        self.load_model(config, weights)

    def store_of_models_to_delete_does_not_exist(self):
        retire.main(retire.Settings(store=self.folder / "store"))

    def store_does_not_exist(self):
        promote.main(promote.Settings(model=self.folder, store=self.folder / "store"))

    def warehouse_of_a_query_is_empty(self):
        with connect(str(self.folder), restricted=True):
            pass

    def warehouse_of_housekeeping_is_empty(self):
        keep_house.main(keep_house.Settings(warehouse=self.warehouse.uri))

    def retention_is_too_short(self):
        keep_house.Settings(warehouse=self.warehouse.uri, keep_ages_days=7)

    def person_is_unknown(self):
        self.warehouse.create_tables()
        self.erase()

    def warehouse_of_an_erasure_is_empty(self):
        self.erase()

    def person_is_in_the_landing_zone(self):
        self.score_person()
        self.land([{"photo_id": "p1"}])
        self.erase()

    def person_is_written_again(self):
        (self.folder / "landing").mkdir()
        self.score_person()
        self.monkeypatch.setattr(erase.upkeep, "vacuum", lambda *_: self.score_person())
        self.erase()

    def erased_date_has_no_landing_zone(self):
        (self.folder / "landing").mkdir()
        self.score_person()
        self.write_counts()
        self.erase()

    def time_zone_is_wrong(self):
        self.monkeypatch.setenv("BREAD_SALT_TIME_ZONE", "Mars/Olympus")
        error = next(iter(self.load_dags().import_errors.values()))
        raise ValueError(error.splitlines()[-1].partition("ValueError: ")[2])

    def manual_run_has_no_date(self):
        from types import SimpleNamespace  # noqa: PLC0415

        macros = self.load_dags().dags["nightly_purchase_analytics"].user_defined_macros
        macros["business_date"]({"business_date": None}, SimpleNamespace(run_type="manual"))
