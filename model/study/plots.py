"""Plots of a labelled photo set."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from model.evaluation.metrics import Ages

_MALE, _FEMALE, _ALL = "#2f6ea8", "#d07b28", "#4a6b8a"
_COLOURS = {"male": _MALE, "female": _FEMALE, "all": _ALL}


def pyramid(percent: pd.DataFrame) -> Figure:
    """Draw percent of photos per age (101 rows), ages upwards: columns male and female back to back, or all."""
    figure = Figure(figsize=(9, 5.5), layout="constrained")
    axes = figure.subplots()
    edges = np.arange(len(percent) + 1) - 0.5
    for column, values in percent.items():
        name = str(column)
        side = -1 if name == "male" else 1
        axes.stairs(side * values, edges, orientation="horizontal", fill=True, color=_COLOURS[name], label=name)
    widest = 1.05 * float(percent.to_numpy().max())
    axes.set_xlim(-widest if "male" in percent else 0, widest)
    axes.set_ylim(-0.5, 100.5)
    axes.xaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("photos, % per year of age")
    axes.set_ylabel("age, years")
    if "male" in percent:
        axes.legend(frameon=False)
    return figure


def rarest(ages: Ages, photos: Ages, limit: int) -> Figure:
    """Draw the photos of the rarest ages, with a line at the limit below which an age is thin."""
    figure = Figure(figsize=(9, 3), layout="constrained")
    axes = figure.subplots()
    axes.bar([str(age) for age in ages], photos, color=_ALL)
    axes.axhline(limit, color=_FEMALE, linewidth=1, label=f"{limit} photos")
    axes.margins(x=0.01)
    axes.tick_params(axis="x", labelsize=7, rotation=90)
    axes.set_xlabel("age, years")
    axes.set_ylabel("photos")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure
