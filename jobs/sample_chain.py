"""A synthetic chain with known truth, in the layout of the landing contract: to try, test and measure jobs.

- Writes `OUT/landing` (tables and photos) and `OUT/truth`, which no job may read: `category_affinity.csv`
  (the true index of each age band and category, see `jobs.sample.assortment`), `ages.csv` (the shopper of
  each photo and receipt; photo_id is empty where the receipt has none) and `blemishes.json` (what is wrong
  on purpose). With `--labelled` also `OUT/faces`, photos of known age to train on.
- The same flags give the same data. A date does not depend on how many dates are asked for.
- An existing sample chain in OUT is replaced; anything else in OUT is refused.
"""

import csv
import datetime as dt
import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from tqdm import tqdm

from jobs.sample import assortment as sample_assortment, blemishes as sample_blemishes
from jobs.sample.faces import face_jpeg
from jobs.sample.receipts import AGES, Tables, draw_receipts, plan_tills
from jobs.tables.schemas import LANDING, UNDATED
from model.cli import InputError, run

MARKER = "sample_chain.json"
"""File that tells a sample chain, which may be replaced, from data that may not; it holds the flags."""

LIMITS = {
    "seed": (0, 2**32 - 1),
    "days": (1, 366),
    "receipts_per_day": (100, 10_000_000),
    "stores": (1, 10_000),
    "labelled": (0, 1_000_000),
}
"""Smallest and largest value of each number."""

