"""Blemishes: bad rows and bad files as in real landing zones, added to the sample chain on purpose.

Bad rows are added and replace no good rows, so the truth holds for all but a few receipts. Bad files replace photos.
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
"""Number of bad photo files by kind."""

BOMB_SIDE_PIXELS = 30_000


def _row(table: pa.Table, number: int) -> dict[str, Any]:
    row: dict[str, Any] = table.slice(number, 1).to_pylist()[0]
    return row


def add_bad_rows(tables: Tables, date: dt.date, rng: np.random.Generator) -> tuple[Tables, Named]:
    """Return the tables with bad rows at the end, and these blemishes by kind.

    Args:
        tables: `photo_events`, `receipts` and `receipt_lines` of one date, with at least 100 receipts.
        date: the business date.
        rng: chooses the rows that are repeated or changed.
    """
    events, receipts, lines = tables["photo_events"], tables["receipts"], tables["receipt_lines"]
    event, receipt, line, buyer, returned, closing = (
        _row(table, int(rng.integers(table.num_rows))) for table in (events, receipts, lines, receipts, lines, receipts)
    )
    first_receipt, first_line = _row(receipts, 0), _row(lines, 0)
    at_nine = dt.datetime(date.year, date.month, date.day, 9, tzinfo=dt.UTC)
    bad_event = {key: first_receipt[key] for key in ("till_id", "store_id")}
    bad_event |= {"captured_at": at_nine, "path": event["path"]}
    swapped = {"opened_at": closing["closed_at"], "closed_at": closing["opened_at"]}
    negative = {"quantity": -returned["quantity"], "amount": -returned["amount"]}
    bad_rows = {
        "photo_events": [
            event,
            bad_event | {"photo_id": "traversal", "path": "../../../etc/hostname"},
            bad_event | {"photo_id": "nowhere", "store_id": "NO-SUCH-STORE"},
            bad_event | {"photo_id": "notime", "captured_at": None},
            event | {"photo_id": "again", "captured_at": event["captured_at"] + dt.timedelta(seconds=1)},
        ],
        "receipts": [receipt, closing | swapped | {"receipt_id": "CLOSES-BEFORE-IT-OPENS"}],
        "receipt_lines": [
            line,
            first_line | {"receipt_id": buyer["receipt_id"], "line_no": 99, "product_id": "000000"},
            first_line | {"receipt_id": "NO-SUCH-RECEIPT", "line_no": 1},
            returned | negative | {"line_no": 98},
        ],
    }
    named: Named = {
        "path_leaves_the_landing_zone": ["traversal"],
        "unknown_store": ["nowhere"],
        "no_capture_time": ["notime"],
        "photo_event_delivered_twice": [event["photo_id"]],
        "photo_named_by_another_event": ["again"],
        "receipt_delivered_twice": [receipt["receipt_id"]],
        "line_delivered_twice": [[line["receipt_id"], line["line_no"]]],
        "unknown_product": [[buyer["receipt_id"], 99]],
        "line_without_receipt": ["NO-SUCH-RECEIPT"],
        "return_negative_quantity": [[returned["receipt_id"], 98]],
        "closes_before_it_opens": ["CLOSES-BEFORE-IT-OPENS"],
    }
    return tables | {name: _append(name, tables[name], rows) for name, rows in bad_rows.items()}, named


def _append(name: str, table: pa.Table, rows: list[dict[str, Any]]) -> pa.Table:
    return pa.concat_tables([table, pa.Table.from_pylist(rows, schema=LANDING[name])])


def bomb_event(events: pa.Table, date: dt.date) -> pa.Table:
    """Return the photo events with an additional one, whose file is the decompression bomb."""
    captured_at = dt.datetime(date.year, date.month, date.day, 9, 1, tzinfo=dt.UTC)
    bomb = {"photo_id": "bomb", "captured_at": captured_at, "path": f"photos/business_date={date}/bomb.jpg"}
    return _append("photo_events", events, [_row(events, 0) | bomb])


def add_bad_files(landing: Path, events: pa.Table, rng: np.random.Generator) -> Named:
    """Replace some photo files of the events by bad files, write the bomb, and return these blemishes by kind.

    Photos with a repeated event are not used, so that no row has two blemishes.
    """
    n_events = Counter(events["path"].to_pylist())
    paths = [path for path, n in n_events.items() if n == 1 and path.startswith("photos/")]
    bomb = next(path for path in paths if path.endswith("/bomb.jpg"))
    paths.remove(bomb)
    order = iter(rng.permutation(len(paths)).tolist())
    named: Named = {kind: [paths[next(order)] for _ in range(n)] for kind, n in FILE_BLEMISHES.items()}
    for kind, bad_paths in named.items():
        for path in bad_paths:
            _damage(landing / path, kind)
    (landing / bomb).write_bytes(uniform_jpeg(BOMB_SIDE_PIXELS, BOMB_SIDE_PIXELS))
    return named | {"decompression_bomb_30000x30000": [bomb]}


def _damage(photo: Path, kind: str) -> None:
    content = photo.read_bytes()
    image = Image.open(io.BytesIO(content))
    match kind:
        case "truncated_jpeg":
            photo.write_bytes(content[: len(content) // 2])
        case "empty_file":
            photo.write_bytes(b"")
        case "not_an_image":
            photo.write_text("<html><body>502 Bad Gateway</body></html>", encoding="utf-8")
        case "png_named_jpg_still_readable":
            image.save(photo, format="PNG")
        case "grayscale_still_readable":
            image.convert("L").save(photo, format="JPEG")
        case _:
            photo.unlink()


def uniform_jpeg(width: int, height: int) -> bytes:
    """Return a valid grey JPEG of any size, without creating its pixels: 2 bits per block of 8 x 8.

    Each Huffman table has a single code of one bit: "same brightness as the block before" and "no detail". So the image
    data are zero bits. 30000 x 30000 pixels take 3.5 MB, and 900 MB when decoded.
    """

    def segment(marker: int, body: bytes) -> bytes:
        return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body

    one_code = bytes([1] + [0] * 15) + b"\x00"
    n_blocks = -(-width // 8) * -(-height // 8)
    return b"".join(
        [
            b"\xff\xd8",
            segment(0xDB, b"\x00" + bytes([1] * 64)),  # quantisation table
            segment(0xC0, struct.pack(">BHHB", 8, height, width, 1) + b"\x01\x11\x00"),  # frame: one component
            segment(0xC4, b"\x00" + one_code),  # Huffman table of brightness
            segment(0xC4, b"\x10" + one_code),  # Huffman table of detail
            segment(0xDA, b"\x01\x01\x00\x00\x3f\x00"),  # scan
            bytes(-(-n_blocks * 2 // 8)),
            b"\xff\xd9",
        ]
    )
