"""Draw the funnel plot of a screening as SVG: checks made against expected checks, one point per cashier.

In: `restricted/cashier_screening` of a business date and window. Out: an SVG file that only its owner can read, because
it names the cashiers on watch and in review by their pseudonyms.

- Between the lines are 95 % and 99.8 % of cashiers who differ as usual and by chance. Limits differ a little between
  cashiers of the same number of expected checks; the lines are their medians.
- Status is shown by shape and colour. The picture has a text alternative, and the caveat as text.
- The same rows give the same file.
"""

import datetime as dt
import html
import io
import itertools
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

import sql
from jobs.tables.duck import ReadSettings, connect
from jobs.tables.faults import explained
from jobs.tables.private_files import write_private
from model.cli import InputError, run

MAX_RATIO = 2.5
"""Points above it are drawn at it."""

MAX_NAMES = 40
MAX_VECTOR_POINTS = 5_000
"""If there are more points, those without a name are drawn as an image, so that browsers can open the file."""

N_NEIGHBOURS = 15
"""Smallest number of cashiers over whose limits a line takes the median."""

FONT_SIZE = 9
CHARACTER_WIDTH = 0.58
"""Mean width of a character, in font sizes."""

Floats = npt.NDArray[np.float64]
Row = dict[str, Any]


class Look(NamedTuple):
    """How the cashiers of a status are drawn."""

    label: str
    marker: str
    size: float
    face: str
    edge: str


LOOKS = {
    "insufficient_data": Look("too few sales to judge", "o", 10, "none", "#9aa5b1"),
    "within_limits": Look("within limits", "o", 12, "#7d8b99", "none"),
    "watch": Look("on watch", "^", 46, "#e0952f", "#5c3a0a"),
    "review": Look("in review", "s", 46, "#8e2457", "#3f0d26"),
}
NAMED = ("review", "watch")
LINES = {"95": ("within: 95 % of cashiers who differ as usual", "--"), "998": ("within: 99.8 %", "-")}
"""Label and style of the limits, by the end of their columns' names."""

INK = "#1f2d3d"


@dataclass(frozen=True, kw_only=True)
class Settings(ReadSettings):
    """Flags of the program."""

    out: Path
    """SVG file to write."""
    window_days: Literal[7, 28] = 28
    """Length of the window."""
    business_date: dt.date | None = None
    """Last date of the window, YYYY-MM-DD. Default: the newest screened date."""


def ratios(rows: Sequence[Row]) -> Floats:
    """Return checks made relative to expected checks."""
    return np.array([row["checks_made"] / row["checks_expected"] for row in rows], dtype=float)


def shown_ratios(rows: Sequence[Row]) -> Floats:
    """Return the ratios as they are drawn."""
    return np.minimum(ratios(rows), MAX_RATIO)


