"""A self-contained HTML page: text, tables, figures and photos in one file that needs no network and runs no script.

The page is for people who open it with a double click, a year later, on another machine. What it shows comes in the
order of the calls:

    page = Page("Labelled faces")
    page.heading("Ages")
    page.paragraph("Labels were estimated by eye.")
    page.table(frame, "Photos of each age band")
    page.figure(figure, "Bars of photos per age; age 26 stands out")
    page.photos([(jpeg, "26 years")])
    page.write(Path("report.html"))

All text, cells and captions included, is escaped: names of files and columns may hold anything.
"""

import base64
import io
import os
from collections.abc import Iterable
from html import escape
from numbers import Integral, Real
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from model.photos.data import decode_photo

_STYLE = """
:root { color-scheme: light dark; --text: #1c1e21; --faint: #62676d; --line: #d9dce0; --back: #fff; --shade: #f4f5f7;
  --warn: #fff4d6; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e4e6e9; --faint: #9aa0a7; --line: #3a3e44; --back: #15171a; --shade: #1f2226; --warn: #3a3115; }
  .plot img { filter: invert(0.9) hue-rotate(180deg); }
}
body { font: 16px/1.55 system-ui, sans-serif; color: var(--text); background: var(--back); max-width: 58rem;
  margin: 2rem auto 4rem; padding: 0 1rem; }
h1, h2, h3 { line-height: 1.25; margin: 2.2em 0 0.6em; } h1 { margin-top: 0; } h3 { margin-top: 1.4em; }
.notice { background: var(--warn); padding: 0.7rem 1rem; border-radius: 6px; }
li { margin: 0.4em 0; }
figure { margin: 1.2rem 0; } figcaption, caption { color: var(--faint); font-size: 0.9em; text-align: left; }
caption { padding-bottom: 0.4em; } .plot img { max-width: 100%; height: auto; }
.wide { overflow-x: auto; margin: 1.2rem 0; }
table { border-collapse: collapse; font-size: 0.92em; font-variant-numeric: tabular-nums; }
th, td { padding: 0.25em 0.9em 0.25em 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
.number { text-align: right; }
.photos { display: flex; flex-wrap: wrap; gap: 0.6rem; }
.photos figure { margin: 0; width: 6.45rem; overflow-wrap: anywhere; line-height: 1.3; }
.photos img { width: 100%; border-radius: 4px; background: var(--shade); display: block; }
@media print { body { max-width: none; } }
"""

# The browser itself then refuses scripts and connections, whatever text was put in.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


class Page:
    """A page that grows from top to bottom; `write` puts it on disk."""

    def __init__(self, title: str) -> None:
        self._title = escape(title)
        self._parts = [f"<h1>{self._title}</h1>"]

    def heading(self, text: str, level: int = 2) -> None:
        """Begin a section (level 2) or a part of one (level 3)."""
        self._parts.append(f"<h{level}>{escape(text)}</h{level}>")

    def paragraph(self, text: str) -> None:
        """Add plain text."""
        self._parts.append(f"<p>{escape(text)}</p>")

    def notice(self, text: str) -> None:
        """Add text that must not be overlooked."""
        self._parts.append(f'<p class="notice" role="note">{escape(text)}</p>')

    def bullets(self, items: Iterable[str]) -> None:
        """Add a list of short texts."""
        self._parts.append("<ul>" + "".join(f"<li>{escape(item)}</li>" for item in items) + "</ul>")

    def table(self, frame: pd.DataFrame, caption: str, decimals: int = 1) -> None:
        """Add the columns of a frame; its index is not shown.

        Args:
            frame: column names are the header, so they carry the units. All rows are shown: cut long ones before.
            caption: what one row is.
            decimals: of floats. Whole numbers get thousands separators, missing values a dash.
        """
        kinds = [' class="number"' if pd.api.types.is_numeric_dtype(kind) else "" for kind in frame.dtypes]
        header = "".join(
            f'<th scope="col"{kind}>{escape(str(name))}</th>' for name, kind in zip(frame, kinds, strict=True)
        )
        body = "".join(
            "<tr>"
            + "".join(f"<td{kind}>{_cell(value, decimals)}</td>" for value, kind in zip(row, kinds, strict=True))
            + "</tr>\n"
            for row in frame.itertuples(index=False, name=None)
        )
        self._parts.append(
            f'<div class="wide"><table><caption>{escape(caption)}</caption>\n'
            f"<thead><tr>{header}</tr></thead>\n<tbody>{body}</tbody></table></div>"
        )

    def figure(self, figure: Figure, alt: str, caption: str = "") -> None:
        """Add a figure as SVG.

        Args:
            figure: made with `matplotlib.figure.Figure`; pyplot would keep every figure of the process alive.
                Draw in dark colours on the transparent ground: in dark mode the page inverts their lightness.
            alt: what it shows, for those who do not see it.
            caption: shown below.
        """
        file = io.BytesIO()
        with mpl.rc_context({"svg.hashsalt": "page"}):  # else the ids, and so the file, differ at each run
            figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
        below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
        image = f'<img alt="{escape(alt)}" src="{_data_uri(file.getvalue(), "svg+xml")}">'
        self._parts.append(f'<figure class="plot">{image}{below}</figure>')

    def photos(self, photos: Iterable[tuple[bytes, str]]) -> None:
        """Add a grid of JPEGs, each above its caption."""
        cells = "".join(
            f'<figure><img alt="Photo: {escape(caption)}" src="{_data_uri(jpeg, "jpeg")}">'
            f"<figcaption>{escape(caption)}</figcaption></figure>\n"
            for jpeg, caption in photos
        )
        self._parts.append(f'<div class="photos">{cells}</div>')

    def html(self) -> str:
        """Return the whole document."""
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{self._title}</title>\n<style>{_STYLE}</style></head>\n<body><main>\n"
            + "\n".join(self._parts)
            + "\n</main></body></html>\n"
        )

    def write(self, path: Path) -> None:
        """Write the page in one step: a reader finds the old page or the whole new one.

        Others than owner and group can't read it: a page may show photos of people.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            # A file name that is no UTF-8 reaches Python as lone surrogates, which can't be encoded.
            draft.write_text(self.html(), encoding="utf-8", errors="backslashreplace")
            draft.chmod(0o640)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)


def _cell(value: object, decimals: int) -> str:
    if pd.isna(value):  # type: ignore[call-overload]
        return "&ndash;"
    if isinstance(value, Integral):
        return escape(f"{value:,}")
    return escape(f"{value:,.{decimals}f}" if isinstance(value, Real) else str(value))


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


FACE_SIZE = 120
"""Pixels a side: what a person needs to see, and no more of somebody's photo."""


def face(path: Path) -> bytes:
    """Return the photo at `path` as a small JPEG, without what a camera writes into a file, such as the place."""
    file = io.BytesIO()
    Image.fromarray(decode_photo(path.read_bytes(), FACE_SIZE)).save(file, "JPEG", quality=85)
    return file.getvalue()
