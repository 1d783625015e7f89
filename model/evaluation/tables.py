"""Tables of a model's errors: pure functions from predictions and labels to frames. Ages are in years.

Shares and probabilities are 0-1.
"""

from collections.abc import Mapping
from dataclasses import asdict

import numpy as np
import pandas as pd
from torch import Tensor

from model.evaluation.metrics import (
    Ages,
    Bools,
    Floats,
    Groups,
    Interval,
    bootstrap,
    completed_years,
    decades,
    measure,
    share_interval,
)
from model.evaluation.predictions import Predictions

LEVELS = (0.5, 0.8, 0.95)
"""Of the intervals whose coverage is reported."""

TITLES = {
    "error_by_decade": "Error by decade of age",
    "at_equal_age": "MAE and bias of groups beyond those of others of the same decade of age",
    "coverage": "Coverage of intervals, before and after calibration",
    "decisions": "How often a limit of 25 years errs",
    "reliability": "Predicted probabilities and observed shares",
    "fitted_errors": "Mean and spread of the error by five years of true age: measured, and fitted",
    "band_to_band": "Shares of each age band by band of the estimate",
}


def all_tables(
    predictions: Predictions, attributes: Mapping[str, Groups], *, constant: float
) -> dict[str, pd.DataFrame]:
    """Return every table of an evaluation by name.

    Args:
        predictions: of N photos.
        attributes: groups (N,) by name, such as sex.
        constant: age, years, that the baseline predicts for every photo.
    """
    predicted, ages = predictions.age_years, predictions.ages
    groups = {**attributes, "decade": decades(ages)}
    errors = {
        f"error_by_{name}": error_by(values, predicted, ages, constant=constant) for name, values in groups.items()
    }
    if attributes:
        errors["at_equal_age"] = at_equal_age(attributes, predicted, ages)
    return {
        **errors,
        "coverage": coverage_table(predictions),
        "decisions": decisions(predicted, ages),
        "reliability": reliability(predictions),
    }


def title(name: str) -> str:
    """Return the title of a table of `all_tables`.

    >>> title("error_by_sex")
    'Error by sex'
    """
    return TITLES.get(name, name.replace("_", " ").capitalize())


def error_by(groups: Groups, predicted: Floats, ages: Ages, *, constant: float) -> pd.DataFrame:
    """Return one row per group in `groups` (N,): the figures of `Metrics`.

    >>> sex = np.array(["male", "female", "male"])
    >>> table = error_by(sex, np.array([20.0, 30.0, 44.0]), np.array([20, 33, 40]), constant=30.0)
    >>> table[["group", "n", "mae_years", "bias_years"]]
        group  n  mae_years  bias_years
    0  female  1        3.0        -3.0
    1    male  2        2.0         2.0
    """
    rows = [
        {"group": name, **asdict(measure(predicted[groups == name], ages[groups == name], constant=constant))}
        for name in np.unique(groups)
    ]
    return pd.DataFrame(rows)


def at_equal_age(attributes: Mapping[str, Groups], predicted: Floats, ages: Ages) -> pd.DataFrame:
    """Return one row per group of each attribute: its MAE and bias beyond those of others of the same decade of label.

    Errors grow with age, so a group of older people has larger errors even if the model treats all groups alike.
    Therefore the mean error of other groups in the same decade is subtracted from each photo's error: 0 means that
    the model errs about this group as about others of its age. Photos of a decade without other groups are left out.
    Intervals: bootstrap over all photos.

    Args:
        attributes: groups (N,) by name, such as sex.
        predicted: (N,) years.
        ages: (N,) labels.
    """
    error, decade = predicted - ages, np.unique(decades(ages), return_inverse=True)[1]
    rows = []
    for attribute, groups in attributes.items():
        names, group = np.unique(groups, return_inverse=True)
        mae, bias = _beyond_others(np.abs(error), group, decade), _beyond_others(error, group, decade)
        rows += [
            {"attribute": attribute, "group": name, "n": int(n)}
            | _columns("mae_beyond", mae_beyond)
            | _columns("bias_beyond", bias_beyond)
            for name, n, mae_beyond, bias_beyond in zip(names, np.bincount(group), mae, bias, strict=True)
        ]
    return pd.DataFrame(rows)