_RECEIPTS_PER_BLOCK = 100_000  # bounds memory, whatever the size of the date
_CSV = pacsv.WriteOptions(quoting_style="none", quoting_header="none")
# One random stream each, so that switching one thing off leaves the others as they are.
_RECEIPTS, _BLEMISHES, _PERSON, _PHOTO, _LABELLED = range(1, 6)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Size and place of the sample chain."""

    out: Path
    """folder to write: new, empty, or an earlier sample chain, which is then replaced"""
    seed: int = 1
    """number from which everything random follows"""
    first_date: dt.date = dt.date(2026, 11, 9)
    """first business date; all blemishes are on this one"""
    days: int = 1
    """number of business dates"""
    receipts_per_day: int = 2000
    """receipts of the whole chain on each date; no till has more than 150, stores get more tills instead"""
    stores: int = 6
    """number of stores"""
    labelled: int = 0
    """photos of known age to draw for training, ages 1 to 100 years; 0 draws none"""
    photos: bool = True
    """draw the image files that the photo events name"""
    blemishes: bool = True
    """put in the bad rows and files that real landing zones have"""


def check(settings: Settings) -> None:
    """Raise InputError where a number is out of range or `out` holds something that is not a sample chain."""
    for name, (smallest, largest) in LIMITS.items():
        value = getattr(settings, name)
        if not smallest <= value <= largest:
            flag = name.replace("_", "-")
            raise InputError(f"--{flag} is {value}; it must be from {smallest} to {largest}")
    out = settings.out
    if out.exists() and not (out / MARKER).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"--out {out} holds something that is not a sample chain; name a new or empty folder")


def draw_blocks(settings: Settings, date: dt.date, goods: sample_assortment.Assortment) -> Iterator[Tables]:
    """Yield the tables of one date, some tills at a time."""
    tills = plan_tills(settings.stores, settings.receipts_per_day)
    for number, block in enumerate(tills.blocks(_RECEIPTS_PER_BLOCK)):
        rng = np.random.default_rng([settings.seed, _RECEIPTS, date.toordinal(), number])
        yield draw_receipts(rng, date, block, goods)


def write_date(settings: Settings, date: dt.date, ages: pacsv.CSVWriter) -> sample_blemishes.Named:
    """Write the dated tables and photos of one date and add to `ages`; return the blemishes of that date."""
    landing = settings.out / "landing"
    goods = sample_assortment.assortment(settings.seed)
    rng = np.random.default_rng([settings.seed, _BLEMISHES])
    spoilt_date = settings.blemishes and date == settings.first_date
    named: sample_blemishes.Named = {}
    with ExitStack() as stack, tqdm(total=settings.receipts_per_day, desc=f"{date}", unit=" receipts") as bar:
        writers = {}
        for name in LANDING.keys() - UNDATED:
            path = landing / name / f"business_date={date}" / "part-00000.parquet"
            path.parent.mkdir(parents=True)
            writers[name] = stack.enter_context(pq.ParquetWriter(path, LANDING[name]))
        for number, drawn in enumerate(draw_blocks(settings, date, goods)):
            tables = drawn
            if spoilt_date and number == 0:
                tables, named = sample_blemishes.add_bad_rows(tables, date, rng)
            if settings.photos:
                write_photos(settings, date, tables["ages"])
            if spoilt_date and number == 0 and settings.photos:
                tables |= {"photo_events": sample_blemishes.bomb_event(tables["photo_events"], date)}
                named |= sample_blemishes.spoil_files(landing, tables["photo_events"], rng)
            for name, writer in writers.items():
                writer.write_table(tables[name])
            ages.write_table(tables["ages"])
            bar.update(drawn["receipts"].num_rows)
    return named


def write_photos(settings: Settings, date: dt.date, ages: pa.Table) -> None:
    """Draw the photos of one block of receipts; those of one receipt show the same person."""
    folder = settings.out / "landing" / "photos" / f"business_date={date}"
    folder.mkdir(parents=True, exist_ok=True)
    seen = ages.filter(ages["photo_id"].is_valid())
    for row in tqdm(seen.to_pylist(), desc="photos", unit=" photos", leave=False):
        receipt, photo = (int("".join(filter(str.isdigit, row[key]))) for key in ("receipt_id", "photo_id"))
        photo_bytes = face_jpeg(row["true_age"], [settings.seed, _PERSON, receipt], [settings.seed, _PHOTO, photo])
        (folder / f"{row['photo_id']}.jpg").write_bytes(photo_bytes)


def write_labelled(settings: Settings) -> None:
    """Draw `final_files/*.jpg` and `labels.csv`: every age from 1 to 100 as often as the others."""
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
    """Write the landing zone and the truth, in place of an earlier sample chain."""
    for earlier in ("landing", "truth", "faces"):
        if (settings.out / earlier).exists():
            shutil.rmtree(settings.out / earlier)
    truth, products = settings.out / "truth", settings.out / "landing" / "products"
    truth.mkdir(parents=True)
    products.mkdir(parents=True)
    _write_json(settings.out / MARKER, {"complete": False})
    pq.write_table(sample_assortment.assortment(settings.seed).products, products / "part-00000.parquet")
    pacsv.write_csv(sample_assortment.category_affinity(), truth / "category_affinity.csv", _CSV)
    named: sample_blemishes.Named = {}
    with pacsv.CSVWriter(truth / "ages.csv", AGES, write_options=_CSV) as ages:
        for day in range(settings.days):
            named |= write_date(settings, settings.first_date + dt.timedelta(days=day), ages)
    _write_json(truth / "blemishes.json", named)
    if settings.labelled:
        write_labelled(settings)
    _write_json(settings.out / MARKER, _flags(settings) | {"complete": True})


def is_complete(settings: Settings) -> bool:
    """Tell whether `out` holds the chain that these flags give, written to its end."""
    marker = settings.out / MARKER
    wanted = json.loads(json.dumps(_flags(settings) | {"complete": True}, default=str))
    return marker.is_file() and json.loads(marker.read_text(encoding="utf-8")) == wanted


def _flags(settings: Settings) -> dict[str, object]:
    return {name: value for name, value in asdict(settings).items() if name != "out"}


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1, default=str) + "\n", encoding="utf-8")


def main(settings: Settings) -> None:
    """Check the flags, write the chain and say where it is."""
    check(settings)
    write_chain(settings)
    print(f"wrote {settings.days} x {settings.receipts_per_day} receipts to {settings.out}")


if __name__ == "__main__":
    run(main, Settings)
