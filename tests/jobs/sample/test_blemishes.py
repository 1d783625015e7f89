import datetime as dt
import io
import json

import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image

from jobs.sample.blemishes import FILE_BLEMISHES, uniform_jpeg
from jobs.sample_chain import Settings, write_chain
from jobs.tables.schemas import LANDING

DAY_ONE = dt.date(2026, 11, 9)
TABLE_BLEMISHES = {
    "path_leaves_the_landing_zone",
    "unknown_store",
    "no_capture_time",
    "photo_event_delivered_twice",
    "photo_named_by_another_event",
    "receipt_delivered_twice",
    "line_delivered_twice",
    "unknown_product",
    "line_without_receipt",
    "return_negative_quantity",
    "closes_before_it_opens",
}
BOMB = "decompression_bomb_30000x30000"


def table(chain, name, date=DAY_ONE):
    return pq.ParquetFile(chain / "landing" / name / f"business_date={date}" / "part-00000.parquet").read()


def blemishes(chain):
    return json.loads((chain / "truth" / "blemishes.json").read_text())


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """Two small dates, with photos."""
    out = tmp_path_factory.mktemp("chain")
    write_chain(Settings(out=out, receipts_per_day=150, stores=2, days=2))
    return out


def test_every_bad_row_is_listed_by_kind(chain):
    named = blemishes(chain)
    receipts, lines, events = (table(chain, name).to_pandas() for name in ("receipts", "receipt_lines", "photo_events"))
    products = pd.read_parquet(chain / "landing" / "products")
    line = lines.set_index(["receipt_id", "line_no"]).sort_index()
    event = events.set_index("photo_id")

    assert event.loc[named["path_leaves_the_landing_zone"], "path"].tolist() == ["../../../etc/hostname"]
    assert set(event.loc[named["unknown_store"], "store_id"]).isdisjoint(receipts["store_id"])
    assert event.loc[named["no_capture_time"], "captured_at"].isna().all()
    assert events.loc[events.duplicated(), "photo_id"].tolist() == named["photo_event_delivered_twice"]
    (again,) = named["photo_named_by_another_event"]
    (same,) = set(events.loc[events["path"] == event.loc[again, "path"], "photo_id"]) - {again, "nowhere", "notime"}
    assert (event.loc[same, "captured_at"] < event.loc[again, "captured_at"]).all()
    assert receipts.loc[receipts.duplicated(), "receipt_id"].tolist() == named["receipt_delivered_twice"]
    twice = lines.loc[lines.duplicated(), ["receipt_id", "line_no"]].to_numpy().tolist()
    assert twice == named["line_delivered_twice"]
    unknown = line.loc[[tuple(key) for key in named["unknown_product"]], "product_id"]
    assert set(unknown).isdisjoint(products["product_id"])
    assert set(lines["receipt_id"]) - set(receipts["receipt_id"]) == set(named["line_without_receipt"])
    returned = lines.loc[lines["quantity"] < 0, ["receipt_id", "line_no"]].to_numpy().tolist()
    assert returned == named["return_negative_quantity"]
    backwards = receipts.loc[receipts["closed_at"] < receipts["opened_at"], "receipt_id"].tolist()
    assert backwards == named["closes_before_it_opens"]


def test_bad_rows_are_on_the_first_date_only(chain):
    second = dt.date(2026, 11, 10)
    for name in LANDING.keys() - {"products"}:
        assert not table(chain, name, second).to_pandas().duplicated().any()
    assert table(chain, "photo_events", second)["captured_at"].null_count == 0
    assert set(blemishes(chain)) == TABLE_BLEMISHES | FILE_BLEMISHES.keys() | {BOMB}


def test_every_bad_file_is_listed_by_kind(chain):
    files = {kind: [chain / "landing" / path for path in blemishes(chain)[kind]] for kind in FILE_BLEMISHES}
    assert {kind: len(paths) for kind, paths in files.items()} == FILE_BLEMISHES
    for path in files["truncated_jpeg"]:
        with Image.open(path) as image, pytest.raises(OSError, match="truncated"):
            image.load()
    assert all(path.stat().st_size == 0 for path in files["empty_file"])
    assert all(path.read_text().startswith("<html>") for path in files["not_an_image"])
    assert not any(path.exists() for path in files["file_missing"])
    for kind, form in (
        ("png_named_jpg_still_readable", ("PNG", "RGB")),
        ("grayscale_still_readable", ("JPEG", "L")),
    ):
        for path in files[kind]:
            with Image.open(path) as image:
                image.load()
                assert (image.format, image.mode) == form


def test_every_other_photo_is_a_readable_crop_of_200_pixels(chain):
    bad = {path for kind in (*FILE_BLEMISHES, BOMB) for path in blemishes(chain)[kind]}
    paths = {
        path
        for date in (DAY_ONE, dt.date(2026, 11, 10))
        for path in table(chain, "photo_events", date)["path"].to_pylist()
        if path.startswith("photos/")
    }
    assert bad <= paths
    for path in paths - bad:
        with Image.open(chain / "landing" / path) as image:
            image.load()
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (200, 200))


def test_the_decompression_bomb_is_a_small_file_of_900_million_pixels(chain, monkeypatch):
    (bomb,) = (chain / "landing" / path for path in blemishes(chain)[BOMB])
    assert bomb.stat().st_size < 4_000_000
    with pytest.raises(Image.DecompressionBombError):
        Image.open(bomb)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with Image.open(bomb) as image:
        assert image.size == (30_000, 30_000)


@pytest.mark.parametrize("size", [(8, 8), (100, 60), (1, 17)])
def test_a_uniform_jpeg_decodes_to_a_single_grey(size):
    with Image.open(io.BytesIO(uniform_jpeg(*size))) as image:
        assert image.size == size
        assert image.getextrema() == (128, 128)