def _beyond_others(values: Floats, group: Ages, stratum: Ages) -> list[Interval]:
    """Return for each group the mean of its `values`, each less the mean of other groups in its stratum.

    Args:
        values: (N,).
        group: (N,) numbers 0, 1, ...
        stratum: (N,) numbers 0, 1, ...
    """
    shape = group.max() + 1, stratum.max() + 1
    cell = group * shape[1] + stratum

    def beyond(rows: Ages) -> Floats:
        n = np.bincount(cell[rows], minlength=shape[0] * shape[1]).reshape(shape)
        total = np.bincount(cell[rows], values[rows], minlength=shape[0] * shape[1]).reshape(shape)
        n_others, total_others = n.sum(axis=0) - n, total.sum(axis=0) - total
        n_compared = np.where(n_others > 0, n, 0)
        difference = np.where(n_others > 0, total - n * total_others / np.maximum(n_others, 1), 0).sum(axis=1)
        mean: Floats = np.full(shape[0], np.nan)
        np.divide(difference, n_compared.sum(axis=1), out=mean, where=n_compared.any(axis=1))
        return mean

    return bootstrap(len(values), beyond)


def coverage(mass: Tensor, ages: Ages) -> dict[float, Floats]:
    """Return by level which part of each photo's year of age (N,) lies in the central interval: 0-1.

    A label is a whole year. An interval that ends inside this year covers only a part of it. The part is measured by
    cumulative probability, so that ages 0 and 100 can be covered too.

    >>> import torch
    >>> mass = torch.zeros(3, 101)
    >>> mass[:, 20:30] = 0.1  # the central half is 22.5 to 27.5
    >>> coverage(mass, np.array([21, 22, 25]))[0.5].round(3).tolist()
    [0.0, 0.5, 1.0]
    """
    cumulative = mass.double().cumsum(dim=1).numpy()
    rows = np.arange(len(ages))
    after = cumulative[rows, ages]
    before = np.where(ages > 0, cumulative[rows, ages - 1], 0)
    covered = {}
    for level in LEVELS:
        low, high = (1 - level) / 2, (1 + level) / 2
        inside = np.minimum(after, high) - np.maximum(before, low)
        covered[level] = np.clip(inside / np.maximum(after - before, 1e-12), 0, 1)
    return covered


def coverage_table(predictions: Predictions) -> pd.DataFrame:
    """Return coverage before and after calibration: of all photos, by predicted decade, and by decade of label.

    Calibration makes intervals right by predicted decade, because users know only the prediction. By label they are
    not: the model predicts the oldest of those who look 70 too young.
    """
    if predictions.uncalibrated is None or predictions.calibrated is None:
        return pd.DataFrame(columns=["grouping", "group", "n", "level", "before", "after"])
    ages = predictions.ages
    before, after = coverage(predictions.uncalibrated, ages), coverage(predictions.calibrated, ages)
    groupings = {
        "all": np.full(len(ages), "all"),
        "predicted decade": decades(predictions.age_years),
        "labelled decade": decades(ages),
    }
    return pd.DataFrame(
        [
            {"grouping": grouping, "group": group, "n": int(rows.sum()), "level": level}
            | {"before": before[level][rows].mean(), "after": after[level][rows].mean()}
            for grouping, groups in groupings.items()
            for group in np.unique(groups)
            for rows in [groups == group]
            for level in LEVELS
        ]
    )


def decisions(predicted: Floats, ages: Ages) -> pd.DataFrame:
    """Return how often a limit of 25 years errs: for people aged 14-17, and for people aged 25 or more.

    >>> decisions(np.array([24.4, 24.6, 24.4, 40.0]), np.array([17, 17, 25, 40]))[["rule", "n", "share"]]
                                               rule  n  share
    0     predicted 25 or more, of those aged 14-17  2    0.5
    1  predicted under 25, of those aged 25 or more  2    0.5
    """
    minors, adults = (ages >= 14) & (ages <= 17), ages >= 25
    years = completed_years(predicted)
    rows: list[tuple[str, Bools]] = [
        ("predicted 25 or more, of those aged 14-17", years[minors] >= 25),
        ("predicted under 25, of those aged 25 or more", years[adults] < 25),
    ]
    return pd.DataFrame(
        [{"rule": rule, "n": len(hits), **_columns("share", share_interval(hits))} for rule, hits in rows]
    )


def reliability(predictions: Predictions) -> pd.DataFrame:
    """Return predicted probabilities, in ten steps, beside the observed shares, before and after calibration.

    The events are: under 18, under 25.
    """
    if predictions.uncalibrated is None or predictions.calibrated is None:
        return pd.DataFrame(columns=["event", "calibration", "n", "predicted", "share", "share_low", "share_high"])
    rows = []
    for limit in (18, 25):
        is_under = predictions.ages < limit
        for calibration, mass in (("before", predictions.uncalibrated), ("after", predictions.calibrated)):
            probability = mass[:, :limit].sum(dim=1).double().numpy()
            steps = np.minimum((probability * 10).astype(int), 9)
            for step in np.unique(steps):
                members = steps == step
                rows.append(
                    {"event": f"under {limit}", "calibration": calibration, "n": int(members.sum())}
                    | {"predicted": probability[members].mean()}
                    | _columns("share", share_interval(is_under[members]))
                )
    return pd.DataFrame(rows)


def _columns(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}
