import datetime as dt
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake

from jobs.compare_truth import Settings, main
from jobs.tables.bands import DEFAULT_BANDS, age_bands
from jobs.tables.schemas import LANDING, WAREHOUSE
from model.cli import InputError

DATE = dt.date(2026, 11, 9)
OPENED = dt.datetime(2026, 11, 9, 9, tzinfo=dt.UTC)
DATED = f"business_date={DATE}"


def write_landing(root: Path, table: str, rows: list[dict], folder: str = DATED) -> None:
    path = root / "landing" / table / folder / "part-0.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=LANDING[table]), path)


def write_warehouse(root: Path, table: str, rows: list[dict]) -> None:
    schema = WAREHOUSE[table].schema
    rows = [{"business_date": DATE, **row} for row in rows]
    write_deltalake(root / "warehouse" / table, pa.Table.from_pylist(rows, schema=schema))


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    """Four shoppers of 20, 20, 40 and 40 years. The first two buy beer, all buy bread."""
    receipts = [f"r{i}" for i in range(4)]
    ages = ["photo_id,receipt_id,true_age", "p0,r0,20", "p1,r1,20", "p2,r2,40", "p3,r3,40", ",r4,40"]
    (tmp_path / "truth").mkdir()
    (tmp_path / "truth" / "ages.csv").write_text("\n".join(ages))
    write_landing(
        tmp_path,
        "receipts",
        [{"receipt_id": r, "opened_at": OPENED, "closed_at": OPENED} for r in [*receipts, "r4"]],
    )
    write_landing(tmp_path, "photo_events", [{"photo_id": f"p{i}"} for i in range(4)])
    lines = [(r, "bread") for r in receipts] + [("r0", "beer"), ("r1", "beer")]
    write_landing(
        tmp_path,
        "receipt_lines",
        [{"receipt_id": r, "line_no": i, "product_id": p, "quantity": 1.0} for i, (r, p) in enumerate(lines)],
    )
    products = [{"product_id": name, "category": name.title()} for name in ("bread", "beer")]
    write_landing(tmp_path, "products", products, folder=".")
    write_warehouse(
        tmp_path,
        "restricted/photo_ages",
        [{"photo_id": f"p{i}", "age_years": age} for i, age in enumerate([22.0, 20.0, 41.0, 45.0])],
    )
    matched = {"r0": ["p0"], "r1": ["p1"], "r2": ["p3"], "r3": ["p2"]}
    write_warehouse(
        tmp_path,
        "restricted/receipt_ages",
        [{"receipt_id": r, "photo_ids": photos} for r, photos in matched.items()],
    )
    write_warehouse(tmp_path, "analytics/age_bands", [band._asdict() for band in age_bands(DEFAULT_BANDS)])
    write_warehouse(
        tmp_path,
        "analytics/age_category_affinity",
        [
            {
                "window_days": 7,
                "age_band": band,
                "level": "category",
                "item": item,
                "n_receipts_with_item": 10,
                "naive_index": naive,
                "affinity_index": index,
                "index_low": index - 20,
                "index_high": index + 20,
                "is_notable": index > 120,
            }
            for band, item, naive, index in [
                ("18-29", "Beer", 130.0, 150),
                ("18-29", "Bread", 101.0, 101),
                ("30-44", "Bread", 98.0, 98),
            ]
        ],
    )
    write_warehouse(
        tmp_path,
        "analytics/age_product_affinity",
        [
            {
                "window_days": 28,
                "age_band": "18-29",
                "product_id": "beer",
                "product_name": "Lager",
                "category": "Beer",
                "n_receipts_with_item": 10,
                "naive_index": 130.0,
                "affinity_index": 150,
                "index_low": 130,
                "index_high": 170,
            }
        ],
    )
    write_warehouse(
        tmp_path,
        "analytics/age_offers",
        [{"window_days": 28, "age_band": "18-29", "rank": 1, "product_id": "beer", "product_name": "Lager"}],
    )
    return tmp_path


def settings(chain: Path, **flags) -> Settings:
    return Settings(landing=str(chain / "landing"), warehouse=str(chain / "warehouse"), truth=chain / "truth", **flags)


def printed_rows(capsys: pytest.CaptureFixture) -> list[list[str]]:
    return [line.split() for line in capsys.readouterr().out.splitlines() if line]


def test_ages_matches_and_indices_are_compared_with_the_truth(chain, capsys):
    main(settings(chain))
    rows = printed_rows(capsys)
    # Errors 2, 0, 1, 5 years; the error of the median, 30, is always 10.
    assert ["4", "2", "10", "30"] in rows
    assert ["photos", "4", "2", "0.5"] in rows
    assert ["receipts", "4", "2", "0.5"] in rows
    assert ["category", "18-29", "Beer", "10", "130", "150", "130", "170", "200", "NULL"] in rows
    assert ["18-29", "1", "Beer", "10", "130", "150", "130", "170", "True", "200", "NULL"] in rows
    assert ["18-29", "1", "Lager", "NULL", "NULL", "NULL", "200", "NULL", "NULL"] in rows
    assert ["18-29", "offers", "1", "1"] in rows
    assert "true_index" in {row[1] for row in rows if len(row) > 1}
    assert "stated_index" not in {row[1] for row in rows if len(row) > 1}


def test_stated_indices_are_shown_if_the_truth_has_them(chain, capsys):
    stated = "age_band,category,affinity_index\n18-29,Beer,190\n18-29,Bread,100\n30-44,Bread,100\n"
    (chain / "truth" / "category_affinity.csv").write_text(stated)
    main(settings(chain, business_date=DATE))
    rows = printed_rows(capsys)
    assert ["category", "18-29", "Beer", "10", "130", "150", "130", "170", "200", "190"] in rows
    assert "stated_index" in {row[1] for row in rows if len(row) > 1}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"business_date": dt.date(2026, 11, 10)}, "no rows of business date 2026-11-10"),
        ({"window_days": 28}, r"--window-days 28 .* there are: 7 on 2026-11-09"),
    ],
)
def test_a_date_or_window_without_results_is_an_error(chain, flags, message):
    with pytest.raises(InputError, match=message):
        main(settings(chain, **flags))


@pytest.mark.parametrize("missing", ["truth/ages.csv", "landing/receipts"])
def test_the_error_for_a_missing_source_names_it(chain, missing):
    (chain / missing).rename(chain / "elsewhere")
    with pytest.raises(InputError, match=f"{missing} cannot be read"):
        main(settings(chain))
