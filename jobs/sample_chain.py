"""Write a synthetic chain with known truth, in the layout of the landing zone, for demos, tests and benchmarks.

- Writes `OUT/landing` (tables and photos) and `OUT/truth`, which jobs must not read: `category_affinity.csv` (the true
  index of each age band and category, see `jobs.sample.assortment`), `ages.csv` (the true age for each photo and
  receipt; photo_id is empty for a receipt without a photo) and `blemishes.json` (the bad rows and files). With
  `--labelled` also `OUT/faces`, photos of known age for training.
- With `--cashiers-per-store` cashiers rotate over the tills and differ in how often they ask for a document, and a few
  are planted who ask seldom, sell to minors or see no document; see `jobs.sample.cashiers`. Their truth is
  `truth/cashiers.csv`, `truth/checks.csv` (whether a document was shown) and `truth/places.json` (the campus store and
  the till with a wrong camera). The true indices then hold for all but these sales and the campus store.
- The same flags give the same files. A date does not depend on the number of dates.
- An existing sample chain in OUT is replaced; other data in OUT are an error.
"""

import csv
import datetime as dt
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from tqdm import tqdm

from jobs.sample import assortment as sample_assortment, blemishes as sample_blemishes
from jobs.sample.cashiers import CAMERA_YEARS, CHECKS, KINDS, Staff, plan_staff
from jobs.sample.faces import face_jpeg
from jobs.sample.receipts import AGES, Tables, cashier_ids, draw_receipts, plan_tills, store_ids, till_ids
from jobs.tables.schemas import LANDING, UNDATED
from model.cli import InputError, run

MARKER = "sample_chain.json"
"""This file marks a folder as a sample chain, which can be replaced; it contains the flags."""

LIMITS = {
    "seed": (0, 2**32 - 1),
    "days": (1, 366),
    "receipts_per_day": (100, 10_000_000),
    "stores": (1, 10_000),
    "labelled": (0, 1_000_000),
    "cashiers_per_store": (0, 1000),
    "check_spread": (0, 3),
    "planted": (0, 1000),
}
"""Smallest and largest value of each flag."""

