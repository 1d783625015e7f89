"""Pictures of a judgement."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from model.evaluation.metrics import Floats
from model.evaluation.tables import Predictions

_INK, _FAINT, _AFTER = "#1f4e79", "#9aa5b1", "#c8501e"


def error_by_group(frame: pd.DataFrame) -> Figure:
    """Bars of the MAE of each group with its interval, beside what the constant guess gives."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    axes = figure.subplots()
    place = np.arange(len(frame))
    mae, low, high = (frame[name].to_numpy() for name in ("mae_years", "mae_low", "mae_high"))
    axes.bar(place - 0.2, mae, 0.4, yerr=[mae - low, high - mae], color=_INK, capsize=3, label="model, 95 % interval")
    axes.bar(place + 0.2, frame["constant_mae_years"], 0.4, color=_FAINT, label="constant guess")
    axes.set_xticks(place, [f"{group}\nn {n}" for group, n in zip(frame["group"], frame["n"], strict=True)])
    axes.set_ylabel("mean absolute error, years")
    axes.legend(frameon=False)
    return figure


def error_against_age(found: Predictions) -> Figure:
    """Each photo's error at its age, with the mean error of five years of age."""
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots()
    error = found.age_years - found.ages
    axes.scatter(found.ages, error, s=5, alpha=0.3, color=_INK, linewidths=0, rasterized=True)
    fives = found.ages // 5 * 5
    means = pd.Series(error).groupby(fives).mean()
    axes.plot(means.index + 2, means, color=_AFTER, label="mean of five years of age")
    axes.axhline(0, color=_FAINT, linewidth=1)
    axes.set_xlabel("age, years")
    axes.set_ylabel("predicted minus age, years")
    axes.legend(frameon=False)
    return figure


def coverage(frame: pd.DataFrame) -> Figure:
    """Coverage of each level in each decade of predicted age, before and after calibration."""
    rows = frame[frame["of"] == "predicted decade"]
    levels = sorted(rows["level"].unique())
    figure = Figure(figsize=(8, 3), layout="constrained")
    for axes, level in zip(figure.subplots(1, len(levels), sharex=True), levels, strict=True):
        one = rows[rows["level"] == level]
        axes.axhline(level, color=_FAINT, linewidth=1)
        axes.plot(one["group"].str[:2], one["before"], "o", color=_FAINT, label="before")
        axes.plot(one["group"].str[:2], one["after"], "o", color=_AFTER, label="after")
        axes.set_title(f"{level:.0%} intervals", fontsize=10)
        axes.set_ylim(max(0, level - 0.4), min(1, level + 0.4) + 0.02)
        axes.set_xlabel("predicted decade")
        axes.legend(frameon=False, fontsize=8)
    return figure


def reliability(frame: pd.DataFrame) -> Figure:
    """Stated probabilities against the share that was so."""
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    events = list(frame["of"].unique())
    for axes, event in zip(figure.subplots(1, len(events), sharey=True), events, strict=True):
        axes.plot([0, 1], [0, 1], color=_FAINT, linewidth=1)
        for name, color in (("before", _FAINT), ("after", _AFTER)):
            one = frame[(frame["of"] == event) & (frame["calibration"] == name)]
            share, low, high = (one[name].to_numpy() for name in ("share", "share_low", "share_high"))
            spread = [np.maximum(share - low, 0), np.maximum(high - share, 0)]  # Wilson may round to beyond
            axes.errorbar(one["stated"].to_numpy(), share, yerr=spread, fmt="o", color=color, markersize=4, label=name)
        axes.set_title(event, fontsize=10)
        axes.set_xlabel("stated probability")
        axes.legend(frameon=False, fontsize=8)
    figure.axes[0].set_ylabel("share that was so")
    return figure


def kernel(probability: Floats) -> Figure:
    """P(predicted age | true age) as shades: (101, 101), row true age."""
    figure = Figure(figsize=(5, 4.6), layout="constrained")
    axes = figure.subplots()
    shades = axes.imshow(np.sqrt(probability), origin="lower", cmap="Blues", aspect="equal")
    axes.plot([0, 100], [0, 100], color=_AFTER, linewidth=0.7)
    axes.set_xlabel("predicted age, years")
    axes.set_ylabel("true age, years")
    figure.colorbar(shades, label="square root of probability", shrink=0.8)
    return figure
