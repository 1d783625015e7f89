"""The funnel plot: its points, names and text alternative, read back from the SVG."""

import datetime as dt
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from jobs.plot_cashiers import MAX_NAMES, Settings, draw, limit_line, main, svg
from jobs.tables.schemas import WAREHOUSE
from jobs.tables.warehouse import Warehouse
from model.cli import InputError

DATE = dt.date(2026, 11, 9)
CAVEAT = "A reason to look at receipts, not a finding. Other explanations: camera, clientele & chance (8 tested)."
SVG = "{http://www.w3.org/2000/svg}"
NAME = "restricted/cashier_screening"


LIMITS = ("limit_low_95", "limit_low_998", "limit_high_95", "limit_high_998")


def row(number: int = 0, status: str = "within_limits", made: int = 10, expected: float = 20.0, **changed) -> dict:
    return {
        "business_date": DATE,
        "store_id": "S1",
        "cashier_id": f"C{number}",
        "status": status,
        "checks_made": made,
        "checks_expected": expected,
        "limit_low_95": 0.7 * expected,
        "limit_low_998": 0.5 * expected,
        "limit_high_95": 1.3 * expected,
        "limit_high_998": 1.5 * expected,
        "caveat": CAVEAT,
    } | changed


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    statuses = ["within_limits"] * 20 + ["insufficient_data"] * 3 + ["watch"] * 2 + ["review"]
    return [row(n, status, made=3 + n, expected=4.0 + 2 * n) for n, status in enumerate(statuses)]


@pytest.fixture(scope="module")
def picture(rows) -> ET.Element:
    return ET.fromstring(svg(rows, 28))  # noqa: S314 - our own text


def texts(picture: ET.Element) -> list[str]:
    return ["".join(text.itertext()) for text in picture.iter(f"{SVG}text")]


def points(picture: ET.Element, status: str) -> np.ndarray:
    """Return the places of the points of a status in the picture, (n, 2)."""
    (group,) = [group for group in picture.iter(f"{SVG}g") if group.get("id") == status]
    return np.array([(float(use.get("x")), float(use.get("y"))) for use in group.iter(f"{SVG}use")])


def test_the_points_are_the_rows(picture, rows):
    shown, expected = [], []
    for status in ("insufficient_data", "within_limits", "watch", "review"):
        chosen = [row for row in rows if row["status"] == status]
        shown.append(points(picture, status))
        expected += [(np.log(row["checks_expected"]), row["checks_made"] / row["checks_expected"]) for row in chosen]
        assert len(shown[-1]) == len(chosen)
    for place, value in zip(np.concatenate(shown).T, np.array(expected).T, strict=True):
        slope, intercept = np.polyfit(value, place, 1)
        assert place == pytest.approx(slope * value + intercept, abs=0.01)


def test_a_status_has_its_own_shape(picture):
    shapes = {}
    for group in picture.iter(f"{SVG}g"):
        if group.get("id") in {"watch", "review", "within_limits"}:
            shapes[group.get("id")] = next(group.iter(f"{SVG}path")).get("d").count("L")
    assert len(set(shapes.values())) == 3


def test_cashiers_on_watch_and_in_review_are_named_and_no_others(picture):
    names = [text for text in texts(picture) if " in S1" in text]
    assert sorted(names) == ["C23 in S1", "C24 in S1", "C25 in S1"]


def test_the_picture_has_a_text_alternative(picture):
    assert picture.get("role") == "img"
    title, desc = picture.find(f"{SVG}title"), picture.find(f"{SVG}desc")
    assert (picture.get("aria-labelledby"), picture.get("aria-describedby")) == (title.get("id"), desc.get("id"))
    assert title.text == "Checks of a document by cashier, 28 days to 2026-11-09"
    assert "26 cashiers" in desc.text
    assert "C25 in S1: in review, checks made 28, expected 54.0" in desc.text
    assert CAVEAT in desc.text


def test_the_caveat_is_text_in_the_picture(picture):
    assert CAVEAT in " ".join(texts(picture))


def test_names_stay_text():
    names = ["<script>alert(1)</script>", "a & b", "$x^2$", 'quote"', "bell\a", "C_1"]
    rows = [row(cashier_id=name, status="review", expected=10.0 * 2**n) for n, name in enumerate(names)]
    text = svg(rows, 28)
    assert "<script" not in text
    shown = texts(ET.fromstring(text))  # noqa: S314 - our own text
    assert {f"{name} in S1".replace("\a", "?") for name in names} <= set(shown)


def test_the_same_rows_give_the_same_file(rows):
    assert svg(rows, 28) == svg(rows, 28)