_RECEIPTS_PER_BLOCK = 100_000  # limits memory for large dates
_CSV = pacsv.WriteOptions(quoting_style="none", quoting_header="none")
# Separate random streams, so that --no-photos or --no-blemishes does not change other data.
_RECEIPTS, _BLEMISHES, _PERSON, _PHOTO, _LABELLED = range(1, 6)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Flags of the program."""

    out: Path
    """Output folder: new, empty, or an earlier sample chain, which is replaced."""
    seed: int = 1
    """Seed of all random numbers."""
    first_date: dt.date = dt.date(2026, 11, 9)
    """First business date; it has all blemishes."""
    days: int = 1
    """Number of business dates."""
    receipts_per_day: int = 2000
    """Receipts of the chain on each date; a till has at most 150, and stores have as many tills as needed."""
    stores: int = 6
    """Number of stores."""
    labelled: int = 0
    """Number of photos of known age for training, ages 1 to 100 years."""
    photos: bool = True
    """Write the image files of the photo events."""
    blemishes: bool = True
    """Add bad rows and files."""
    cashiers_per_store: int = 0
    """Number of cashiers of each store, more than its staffed tills. 0: three at each till, who all check alike."""
    check_spread: float = 0.25
    """Standard deviation between cashiers, of the log odds that a buyer is asked; only with cashiers."""
    planted: int = 1
    """Number of planted cashiers of each kind; only with cashiers."""


def check(settings: Settings) -> None:
    """Raise InputError if a number is out of range or `out` contains something other than a sample chain."""
    for name, (smallest, largest) in LIMITS.items():
        value = getattr(settings, name)
        if not smallest <= value <= largest:
            flag = name.replace("_", "-")
            raise InputError(f"--{flag} is {value}; it must be from {smallest} to {largest}")
    out = settings.out
    if out.exists() and not (out / MARKER).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"--out {out} is not a sample chain and not empty; choose a new or empty folder")
    draw_staff(settings)


def draw_staff(settings: Settings) -> Staff | None:
    """Return the cashiers of the chain, or None without `cashiers_per_store`."""
    if not settings.cashiers_per_store:
        return None
    is_self = plan_tills(settings.stores, settings.receipts_per_day).is_self.reshape(settings.stores, -1)
    return plan_staff(settings.seed, is_self, settings.cashiers_per_store, settings.check_spread, settings.planted)


def draw_blocks(settings: Settings, date: dt.date) -> Iterator[Tables]:
    """Yield the tables of one date in blocks of tills."""
    goods = sample_assortment.assortment(settings.seed)
    tills, staff = plan_tills(settings.stores, settings.receipts_per_day), draw_staff(settings)
    for number, block in enumerate(tills.blocks(_RECEIPTS_PER_BLOCK)):
        rng = np.random.default_rng([settings.seed, _RECEIPTS, date.toordinal(), number])
        yield draw_receipts(rng, date, block, goods, staff)


def write_date(settings: Settings, date: dt.date, truth: Mapping[str, pacsv.CSVWriter]) -> sample_blemishes.Named:
    """Write the tables and photos of one date, append to the tables of the truth, and return the blemishes."""
    landing = settings.out / "landing"
    rng = np.random.default_rng([settings.seed, _BLEMISHES])
    named: sample_blemishes.Named = {}
    with ExitStack() as stack, tqdm(total=settings.receipts_per_day, desc=f"{date}", unit=" receipts") as bar:
        writers = {}
        for name in LANDING.keys() - UNDATED:
            path = landing / name / f"business_date={date}" / "part-00000.parquet"
            path.parent.mkdir(parents=True)
            writers[name] = stack.enter_context(pq.ParquetWriter(path, LANDING[name]))
        for number, block in enumerate(draw_blocks(settings, date)):
            tables, has_blemishes = block, settings.blemishes and date == settings.first_date and number == 0
            if has_blemishes:
                tables, named = sample_blemishes.add_bad_rows(tables, date, rng)
            if settings.photos:
                write_photos(settings, date, tables)
            if settings.photos and has_blemishes:
                tables |= {"photo_events": sample_blemishes.bomb_event(tables["photo_events"], date)}
                named |= sample_blemishes.add_bad_files(landing, tables["photo_events"], rng)
            for name, writer in writers.items():
                writer.write_table(tables[name])
            for name, csv_writer in truth.items():
                csv_writer.write_table(tables[name])
            bar.update(block["receipts"].num_rows)
    return named


def write_photos(settings: Settings, date: dt.date, tables: Tables) -> None:
    """Write the photos of a block of receipts; the photos of a receipt show the same person."""
    ages, wrong = tables["ages"], _photos_of_wrong_camera(draw_staff(settings), tables["photo_events"])
    folder = settings.out / "landing" / "photos" / f"business_date={date}"
    folder.mkdir(parents=True, exist_ok=True)
    photos = ages.filter(ages["photo_id"].is_valid())
    for row in tqdm(photos.to_pylist(), desc="photos", unit=" photos", leave=False):
        receipt, photo = (int("".join(filter(str.isdigit, row[key]))) for key in ("receipt_id", "photo_id"))
        age_years = max(1, row["true_age"] - CAMERA_YEARS) if row["photo_id"] in wrong else row["true_age"]
        photo_bytes = face_jpeg(age_years, [settings.seed, _PERSON, receipt], [settings.seed, _PHOTO, photo])
        (folder / f"{row['photo_id']}.jpg").write_bytes(photo_bytes)


def _photos_of_wrong_camera(staff: Staff | None, events: pa.Table) -> set[str]:
    if not staff:
        return set()
    places = pc.equal(events["store_id"], store_ids(np.array([staff.camera]))[0])
    tills = pc.equal(events["till_id"], till_ids(np.array([0]))[0])
    return set(events["photo_id"].filter(pc.and_(places, tills)).to_pylist())


def write_staff(staff: Staff, truth: Path) -> None:
    """Write `cashiers.csv` and `places.json`."""
    n_stores, per_store = staff.kind.shape
    stores = np.repeat(np.arange(n_stores), per_store)
    cashiers = {
        "store_id": store_ids(stores),
        "cashier_id": cashier_ids(np.arange(stores.size)),
        "kind": [KINDS[kind] for kind in staff.kind.ravel()],
        "check_effect": staff.effect.ravel().round(4),
    }
    pacsv.write_csv(pa.table(cashiers), truth / "cashiers.csv", _CSV)
    campus, camera = store_ids(np.array([staff.campus, staff.camera])).to_pylist()
    wrong = {"store_id": camera, "till_id": till_ids(np.array([0]))[0].as_py(), "years_too_young": CAMERA_YEARS}
    _write_json(truth / "places.json", {"campus": {"store_id": campus}, "camera": wrong})


def write_labelled(settings: Settings) -> None:
    """Write `final_files/*.jpg` and `labels.csv`, with equal numbers of all ages from 1 to 100."""
    folder = settings.out / "faces"
    (folder / "final_files").mkdir(parents=True)
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        labels = csv.writer(file)
        labels.writerow(["file_name", "real_age"])
        for number in tqdm(range(settings.labelled), desc="labelled", unit=" photos"):
            age_years, seed = number % 100 + 1, [settings.seed, _LABELLED, number]
            labels.writerow([f"{number:06}.jpg", age_years])
            (folder / "final_files" / f"{number:06}.jpg").write_bytes(face_jpeg(age_years, [*seed, 0], [*seed, 1]))


def write_chain(settings: Settings) -> None:
    """Write the landing zone and the truth; delete an earlier sample chain."""
    for folder in ("landing", "truth", "faces"):
        if (settings.out / folder).exists():
            shutil.rmtree(settings.out / folder)
    truth, products = settings.out / "truth", settings.out / "landing" / "products"
    truth.mkdir(parents=True)
    products.mkdir(parents=True)
    _write_json(settings.out / MARKER, {"complete": False})
    pq.write_table(sample_assortment.assortment(settings.seed).products, products / "part-00000.parquet")
    pacsv.write_csv(sample_assortment.category_affinity(), truth / "category_affinity.csv", _CSV)
    schemas = {"ages": AGES}
    if staff := draw_staff(settings):
        write_staff(staff, truth)
        schemas["checks"] = CHECKS
    named: sample_blemishes.Named = {}
    with ExitStack() as stack:
        tables = {
            name: stack.enter_context(pacsv.CSVWriter(truth / f"{name}.csv", schema, write_options=_CSV))
            for name, schema in schemas.items()
        }
        for day in range(settings.days):
            named |= write_date(settings, settings.first_date + dt.timedelta(days=day), tables)
    _write_json(truth / "blemishes.json", named)
    if settings.labelled:
        write_labelled(settings)
    _write_json(settings.out / MARKER, _flags(settings) | {"complete": True})


def is_complete(settings: Settings) -> bool:
    """Check that `out` has a complete chain with these flags."""
    marker = settings.out / MARKER
    expected = json.loads(json.dumps(_flags(settings) | {"complete": True}, default=str))
    return marker.is_file() and json.loads(marker.read_text(encoding="utf-8")) == expected


def _flags(settings: Settings) -> dict[str, object]:
    without_cashiers = {"cashiers_per_store", "check_spread", "planted"} if not settings.cashiers_per_store else set()
    return {name: value for name, value in asdict(settings).items() if name not in {"out", *without_cashiers}}


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1, default=str) + "\n", encoding="utf-8")


def main(settings: Settings) -> None:
    """Check the flags and write the chain."""
    check(settings)
    write_chain(settings)
    print(f"wrote {settings.days} x {settings.receipts_per_day} receipts to {settings.out}")


if __name__ == "__main__":
    run(main, Settings)
