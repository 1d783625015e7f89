"""What the faults of `dags/README.md` have in common: a folder with a landing zone, a warehouse and a model."""

import dataclasses
import datetime as dt
import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.torch import save_file

from jobs import erase
from jobs.tables import landing
from jobs.tables.faults import explained
from jobs.tables.night import LandingSettings, Night
from jobs.tables.schemas import LANDING, WAREHOUSE
from jobs.tables.warehouse import Warehouse
from model.release import checkpoint

DATE = dt.date(2026, 11, 9)
MODEL_JSON = json.dumps({"network": {}, "sha256": {checkpoint.WEIGHTS: "0" * 64}})
EVENTS, COUNTS, PHOTO_AGES = "photo_events", "restricted/daily_counts", "restricted/photo_ages"


class OperatorFolder:
    """What a fault does in its folder, which is empty before."""

    def __init__(self, folder: Path, monkeypatch, load_dags):
        self.folder, self.monkeypatch, self.load_dags = folder, monkeypatch, load_dags
        self.warehouse = Warehouse(str(folder / "warehouse"))

    def land(self, rows=(), name="part-0.parquet", schema=LANDING[EVENTS]):
        file = self.folder / "landing" / EVENTS / f"business_date={DATE}" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), file)
        return file

    def read_landing(self):
        landing.landing_files(landing.open_place(str(self.folder / "landing")), EVENTS, DATE)

    def screen_events(self):
        places = {"landing": str(self.folder / "landing"), "warehouse": self.warehouse.uri}
        settings = LandingSettings(business_date=DATE, **places)
        with Night(settings, "score_photos", landing_tables=[EVENTS]) as night:
            night.connection.table(f"landing.{EVENTS}").distinct().create("events")

    def write_counts(self):
        self.warehouse.create_tables()
        counts = [{"age_year": n % 90, "level": "product", "item": f"p{n}", "n_receipts": n} for n in range(3000)]
        self.warehouse.replace(COUNTS, pa.Table.from_pylist(counts, schema=WAREHOUSE[COUNTS].row_schema), DATE)
        return next((self.folder / "warehouse" / COUNTS).rglob("*.parquet"))

    def read_counts(self):
        with explained(self.warehouse.uri):
            self.warehouse.rows(COUNTS)

    def read_model(self, **files):
        for name, text in files.items():
            (self.folder / name.replace("_", ".")).write_text(text)
        checkpoint.version(self.folder)

    def load_model(self, config, weights):
        save_file(weights, self.folder / checkpoint.WEIGHTS)
        sha256 = hashlib.sha256((self.folder / checkpoint.WEIGHTS).read_bytes()).hexdigest()
        content = {"network": dataclasses.asdict(config), "sha256": {checkpoint.WEIGHTS: sha256}}
        (self.folder / checkpoint.MODEL_JSON).write_text(json.dumps(content))
        checkpoint.load(self.folder)

    def score_person(self):
        self.warehouse.create_tables()
        rows = pa.Table.from_pylist([{"photo_id": "p1"}], schema=WAREHOUSE[PHOTO_AGES].row_schema)
        self.warehouse.replace(PHOTO_AGES, rows, DATE)

    def erase(self, **flags):
        settings = erase.Settings(
            warehouse=self.warehouse.uri,
            landing=str(self.folder / "landing"),
            photo_id=("p1",),
            reason="17",
            time_zone="UTC",
            **flags,
        )
        erase.main(settings)