def test_the_file_loads_nothing_from_the_network(rows):
    text = svg(rows, 28)
    assert "<!DOCTYPE" not in text
    links = re.findall(r'(?:href|src)="([^"]*)"|url\(([^)]*)\)', text)
    assert links
    assert all((href or url).startswith("#") for href, url in links)
    assert not re.search(r"<image|@import|<script", text)


@pytest.mark.parametrize(("step", "n_places"), [(0.0, 18), (0.001, MAX_NAMES)])
def test_the_picture_says_how_many_names_are_left_out(step, n_places):
    rows = [row(n, "watch", expected=20 + n * step) for n in range(MAX_NAMES + 60)]
    drawn = ET.fromstring(svg(rows, 28))  # noqa: S314 - our own text
    names = [text for text in texts(drawn) if " in S1" in text]
    assert 5 < len(names) <= n_places
    assert f"{MAX_NAMES + 60 - len(names)} of {MAX_NAMES + 60} names are left out" in " ".join(texts(drawn))


def test_a_ratio_beyond_the_picture_is_drawn_at_its_edge():
    drawn = draw([row(0, made=90, expected=20.0), row(1)], 28)
    shown = np.concatenate([group.get_offsets() for group in drawn.axes[0].collections])
    assert sorted(shown[:, 1]) == [0.5, 2.5]
    assert "1 ratios above 2.5 are drawn at 2.5." in drawn.axes[1].texts[0].get_text()


def test_the_legend_covers_no_data(rows):
    drawn = draw(rows, 28)
    drawn.draw_without_rendering()
    legend = drawn.axes[1].get_legend().get_window_extent()
    assert legend.y1 < drawn.axes[0].get_tightbbox().y0


def test_many_points_are_an_image_and_marked_ones_are_not():
    rows = [row(n, expected=20 + n / 100) for n in range(6000)] + [row(6000, "review")]
    text = svg(rows, 28)
    assert len(text) < 500_000
    assert "data:image/png" in text
    assert len(points(ET.fromstring(text), "review")) == 1  # noqa: S314 - our own text


@pytest.mark.parametrize("n", [1, 2, 5, 300])
def test_a_line_goes_through_the_limits(n):
    expected = np.exp(np.linspace(1, 5, n))
    limit = 1 - 1 / np.sqrt(expected)
    limit[n // 2 :: 7] = np.nan if n > 2 else limit[0]
    x, y = limit_line(expected, limit)
    assert (x.min(), x.max()) == (expected[np.isfinite(limit)].min(), expected[np.isfinite(limit)].max())
    assert y.min() >= np.nanmin(limit)
    if n == 300:
        assert y == pytest.approx(1 - 1 / np.sqrt(x), abs=0.03)


def test_one_cashier_without_limits_is_drawn():
    assert "C0 in S1" in svg([row(0, "watch", **dict.fromkeys(LIMITS))], 7)


def write(warehouse: Path, date: dt.date, *screened: dict) -> None:
    schema = WAREHOUSE[NAME].row_schema
    Warehouse(str(warehouse)).replace(NAME, pa.Table.from_pylist(list(screened), schema=schema), date)


@pytest.fixture
def warehouse(tmp_path) -> Path:
    Warehouse(str(tmp_path / "w")).create_tables()
    return tmp_path / "w"


def test_the_newest_date_is_drawn_for_its_owner(warehouse, tmp_path):
    write(warehouse, DATE, {**row(1, "review"), "window_days": 28}, {**row(2, "review"), "window_days": 7})
    write(warehouse, DATE - dt.timedelta(1), {**row(3, "review"), "window_days": 28})
    out = tmp_path / "funnel.svg"
    main(Settings(warehouse=str(warehouse), out=out))
    assert re.findall(r"(C\d) in S1: in review", out.read_text()) == ["C1"]
    assert oct(out.stat().st_mode & 0o777) == "0o600"
    main(Settings(warehouse=str(warehouse), out=out, window_days=28, business_date=DATE - dt.timedelta(1)))
    assert re.findall(r"(C\d) in S1: in review", out.read_text()) == ["C3"]


def test_a_date_without_rows_is_an_error(warehouse, tmp_path):
    with pytest.raises(InputError, match="has no rows of any date with window_days 7"):
        main(Settings(warehouse=str(warehouse), out=tmp_path / "funnel.svg", window_days=7))
    with pytest.raises(InputError, match="has no rows of 2026-11-09 with window_days 28"):
        main(Settings(warehouse=str(warehouse), out=tmp_path / "funnel.svg", business_date=DATE))
    assert not (tmp_path / "funnel.svg").exists()