def limit_line(expected: Floats, limit: Floats) -> tuple[Floats, Floats]:
    """Return a line through the limits of cashiers: medians over neighbours in expected checks.

    Args:
        expected: expected checks, of shape (n,), sorted.
        limit: limit of the ratio, of shape (n,); NaN where there is none.

    Returns:
        Expected checks and limits.
    """
    known = np.isfinite(limit)
    expected, limit = expected[known], limit[known]
    n = min(expected.size, max(N_NEIGHBOURS, expected.size // 30))
    if n < 2:
        return expected, limit
    starts = np.unique(np.linspace(0, expected.size - n, 60).astype(int))
    windows = [slice(start, start + n) for start in starts]
    middle = np.array([np.median(expected[window]) for window in windows])
    medians = np.array([np.median(limit[window]) for window in windows])
    # The ends of the line are the outermost cashiers, which are in the middle of no neighbours.
    x, y = (np.concatenate([own[:1], line, own[-1:]]) for own, line in ((expected, middle), (limit, medians)))
    return x, y


def draw(rows: Sequence[Row], window_days: int) -> Figure:
    """Draw the funnel plot.

    Args:
        rows: from `sql/screening/funnel.sql`, at least one.
        window_days: length of the window.
    """
    figure = Figure(figsize=(10, 7.2), layout="constrained")
    axes, below = figure.subplots(2, 1, height_ratios=[6, 1])
    axes.set_title(title(rows, window_days), loc="left", color=INK, fontsize=12)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("checks expected (by age, hour, goods and youngness of the store)", color=INK)
    axes.set_ylabel("checks made / expected", color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.axhline(1, color="#b4bec8", linewidth=1, zorder=0)
    by_expected = sorted(rows, key=lambda row: row["checks_expected"])
    expected = np.array([row["checks_expected"] for row in by_expected])
    for (end, (label, style)), side in itertools.product(LINES.items(), ("low", "high")):
        column = f"limit_{side}_{end}"
        limits = np.array([np.nan if row[column] is None else row[column] for row in by_expected]) / expected
        of_legend = label if side == "low" else "_"  # matplotlib leaves out labels that start with _
        axes.plot(*limit_line(expected, limits), style, color=INK, linewidth=1, label=of_legend, gid=column)
    for status, look in LOOKS.items():
        chosen = [row for row in rows if row["status"] == status]
        axes.scatter(
            [row["checks_expected"] for row in chosen],
            shown_ratios(chosen),
            marker=look.marker,
            s=look.size,
            facecolors=look.face,
            edgecolors=look.edge,
            linewidths=0.8,
            label=f"{look.label} ({len(chosen)})",
            gid=status,
            rasterized=status not in NAMED and len(rows) > MAX_VECTOR_POINTS,
            clip_on=False,
            zorder=3 if status in NAMED else 2,
        )
    axes.set_ylim(-0.03, max(1.5, 1.05 * float(shown_ratios(rows).max())))  # cuts off lines above all points
    below.axis("off")
    below.legend(
        *axes.get_legend_handles_labels(),
        loc="upper center",
        ncols=3,
        frameon=False,
        columnspacing=1.5,
        fontsize=FONT_SIZE,
    )
    figure.draw_without_rendering()  # places the axes, so that names can be placed in points
    n_names = write_names(axes, named(rows))
    text = "\n".join(textwrap.wrap(notes(rows, n_names), 140))
    below.text(0, 0, text, fontsize=FONT_SIZE, color=INK, va="bottom", parse_math=False)
    return figure


def named(rows: Sequence[Row]) -> list[Row]:
    """Return the cashiers that the picture names: those in review, then those on watch, at most MAX_NAMES."""
    marked = sorted((row for row in rows if row["status"] in NAMED), key=lambda row: NAMED.index(row["status"]))
    return marked[:MAX_NAMES]


def name_of(row: Row) -> str:
    """Return the pseudonym of a cashier with the store, because ids can repeat between stores.

    >>> name_of({"store_id": "S2", "cashier_id": "C031"})
    'C031 in S2'
    """
    text = f"{row['cashier_id']} in {row['store_id']}"
    return "".join(character if character.isprintable() else "?" for character in text)  # XML forbids some


def write_names(axes: Axes, rows: Sequence[Row]) -> int:
    """Write each name beside its point, where it covers no other name and no marked point; return the number written.

    A name for which there is no such place is left out.
    """
    points_per_pixel = 72 / axes.figure.dpi
    expected = [row["checks_expected"] for row in rows]
    at = axes.transData.transform(np.column_stack([expected, shown_ratios(rows)])) * points_per_pixel
    left, right = (edge * points_per_pixel for edge in (axes.bbox.x0, axes.bbox.x1))
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y in at]
    n_written = 0
    for row, ratio, (x, y) in zip(rows, shown_ratios(rows), at, strict=True):
        width = CHARACTER_WIDTH * FONT_SIZE * len(name_of(row))
        for dy, side in itertools.product((0, 11, -11, 22, -22, 33, -33, 44, -44), ("left", "right")):
            x0 = x + 8 if side == "left" else x - 8 - width
            box = (x0, y + dy - 5, x0 + width, y + dy + 5)
            is_inside = x0 > left and x0 + width < right
            if is_inside and not any(
                box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3] for other in taken
            ):
                break
        else:
            continue
        taken.append(box)
        n_written += 1
        axes.annotate(
            name_of(row),
            (row["checks_expected"], ratio),
            xytext=(8 if side == "left" else -8, dy),
            textcoords="offset points",
            ha=side,
            va="center",
            fontsize=FONT_SIZE,
            color=INK,
            bbox={"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.5},
            parse_math=False,  # a name with two $ is no formula
            arrowprops={"arrowstyle": "-", "color": "#9aa5b1", "linewidth": 0.6, "shrinkB": 4} if dy else None,
        )
    return n_written


def title(rows: Sequence[Row], window_days: int) -> str:
    """Return the title of the picture."""
    return f"Checks of a document by cashier, {window_days} days to {rows[0]['business_date']}"


def notes(rows: Sequence[Row], n_names: int) -> str:
    """Return the caveat, and what is not shown if only `n_names` cashiers are named."""
    texts = [*dict.fromkeys(row["caveat"] for row in rows if row["caveat"])]
    n_marked = sum(row["status"] in NAMED for row in rows)
    if n_marked > n_names:
        texts.append(f"{n_marked - n_names} of {n_marked} names are left out: see auditor/cashiers_to_look_at.")
    if (n_above := int((ratios(rows) > MAX_RATIO).sum())) > 0:
        texts.append(f"{n_above} ratios above {MAX_RATIO} are drawn at {MAX_RATIO}.")
    return " ".join(texts)


def description(rows: Sequence[Row], window_days: int) -> str:
    """Return the text alternative of the picture."""
    counts = ", ".join(
        f"{look.label}: {sum(row['status'] == status for row in rows)}" for status, look in LOOKS.items()
    )
    marked = "; ".join(
        f"{name_of(row)}: {LOOKS[row['status']].label}, checks made {row['checks_made']}, "
        f"expected {row['checks_expected']:.1f}"
        for row in named(rows)
    )
    return (
        f"Funnel plot of {len(rows)} cashiers in the {window_days} days to {rows[0]['business_date']}: the ratio of "
        f"checks made to checks expected against checks expected, with 95 % and 99.8 % limits. Cashiers "
        f"by status: {counts}. Named: {marked or 'none'}. {notes(rows, len(named(rows)))}"
    )


def svg(rows: Sequence[Row], window_days: int) -> str:
    """Return the picture as SVG with a text alternative, which matplotlib does not write."""
    # Text stays text: it can be read aloud and searched. The salt makes ids the same in each run.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "funnel", "font.family": "sans-serif"}):
        file = io.StringIO()
        draw(rows, window_days).savefig(file, format="svg", metadata={"Date": None})
    drawn = re.sub(r"<!DOCTYPE[^>]*>\s*", "", file.getvalue(), count=1)  # it names a file on the network
    texts = {"title": title(rows, window_days), "desc": description(rows, window_days)}
    alternative = "".join(f'<{tag} id="funnel-{tag}">{html.escape(text)}</{tag}>' for tag, text in texts.items())
    start, attributes, rest = drawn.partition("<svg ")
    head, end, body = rest.partition(">")
    labelled = 'role="img" aria-labelledby="funnel-title" aria-describedby="funnel-desc" '
    return f"{start}{attributes}{labelled}{head}{end}\n{alternative}{body}"


def main(settings: Settings) -> None:
    """Read, draw, write."""
    parameters = {"business_date": settings.business_date, "window_days": settings.window_days}
    with explained(settings.warehouse), connect(settings.warehouse, restricted=True) as connection:
        rows = connection.sql(sql.load("screening/funnel"), params=parameters).to_arrow_table().to_pylist()
    if not rows:
        date = settings.business_date or "any date"
        raise InputError(f"restricted/cashier_screening has no rows of {date} with window_days {settings.window_days}")
    write_private(settings.out, svg(rows, settings.window_days), overwrite=True)
    print(f"{len(rows)} cashiers: {settings.out}")


if __name__ == "__main__":
    run(main, Settings)
