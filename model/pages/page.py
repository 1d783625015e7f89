"""Self-contained HTML pages: one file that needs no network and runs no script.

A program prepares the data, and the template of its page lays them out in the order that a reader sees:

    html = render("explore.html.jinja", bands=frame, plot=svg_uri(figure), faces=[Photo(face(path), "26 years")])
    write(html, Path("report.html"))

Each template extends `base.html.jinja` and uses the macros of `parts.html.jinja`. A name that the program does not pass
is an error. All values are escaped, because names of files and columns may contain any text.
"""

import base64
import io
import os
from numbers import Integral, Real
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from model.pages.templates import environment
from model.photos.decoding import decode_photo

FACE_SIZE = 120
"""Pixels per side. Large enough to see why the model was wrong; no larger, to protect the person."""


class Photo(NamedTuple):
    """A photo on a page."""

    jpeg: bytes
    caption: str


class Column(NamedTuple):
    """A column of a table; numbers are aligned to the right."""

    name: str
    is_number: bool


def columns(frame: pd.DataFrame) -> list[Column]:
    """Return the columns of a frame.

    >>> columns(pd.DataFrame({"age": [30], "sex": ["male"]}))
    [Column(name='age', is_number=True), Column(name='sex', is_number=False)]
    """
    return [Column(str(name), pd.api.types.is_numeric_dtype(kind)) for name, kind in frame.dtypes.items()]


def formatted(value: object, decimals: int = 1) -> str:
    """Return the text of a value: whole numbers with thousands separators, missing values as a dash.

    >>> formatted(12345), formatted(1.26), formatted(1.26, decimals=0), formatted("male")
    ('12,345', '1.3', '1', 'male')
    """
    if pd.isna(value):  # type: ignore[call-overload]
        return "\N{EN DASH}"
    if isinstance(value, Integral):
        return f"{value:,}"
    return f"{value:,.{decimals}f}" if isinstance(value, Real) else str(value)


def svg_uri(figure: Figure) -> str:
    """Return a figure as SVG in a data URI.

    Make it with `matplotlib.figure.Figure`; pyplot would keep every figure of the process alive. Draw in dark colours
    on the transparent background: in dark mode the page inverts their lightness.
    """
    file = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "page"}):  # otherwise the ids, and so the file, differ between runs
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return _data_uri(file.getvalue(), "svg+xml")


def jpeg_uri(jpeg: bytes) -> str:
    """Return a JPEG as a data URI."""
    return _data_uri(jpeg, "jpeg")


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def face(path: Path) -> bytes:
    """Return the photo at `path` as a small JPEG, without the metadata of the camera, such as the place."""
    file = io.BytesIO()
    Image.fromarray(decode_photo(path.read_bytes(), FACE_SIZE)).save(file, "JPEG", quality=85)
    return file.getvalue()


ENVIRONMENT = environment(Path(__file__).parent, columns=columns, formatted=formatted, jpeg_uri=jpeg_uri)


def render(template: str, **data: object) -> str:
    """Return the HTML of a page.

    Args:
        template: name of a file in this folder.
        data: values by the names that the template uses.
    """
    return ENVIRONMENT.get_template(template).render(data)


def write(html: str, path: Path) -> None:
    """Write a page atomically: a reader sees the old page or the whole new one.

    Only owner and group can read it, because a page may show photos of people.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        # A file name that is not UTF-8 has lone surrogates in Python, which can't be encoded.
        draft.write_text(html, encoding="utf-8", errors="backslashreplace")
        draft.chmod(0o640)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
