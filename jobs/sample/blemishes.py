"""What is wrong with real landing zones, put into the sample chain on purpose; each blemish is named.

Bad rows are added, never put in place of good ones, so the known truth stays true but for a handful of
receipts. Bad files take the place of photos.
"""

import datetime as dt
import io
import struct
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from jobs.sample.receipts import Tables
from jobs.tables.schemas import LANDING

Named = dict[str, list[Any]]
"""Kind of blemish -> photo paths, keys, or pairs of receipt_id and line_no."""

FILE_BLEMISHES = {
    "truncated_jpeg": 4,
    "empty_file": 2,
    "not_an_image": 2,
    "png_named_jpg_still_readable": 2,
    "grayscale_still_readable": 3,
    "file_missing": 2,
}
"""Kinds of bad photo file and how many there are of each."""

BOMB_SIDE_PIXELS = 30_000


def _row(table: pa.Table, number: int, **changed: object) -> dict[str, object]:
    row: dict[str, object] = table.slice(number, 1).to_pylist()[0]
    return row | changed


def add_bad_rows(tables: Tables, date: dt.date, rng: np.random.Generator) -> tuple[Tables, Named]:
    """Return the tables with bad rows at their ends, and what they are.

    Args:
        tables: `photo_events`, `receipts` and `receipt_lines` of one date, with at least 100 receipts.
        date: the business date.
        rng: picks the rows that are delivered again or altered.
    """
    events, receipts, lines = tables["photo_events"], tables["receipts"], tables["receipt_lines"]
    event, receipt, twice, unknown, returned, closing = (
        int(rng.integers(table.num_rows)) for table in (events, receipts, lines, receipts, lines, receipts)
    )
    path = events["path"][event].as_py()
    at_nine = dt.datetime(date.year, date.month, date.day, 9, tzinfo=dt.UTC)
    odd_event = {"till_id": receipts["till_id"][0].as_py(), "store_id": receipts["store_id"][0].as_py()}
    bad_events = [
        _row(events, event),
        odd_event | {"photo_id": "traversal", "captured_at": at_nine, "path": "../../../etc/hostname"},
        odd_event | {"photo_id": "nowhere", "captured_at": at_nine, "path": path, "store_id": "NO-SUCH-STORE"},
        odd_event | {"photo_id": "notime", "captured_at": None, "path": path},
    ]
    opened, closed = (receipts[column][closing].as_py() for column in ("opened_at", "closed_at"))
    bad_receipts = [
        _row(receipts, receipt),
        _row(receipts, closing, receipt_id="CLOSES-BEFORE-IT-OPENS", opened_at=closed, closed_at=opened),
    ]
    sold = lines["quantity"][returned].as_py(), lines["amount"][returned].as_py()
    unknown_id = receipts["receipt_id"][unknown].as_py()
    bad_lines = [
        _row(lines, twice),
        _row(lines, 0, receipt_id=unknown_id, line_no=99, product_id="000000"),
        _row(lines, 0, receipt_id="NO-SUCH-RECEIPT", line_no=1),
        _row(lines, returned, line_no=98, quantity=-sold[0], amount=-sold[1]),
    ]
    named: Named = {
        "path_leaves_the_landing_zone": ["traversal"],
        "unknown_store": ["nowhere"],
        "no_capture_time": ["notime"],
        "photo_event_delivered_twice": [events["photo_id"][event].as_py()],
        "receipt_delivered_twice": [receipts["receipt_id"][receipt].as_py()],
        "line_delivered_twice": [[lines["receipt_id"][twice].as_py(), lines["line_no"][twice].as_py()]],
        "unknown_product": [[unknown_id, 99]],
        "line_without_receipt": ["NO-SUCH-RECEIPT"],
        "return_negative_quantity": [[lines["receipt_id"][returned].as_py(), 98]],
        "closes_before_it_opens": ["CLOSES-BEFORE-IT-OPENS"],
    }
    added = {"photo_events": bad_events, "receipts": bad_receipts, "receipt_lines": bad_lines}
    return tables | {name: _append(name, tables[name], rows) for name, rows in added.items()}, named


def _append(name: str, table: pa.Table, rows: list[dict[str, object]]) -> pa.Table:
    return pa.concat_tables([table, pa.Table.from_pylist(rows, schema=LANDING[name])])


def bomb_event(events: pa.Table, date: dt.date) -> pa.Table:
    """Return the photo events with one more, whose file is the decompression bomb."""
    captured_at = dt.datetime(date.year, date.month, date.day, 9, 1, tzinfo=dt.UTC)
    path = f"photos/business_date={date}/bomb.jpg"
    return _append("photo_events", events, [_row(events, 0, photo_id="bomb", captured_at=captured_at, path=path)])


def spoil_files(landing: Path, events: pa.Table, rng: np.random.Generator) -> Named:
    """Spoil some of the photo files that the events name and write the bomb; return what was done to which.

    A photo whose event comes twice is left alone, so that each blemish is the only one of its row.
    """
    n_events = Counter(events["path"].to_pylist())
    whole = [path for path, n in n_events.items() if n == 1 and path.startswith("photos/")]
    bomb = next(path for path in whole if path.endswith("/bomb.jpg"))
    whole.remove(bomb)
    chosen = iter(rng.permutation(len(whole)).tolist())
    named: Named = {kind: [whole[next(chosen)] for _ in range(n)] for kind, n in FILE_BLEMISHES.items()}
    for kind, spoilt in named.items():
        for path in spoilt:
            _spoil(landing / path, kind)
    (landing / bomb).write_bytes(uniform_jpeg(BOMB_SIDE_PIXELS, BOMB_SIDE_PIXELS))
    return named | {"decompression_bomb_30000x30000": [bomb]}


def _spoil(photo: Path, kind: str) -> None:
    whole = photo.read_bytes()
    image, file = Image.open(io.BytesIO(whole)), io.BytesIO()
    match kind:
        case "truncated_jpeg":
            photo.write_bytes(whole[: len(whole) // 2])
        case "empty_file":
            photo.write_bytes(b"")
        case "not_an_image":
            photo.write_text("<html><body>502 Bad Gateway</body></html>", encoding="utf-8")
        case "png_named_jpg_still_readable":
            image.save(file, format="PNG")
            photo.write_bytes(file.getvalue())
        case "grayscale_still_readable":
            image.convert("L").save(file, format="JPEG")
            photo.write_bytes(file.getvalue())
        case _:
            photo.unlink()


def uniform_jpeg(width: int, height: int) -> bytes:
    """Return a valid grey JPEG of any size without ever holding its pixels: 2 bits per block of 8 x 8.

    Each Huffman table has one code, of one bit: "same brightness as the block before" and "no detail", so the
    image data is nothing but zero bits. 30000 x 30000 pixels take 3.5 MB, and 900 MB once decoded.
    """

    def segment(marker: int, body: bytes) -> bytes:
        return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body

    one_code = bytes([1] + [0] * 15) + b"\x00"
    n_blocks = -(-width // 8) * -(-height // 8)
    return b"".join(
        [
            b"\xff\xd8",
            segment(0xDB, b"\x00" + bytes([1] * 64)),  # quantisation
            segment(0xC0, struct.pack(">BHHB", 8, height, width, 1) + b"\x01\x11\x00"),  # frame: one component
            segment(0xC4, b"\x00" + one_code),  # Huffman table of brightness
            segment(0xC4, b"\x10" + one_code),  # and of detail
            segment(0xDA, b"\x01\x01\x00\x00\x3f\x00"),  # scan
            bytes(-(-n_blocks * 2 // 8)),
            b"\xff\xd9",
        ]
    )
