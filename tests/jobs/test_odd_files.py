"""Landing files that other programs write: other encodings, texts that are no UTF-8, times without an end."""

import datetime as dt

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from jobs import count_purchases, erase, match_receipts
from jobs.tables.erasures import Ids
from jobs.tables.landing import open_place
from jobs.tables.night import LandingSettings, Night
from jobs.tables.schemas import LANDING
from jobs.tables.warehouse import Warehouse
from model.cli import InputError
from tests.jobs.small_chain import DATE, SmallChain

NINE = dt.datetime(2026, 11, 9, 9, tzinfo=dt.UTC)
RESULTS = ("receipt_ages", "daily_counts", "catalogue", "cashier_daily_counts", "age_restricted_sales", "quarantine")


@pytest.fixture
def landed(rows) -> dict[str, pa.Table]:
    """Two receipts, the second of which is bad, their lines, and two products."""
    return {
        "receipts": rows("receipts", {"cashier_id": "c1"}, {"receipt_id": "r2", "till_id": None}),
        "receipt_lines": rows(
            "receipt_lines", {}, {"line_no": 2, "product_id": "bread"}, {"receipt_id": "r2"}, {"line_no": None}
        ),
        "products": rows("products", {}, {"product_id": "bread", "category": "Bread", "min_age": None}),
    }


@pytest.fixture
def photo(rows) -> dict:
    """Return the photo of the first receipt."""
    return rows("restricted/photo_ages", {}, for_writing=True).to_pylist()[0]


def results(chain: SmallChain, photo: dict) -> dict[str, list[tuple]]:
    """Return the tables of the jobs."""
    chain.write("restricted/photo_ages", photo)
    chain.finish("score_photos")
    chain.run(match_receipts)
    chain.run(count_purchases)
    return {table: chain.rows(f"FROM restricted.{table}") for table in RESULTS}


def as_text_of_bytes(table: pa.Table, **columns: list[bytes | None]) -> pa.Table:
    """Replace text columns by bytes, which no library checks."""
    for name, values in columns.items():
        raw = pa.array(values, pa.binary())
        text = pa.Array.from_buffers(pa.string(), len(raw), raw.buffers(), raw.null_count)
        table = table.set_column(table.column_names.index(name), name, text)
    return table


def encoded(table: pa.Table) -> pa.Table:
    """Return the columns in reverse, in other encodings and among others."""
    texts = [pa.large_string(), pa.string_view(), pa.string()]
    columns = {"note": pa.array([{"a": 1}] * len(table)), "business_date": pa.array(["x"] * len(table))}
    for number, name in enumerate(reversed(table.column_names)):
        column = table[name]
        if pa.types.is_string(column.type):
            column = column.cast(texts[number % 3])
        if number % 3 == 2 and not pa.types.is_boolean(column.type):
            column = pc.dictionary_encode(column)
        columns[name] = column
    return pa.table(columns)


def test_several_files_with_other_columns_and_encodings_give_the_same_tables(tmp_path, landed, photo):
    plain, odd = SmallChain(tmp_path / "plain"), SmallChain(tmp_path / "odd", "l [1] {a,b} *? 'quoted' %41")
    for table, rows in landed.items():
        plain.land_file(table, rows)
        odd.land_file(table, rows.slice(0, 0), "empty.parquet")
        odd.land_file(table, rows.slice(0, 1).append_column("note", [[[1, 2]]]), "first.PARQUET")
        odd.land_file(table, encoded(rows.slice(1)), "others [x].parquet")
    expected = results(plain, photo)
    assert {table: len(rows) for table, rows in expected.items()} == {
        **dict.fromkeys(RESULTS, 1),
        "daily_counts": 6,
        "catalogue": 2,
        "quarantine": 3,
    }
    assert results(odd, photo) == expected
    assert odd.report("count_purchases") == plain.report("count_purchases")


def test_empty_files_give_empty_tables(tmp_path, landed, photo):
    chain = SmallChain(tmp_path)
    for table, rows in landed.items():
        chain.land_file(table, rows.slice(0, 0))
    assert results(chain, photo) == {table: [] for table in RESULTS}
    measures = chain.report("match_receipts")
    assert measures["", "photos_unmatched"] == 1
    assert measures["", "matched_share"] is None
    assert {value for (table, _), value in measures.items() if table} == {0}


@pytest.mark.parametrize("is_dictionary", [False, True], ids=["plain", "dictionary"])
def test_ids_that_are_not_utf8_stop_no_night_and_stay_different(tmp_path, rows, photo, is_dictionary):
    chain = SmallChain(tmp_path)
    receipts = rows("receipts", *({"cashier_id": "c1"} for _ in range(4)))
    lines = rows("receipt_lines", *({"line_no": number} for number in (1, 1, 2, 3, 1)))
    products = rows("products", {}, {"product_name": "?"}).append_column("note", pa.array([1, 2]))
    latin = {
        "receipts": as_text_of_bytes(receipts, receipt_id=[b"r1", b"r\xe8", b"r\xe9", None]),
        "receipt_lines": as_text_of_bytes(
            lines,
            receipt_id=[b"r1", b"r\xe8", b"r\xe8", b"r\xe9", b"r\xff"],
            product_id=[b"lager", b"lager", b"caf\xe9", b"caf\xe8", b"lager"],
        ),
        "products": as_text_of_bytes(products, product_id=[b"lager", b"caf\xe9"], product_name=[b"L", b"Caf\xe9"]),
    }
    for table, rows_of_table in latin.items():
        columns = [
            pc.dictionary_encode(column) if is_dictionary and pa.types.is_string(column.type) else column
            for column in rows_of_table.columns
        ]
        chain.land_file(table, pa.table(columns, names=rows_of_table.column_names))
    found = results(chain, photo)
    assert [row[3:] for row in chain.rows("SELECT 0, 0, 0, key, reason FROM restricted.quarantine")] == [
        ("?", "missing_value"),
        ("r\\xe9/3", "product_unknown"),
        ("r\\xff/1", "receipt_unknown"),
    ]
    assert [row[1:3] for row in found["catalogue"]] == [("caf\\xe9", "Caf\\xe9"), ("lager", "L")]
    assert chain.report("count_purchases")["receipt_lines", "rows_used"] == 3
    assert chain.rows("SELECT SUM(n_receipts) FROM restricted.cashier_daily_counts") == [(3,)]


