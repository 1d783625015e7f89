import csv
import datetime as dt
import hashlib
import itertools
import json
import sys

import pandas as pd
import pyarrow.parquet as pq
import pytest

from jobs.sample.blemishes import FILE_BLEMISHES
from jobs.sample_chain import LIMITS, Settings, check, main, write_chain
from jobs.tables.schemas import LANDING
from model.cli import InputError, run

DAY_ONE = dt.date(2026, 11, 9)


def make_chain(out, **changed):
    write_chain(Settings(**{"out": out, "receipts_per_day": 100, "stores": 2, "photos": False} | changed))
    return out


def table(chain, name, date=DAY_ONE):
    return pq.ParquetFile(chain / "landing" / name / f"business_date={date}" / "part-00000.parquet").read()


def blemishes(chain):
    return json.loads((chain / "truth" / "blemishes.json").read_text())


def fingerprints(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """Two small dates, with photos, blemishes and a labelled set."""
    return make_chain(tmp_path_factory.mktemp("chain"), receipts_per_day=150, days=2, photos=True, labelled=100)


def test_every_table_has_the_schema_of_the_contract(chain):
    assert {path.name for path in (chain / "landing").iterdir()} == {*LANDING, "photos"}
    for name, date in itertools.product(LANDING.keys() - {"products"}, (DAY_ONE, dt.date(2026, 11, 10))):
        assert table(chain, name, date).schema == LANDING[name]
    products = pq.ParquetFile(chain / "landing" / "products" / "part-00000.parquet").read()
    assert products.schema == LANDING["products"]
    assert 300 <= products.num_rows <= 600


def test_the_same_flags_give_the_same_files(tmp_path):
    flags = {"photos": True, "labelled": 5}
    first, second = (fingerprints(make_chain(tmp_path / name, **flags)) for name in ("first", "second"))
    assert first == second


def test_another_seed_gives_other_receipts(tmp_path):
    first, second = (table(make_chain(tmp_path / f"{seed}", seed=seed), "receipts") for seed in (1, 2))
    assert not first.equals(second)


def test_a_date_does_not_depend_on_the_number_of_dates(tmp_path):
    short, long = (make_chain(tmp_path / f"{days}", days=days) for days in (1, 2))
    for name in LANDING.keys() - {"products"}:
        assert table(short, name).equals(table(long, name))


def test_no_two_dates_share_a_receipt(chain):
    first, second = (
        set(table(chain, "receipts", date)["receipt_id"].to_pylist()) for date in (DAY_ONE, dt.date(2026, 11, 10))
    )
    assert first
    assert second
    assert not first & second


def test_without_photos_only_the_image_files_are_left_out(tmp_path, chain):
    without = make_chain(tmp_path, receipts_per_day=150, days=2)
    assert not (without / "landing" / "photos").exists()
    assert not (without / "faces").exists()
    assert set(blemishes(chain)) - set(blemishes(without)) == {*FILE_BLEMISHES, "decompression_bomb_30000x30000"}
    assert len(blemishes(without)) == 11
    drawn = table(chain, "photo_events")
    assert table(without, "photo_events").to_pylist() == drawn.to_pylist()[:-1]
    assert drawn["photo_id"].to_pylist()[-1] == "bomb"


def test_without_blemishes_no_row_or_file_is_bad(tmp_path):
    clean = make_chain(tmp_path, blemishes=False, photos=True)
    assert blemishes(clean) == {}
    assert table(clean, "receipts").num_rows == 100
    events = table(clean, "photo_events")["path"].to_pylist()
    photos = (clean / "landing" / "photos").rglob("*.jpg")
    assert sorted(events) == sorted(str(path.relative_to(clean / "landing")) for path in photos)


def test_every_photo_and_receipt_has_a_true_age(chain):
    ages = pd.read_csv(chain / "truth" / "ages.csv", dtype={"photo_id": str})
    assert ages.columns.tolist() == ["photo_id", "receipt_id", "true_age"]
    assert ages["receipt_id"].nunique() == 2 * 150
    assert ages.drop_duplicates(["receipt_id", "true_age"])["receipt_id"].is_unique
    assert ages["true_age"].between(10, 95).all()
    assert ages["photo_id"].isna().any()


def test_labelled_photos_have_ages_1_to_100_and_differ_from_the_till_photos(chain):
    with (chain / "faces" / "labels.csv").open(newline="") as file:
        labels = list(csv.DictReader(file))
    assert sorted(int(row["real_age"]) for row in labels) == list(range(1, 101))
    faces = fingerprints(chain / "faces" / "final_files")
    assert sorted(faces) == sorted(row["file_name"] for row in labels)
    assert set(faces.values()).isdisjoint(fingerprints(chain / "landing" / "photos").values())


OUT_OF_RANGE = [(name, low - 1) for name, (low, _) in LIMITS.items()] + [
    (name, high + 1) for name, (_, high) in LIMITS.items()
]


@pytest.mark.parametrize(("name", "value"), OUT_OF_RANGE)
def test_the_error_for_a_number_out_of_range_names_the_flag(tmp_path, name, value):
    smallest, largest = LIMITS[name]
    with pytest.raises(InputError, match=f"--{name.replace('_', '-')} is {value}; .* {smallest} to {largest}"):
        check(Settings(out=tmp_path / "new", **{name: value}))


@pytest.mark.parametrize("taken", ["precious.txt", "landing/receipts/part.parquet", "truth/ages.csv"])
def test_a_folder_with_other_data_is_rejected_and_not_changed(tmp_path, taken):
    (tmp_path / taken).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / taken).write_text("precious")
    with pytest.raises(InputError, match=r"--out .* not a sample chain"):
        main(Settings(out=tmp_path))
    assert fingerprints(tmp_path) == {taken: hashlib.sha256(b"precious").hexdigest()}


def test_an_earlier_sample_chain_is_replaced_and_other_folders_are_kept(tmp_path):
    make_chain(tmp_path, days=2, labelled=3)
    (tmp_path / "warehouse").mkdir()
    main(Settings(out=tmp_path, receipts_per_day=100, photos=False))
    assert (tmp_path / "warehouse").is_dir()
    assert not (tmp_path / "faces").exists()
    assert [path.name for path in (tmp_path / "landing" / "receipts").iterdir()] == [f"business_date={DAY_ONE}"]


def test_a_wrong_flag_gives_one_error_line_and_exit_code_2(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["sample_chain", "--out", str(tmp_path), "--stores", "0"])
    with pytest.raises(SystemExit) as exit_status:
        run(main, Settings)
    assert exit_status.value.code == 2
    assert capsys.readouterr().err == "error: --stores is 0; it must be from 1 to 10000\n"
