import base64
import io
import re
import sys
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from model.pages.page import Page

NASTY = "<script>alert('x')</script> & \"quoted\""


class Reader(HTMLParser):
    """Collects tags with their attributes, and the text of each."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data)

    def named(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def line():
    figure = Figure(figsize=(2, 2))
    figure.subplots().plot([1, 2], [3, 4])
    return figure


@pytest.fixture
def full(photo):
    """A page with one of everything, and nasty text wherever text goes."""
    page = Page(NASTY)
    page.heading(NASTY)
    page.paragraph(NASTY)
    page.notice(NASTY)
    page.bullets([NASTY])
    page.table(pd.DataFrame({NASTY: [NASTY]}), NASTY)
    page.figure(line(), NASTY, NASTY)
    page.photos([(photo(), NASTY)])
    return page


def test_text_is_shown_as_it_is_wherever_it_goes(full):
    read = Reader(full.html())
    assert read.named("script") == []
    # Title twice, heading, paragraph, notice, item, column, cell, caption of table, of figure and of photo.
    assert read.texts.count(NASTY) == 11
    assert [image["alt"] for image in read.named("img")] == [NASTY, f"Photo: {NASTY}"]


def test_a_page_needs_no_other_file_and_no_network(full):
    read = Reader(full.html())
    assert all(image["src"].startswith("data:image/") for image in read.named("img"))
    assert {tag for tag, _ in read.tags} & {"script", "link", "iframe", "object", "a"} == set()
    assert "default-src 'none'" in str(read.named("meta"))
    style = full.html().split("<style>")[1].split("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style


def test_parts_come_in_the_order_of_the_calls():
    page = Page("p")
    for text in ("one", "two", "three"):
        page.heading(text)
        page.paragraph(f"of {text}")
    shown = [text for text in Reader(page.html()).texts if text.strip()]
    assert shown[-6:] == ["one", "of one", "two", "of two", "three", "of three"]


def test_cells_of_a_table_can_be_read():
    frame = pd.DataFrame(
        {"n": [12345, 1], "years": [1.26, np.nan], "name": ["a", None], "mixed": [1000, "b"]}, index=[7, 8]
    )
    page = Page("p")
    page.table(frame, "one row per thing")
    cells = re.findall(r"<td( class=\"number\")?>(.*?)</td>", page.html())
    assert [text for _, text in cells] == ["12,345", "1.3", "a", "1,000", "1", "&ndash;", "&ndash;", "b"]
    assert [bool(number) for number, _ in cells[:4]] == [True, True, False, False]


def test_a_long_cell_and_a_long_table_are_not_cut():
    page = Page("p")
    page.table(pd.DataFrame({"name": ["x" * 300] * 200}), "many")
    assert page.html().count("x" * 300) == 200


def test_an_empty_table_shows_its_columns():
    page = Page("p")
    page.table(pd.DataFrame({"reason": []}), "none")
    assert "reason" in Reader(page.html()).texts


def test_a_figure_is_a_drawing_and_the_same_at_every_run():
    pages = [Page("p"), Page("p")]
    for page in pages:
        page.figure(line(), "a line")
    assert pages[0].html() == pages[1].html()
    source = Reader(pages[0].html()).named("img")[0]["src"]
    drawing = ET.fromstring(base64.b64decode(source.removeprefix("data:image/svg+xml;base64,")))  # noqa: S314
    assert drawing.tag.endswith("svg")


def test_figures_need_no_pyplot(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # importing it is an error now
    page = Page("p")
    page.figure(line(), "a line")
    assert "image/svg+xml" in page.html()


def test_photos_are_the_bytes_given(photo):
    page = Page("p")
    page.photos([(photo(seed), f"{seed} years") for seed in range(3)])
    read = Reader(page.html())
    given = [base64.b64decode(image["src"].removeprefix("data:image/jpeg;base64,")) for image in read.named("img")]
    assert given == [photo(seed) for seed in range(3)]
    assert Image.open(io.BytesIO(given[0])).size == (48, 48)
    assert "2 years" in read.texts


def test_a_page_is_written_whole_and_replaces_the_old_one(tmp_path, full):
    path = tmp_path / "new" / "folder" / "page.html"
    Page("old").write(path)
    full.write(path)
    assert path.read_text(encoding="utf-8") == full.html()
    assert [entry.name for entry in path.parent.iterdir()] == ["page.html"]


def test_a_page_that_fails_leaves_the_old_one_and_no_draft(tmp_path, monkeypatch):
    path = tmp_path / "page.html"
    Page("old").write(path)
    before = path.read_bytes()
    broken = Page("new")
    monkeypatch.setattr(broken, "_parts", ["text", None])
    with pytest.raises(TypeError):
        broken.write(path)
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        Page("new").write(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_name_that_is_no_utf8_can_be_written(tmp_path):
    page = Page("p")
    page.paragraph("caf\udce9.jpg")
    page.write(tmp_path / "page.html")
    assert "caf\\udce9.jpg" in (tmp_path / "page.html").read_text(encoding="utf-8")
