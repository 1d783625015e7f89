import base64
import io
import re
import sys
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import numpy as np
import pandas as pd
import pytest
from jinja2 import UndefinedError
from matplotlib.figure import Figure
from PIL import Image

from model.pages.page import ENVIRONMENT, Photo, svg_uri, write

NASTY = "<script>alert('x')</script> & \"quoted\""

EVERYTHING = """\
{% extends "base.html.jinja" %}
{% from "parts.html.jinja" import figure, notice, photos, table %}
{% block title %}{{ text }}{% endblock %}
{% block content %}
<h2>{{ text }}</h2>
{% call notice() %}{{ text }}{% endcall %}
<ul><li>{{ text }}</li></ul>
{{ table(frame, text) }}
{{ figure(uri, text) }}
{{ photos(faces) }}
{% endblock %}
"""


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


def rendered(source, **data):
    return ENVIRONMENT.from_string(source).render(data)


def table_of(frame):
    return rendered('{% from "parts.html.jinja" import table %}{{ table(frame, "one row per thing") }}', frame=frame)


@pytest.fixture
def full(photo):
    """A page with every part, and nasty text in every place for text."""
    frame = pd.DataFrame({NASTY: [NASTY]})
    return rendered(EVERYTHING, text=NASTY, frame=frame, uri=svg_uri(line()), faces=[Photo(photo(), NASTY)])


def test_all_text_is_escaped(full):
    page = Reader(full)
    assert page.named("script") == []
    # Title twice, heading, notice, item, column, cell, caption of table and of photo.
    assert page.texts.count(NASTY) == 9
    assert [image["alt"] for image in page.named("img")] == [NASTY, f"Photo: {NASTY}"]


def test_a_page_needs_no_other_file_and_no_network(full):
    page = Reader(full)
    assert full.startswith("<!doctype html>")
    assert all(image["src"].startswith("data:image/") for image in page.named("img"))
    assert {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "a"} == set()
    assert "default-src 'none'" in str(page.named("meta"))
    style = full.split("<style>")[1].split("</style>")[0]
    assert "prefers-color-scheme: dark" in style
    assert "url(" not in style
    assert "@import" not in style


def test_a_name_that_the_program_does_not_pass_is_an_error():
    with pytest.raises(UndefinedError, match="'median' is undefined"):
        rendered("{{ median }}")


def test_numbers_and_missing_values_of_a_table_are_formatted():
    frame = pd.DataFrame(
        {"n": [12345, 1], "years": [1.26, np.nan], "name": ["a", None], "mixed": [1000, "b"]}, index=[7, 8]
    )
    cells = re.findall(r"<td( class=\"number\")?>(.*?)</td>", table_of(frame))
    assert [text for _, text in cells] == ["12,345", "1.3", "a", "1,000", "1", "\N{EN DASH}", "\N{EN DASH}", "b"]
    assert [bool(number) for number, _ in cells[:4]] == [True, True, False, False]


def test_a_long_cell_and_a_long_table_are_not_cut():
    assert table_of(pd.DataFrame({"name": ["x" * 300] * 200})).count("x" * 300) == 200


def test_an_empty_table_shows_its_columns():
    assert "reason" in Reader(table_of(pd.DataFrame({"reason": []}))).texts


def test_a_figure_is_an_svg_that_is_equal_in_every_run_and_needs_no_pyplot(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # importing it is an error now
    uri = svg_uri(line())
    assert uri == svg_uri(line())
    drawing = ET.fromstring(base64.b64decode(uri.removeprefix("data:image/svg+xml;base64,")))  # noqa: S314
    assert drawing.tag.endswith("svg")


def test_photos_are_embedded_unchanged_with_their_captions(photo):
    source = '{% from "parts.html.jinja" import photos %}{{ photos(faces) }}'
    page = Reader(rendered(source, faces=[Photo(photo(seed), f"{seed} years") for seed in range(3)]))
    shown = [base64.b64decode(image["src"].removeprefix("data:image/jpeg;base64,")) for image in page.named("img")]
    assert shown == [photo(seed) for seed in range(3)]
    assert Image.open(io.BytesIO(shown[0])).size == (48, 48)
    assert "2 years" in page.texts


def test_a_page_replaces_the_old_one_and_only_owner_and_group_can_read_it(tmp_path, full):
    path = tmp_path / "new" / "folder" / "page.html"
    write("old", path)
    write(full, path)
    assert path.read_text(encoding="utf-8") == full
    assert [entry.name for entry in path.parent.iterdir()] == ["page.html"]
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_failed_write_leaves_the_old_page_and_no_draft(tmp_path, monkeypatch):
    path = tmp_path / "page.html"
    write("old", path)
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write("new", path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_name_that_is_not_utf8_can_be_written(tmp_path):
    write(rendered("{{ name }}", name="caf\udce9.jpg"), tmp_path / "page.html")
    assert "caf\\udce9.jpg" in (tmp_path / "page.html").read_text(encoding="utf-8")