@pytest.fixture
def screen_events(tmp_path, rows):
    """Return a function that gives the reasons of photo events, by id."""

    def screen(events: pa.Table) -> dict[str, tuple]:
        chain = SmallChain(tmp_path)
        chain.land_file("receipts", rows("receipts", {}))
        chain.land_file("photo_events", events)
        settings = LandingSettings(business_date=DATE, **chain.places)
        with Night(settings, "score_photos", landing_tables=["photo_events", "receipts"]) as night:
            night.screen("photo_events", business_date=DATE)
            screened = night.connection.table("screened_photo_events").select("photo_id", "reason", "detail")
            night.set_aside("photo_events")
            return {photo_id: judged for photo_id, *judged in screened.fetchall()}

    return screen


def test_a_path_that_is_not_utf8_is_not_safe(screen_events, rows):
    events = rows("photo_events", {"photo_id": "bad"}, {"photo_id": "good"})
    paths = [b"photos/p\xe9.jpg", "photos/p\u00e9.jpg".encode()]
    assert screen_events(as_text_of_bytes(events, path=paths)) == {
        "bad": ["path_outside_landing", "path is not below the landing zone"],
        "good": [None, None],
    }


def test_a_path_has_at_most_1024_characters(screen_events, rows):
    lengths = {"long": 1024, "too long": 1025}
    events = rows("photo_events", *({"photo_id": name, "path": "ü" * n} for name, n in lengths.items()))
    assert {name: reason for name, (reason, _) in screen_events(events).items()} == {
        "long": None,
        "too long": "path_outside_landing",
    }


MICROS = {"least": -(2**63), "minus infinity": 1 - 2**63, "infinity": 2**63 - 1, "greatest": 2**63 - 2}
"""DuckDB takes two of these for infinity, and has no text of a date for the others."""


def at(micros: list[int]) -> pa.Array:
    return pa.array(micros, pa.timestamp("us", tz="UTC"))


def test_a_photo_of_an_extreme_time_is_rejected(screen_events, rows):
    events = rows("photo_events", *({"photo_id": name, "path": name} for name in MICROS))
    events = events.set_column(events.column_names.index("captured_at"), "captured_at", at(list(MICROS.values())))
    assert {name: reason for name, (reason, _) in screen_events(events).items()} == dict.fromkeys(
        MICROS, "time_off_date"
    )


def test_a_receipt_of_an_extreme_time_is_rejected_and_not_counted(tmp_path, landed, rows, photo):
    chain = SmallChain(tmp_path)
    pairs = [(opened, closed) for opened in MICROS.values() for closed in MICROS.values()]
    receipts = rows("receipts", *({"receipt_id": f"x{number}"} for number in range(len(pairs))))
    for column, micros in zip(("opened_at", "closed_at"), zip(*pairs, strict=True), strict=True):
        receipts = receipts.set_column(receipts.column_names.index(column), column, at(list(micros)))
    for table, rows_of_table in landed.items():
        chain.land_file(table, rows_of_table)
    without = results(chain, photo)
    chain.land_file("receipts", receipts, "part-1.parquet")
    found = results(chain, photo)
    rejected = [row for row in found["quarantine"] if row[2].startswith("x")]
    assert [row[3] for row in rejected] == ["time_off_date"] * len(pairs)
    assert found | {"quarantine": [row for row in found["quarantine"] if row not in rejected]} == without


@pytest.mark.parametrize("is_coded", [False, True])
def test_an_id_that_is_not_utf8_is_found_when_a_person_is_erased(tmp_path, is_coded):
    """The warehouse has it as text."""
    chain = SmallChain(tmp_path)
    for table in ("photo_events", "receipts", "receipt_lines"):
        rows = pa.Table.from_pylist([{}] * 3, schema=LANDING[table])
        if table != "photo_events":
            rows = as_text_of_bytes(rows, receipt_id=[b"r1", b"r\xe9", None])
            ids = rows["receipt_id"]
            rows = rows.set_column(0, "receipt_id", ids.dictionary_encode() if is_coded else ids)
        chain.land_file(table, rows)
    places = Warehouse(chain.places["warehouse"]), open_place(str(chain.landing))

    def check(receipt):
        return erase.check_landing(*places, DATE, Ids(photos=frozenset(), receipts=frozenset({receipt})))

    with pytest.raises(InputError, match=r"still names the person .*\(rows: receipt_lines 1, receipts 1\)"):
        check("r\\xe9")
    assert not check("r2")
