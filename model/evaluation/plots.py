"""Plots of an evaluation."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from model.evaluation.metrics import Floats
from model.evaluation.predictions import Predictions

_INK, _FAINT, _AFTER = "#1f4e79", "#9aa5b1", "#c8501e"


def error_by_group(frame: pd.DataFrame) -> Figure:
    """Draw the MAE of each group with its interval, beside that of the constant guess."""
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


def error_against_age(predictions: Predictions) -> Figure:
    """Draw the error of each photo against its age, and the mean error by five years of age."""
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots()
    ages = predictions.ages
    error = predictions.age_years - ages
    axes.scatter(ages, error, s=5, alpha=0.3, color=_INK, linewidths=0, rasterized=True)
    means = pd.Series(error).groupby(ages // 5 * 5).mean()
    axes.plot(means.index + 2, means, color=_AFTER, label="mean by five years of age")
    axes.axhline(0, color=_FAINT, linewidth=1)
    axes.set_xlabel("age, years")
    axes.set_ylabel("predicted minus age, years")
    axes.legend(frameon=False)
    return figure


def coverage(frame: pd.DataFrame) -> Figure:
    """Draw the coverage of each level by predicted decade, before and after calibration."""
    rows = frame[frame["grouping"] == "predicted decade"]
    levels = sorted(rows["level"].unique())
    figure = Figure(figsize=(8, 3), layout="constrained")
    for axes, level in zip(figure.subplots(1, len(levels), sharex=True), levels, strict=True):
        at_level = rows[rows["level"] == level]
        axes.axhline(level, color=_FAINT, linewidth=1)
        axes.plot(at_level["group"].str[:2], at_level["before"], "o", color=_FAINT, label="before")
        axes.plot(at_level["group"].str[:2], at_level["after"], "o", color=_AFTER, label="after")
        axes.set_title(f"{level:.0%} intervals", fontsize=10)
        axes.set_ylim(max(0, level - 0.4), min(1, level + 0.4) + 0.02)
        axes.set_xlabel("predicted decade")
        axes.legend(frameon=False, fontsize=8)
    return figure


def reliability(frame: pd.DataFrame) -> Figure:
    """Draw predicted probabilities against observed shares with their intervals."""
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    events = list(frame["event"].unique())
    for axes, event in zip(figure.subplots(1, len(events), sharey=True), events, strict=True):
        axes.plot([0, 1], [0, 1], color=_FAINT, linewidth=1)
        for calibration, color in (("before", _FAINT), ("after", _AFTER)):
            steps = frame[(frame["event"] == event) & (frame["calibration"] == calibration)]
            share, low, high = (steps[name].to_numpy() for name in ("share", "share_low", "share_high"))
            spread = [
                np.maximum(share - low, 0),
                np.maximum(high - share, 0),
            ]  # rounding may put an end beyond the share
            probability = steps["predicted"].to_numpy()
            axes.errorbar(probability, share, yerr=spread, fmt="o", color=color, markersize=4, label=calibration)
        axes.set_title(event, fontsize=10)
        axes.set_xlabel("predicted probability")
        axes.legend(frameon=False, fontsize=8)
    figure.axes[0].set_ylabel("observed share")
    return figure


def fitted_errors(frame: pd.DataFrame) -> Figure:
    """Draw mean and spread of the error by true age, measured in windows (dots) and fitted (line)."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2), ("mean", "spread"), strict=True):
        axes.plot(frame["from_years"] + 2, frame[f"fitted_{name}_years"], color=_AFTER, label="fitted")
        axes.scatter(frame["from_years"] + 2, frame[f"{name}_years"], s=14, color=_INK, label="measured")
        axes.set_title({"mean": "mean error", "spread": "standard deviation of the error"}[name], fontsize=10)
        axes.set_xlabel("true age, years")
        axes.axhline(0, color=_FAINT, linewidth=1)
    figure.axes[0].set_ylabel("years")
    figure.axes[0].legend(frameon=False, fontsize=8)
    return figure


def kernel(probability: Floats) -> Figure:
    """Draw P(predicted age | true age) as shades: (101, 101), row true age."""
    figure = Figure(figsize=(5, 4.6), layout="constrained")
    axes = figure.subplots()
    shades = axes.imshow(np.sqrt(probability), origin="lower", cmap="Blues", aspect="equal")
    axes.plot([0, 100], [0, 100], color=_AFTER, linewidth=0.7)
    axes.set_xlabel("predicted age, years")
    axes.set_ylabel("true age, years")
    figure.colorbar(shades, label="square root of probability", shrink=0.8)
    return figure
